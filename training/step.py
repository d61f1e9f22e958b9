"""One training step: forward, loss, gradients, update, averaged weights, as TensorFlow graphs.

This is the part that a GPU sees. It is written out instead of left to `fit` because 1.15.8 knows
no `train_step`, and because every random draw here depends on the step alone, which is what makes
a resumed run equal to one that never stopped.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

import numpy as np

from backend.layers import random_numbers_from
from backend.optimizers import LossScale, clip_by_global_norm
from backend.runtime import keras, tf
from datasets.random_streams import stream_number


def cross_entropy(labels, logits, label_smoothing: float = 0.0) -> tf.Tensor:
    """Return the cross-entropy of each image, (batch,).

    labels are class indices (batch,), for which this is
    SparseCategoricalCrossentropy(from_logits=True), or soft labels (batch, classes) from mixup or
    cutmix; logits are (batch, classes). Label smoothing: Szegedy et al. 2015 (arXiv 1512.00567),
    section 7.
    """
    classes = logits.shape[-1]
    if labels.dtype.is_integer:
        if not label_smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        labels = tf.one_hot(labels, classes)
    if label_smoothing:
        labels = labels * (1.0 - label_smoothing) + label_smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)


class Classification:
    """The ordinary objective: the model's own logits against the labels.

    Another object with these three methods, such as distillation.Distillation, takes its place.
    """

    def training_model(self, model: keras.Model) -> keras.Model:
        """Return the model that a step passes images through: it holds all of `model`."""
        return model

    def losses(self, labels, outputs, label_smoothing: float) -> tf.Tensor:
        """Return the loss of each image, (batch,), from the outputs of the training model."""
        return cross_entropy(labels, outputs, label_smoothing)

    def logits(self, outputs) -> tf.Tensor:
        """Return those outputs that the accuracy is counted by, (batch, classes)."""
        return outputs


CLASSIFICATION = Classification()


def class_weights_for(
    kind: str, labels: Sequence[int], number_of_classes: int
) -> list[float] | None:
    """Return what CLASS_WEIGHTS makes an image of each class weigh in the loss; None for "none".

    "balanced": the images of every class among the training labels, class indices (images,), weigh
    as much in sum, and the mean over all images is 1, so that the learning rate keeps its meaning.
    Source: G. King and L. Zeng, "Logistic Regression in Rare Events Data", 2001, section 4.2.
    """
    if kind == "none":
        return None
    counts = np.bincount(labels, minlength=number_of_classes)
    present = np.count_nonzero(counts)
    return [len(labels) / (present * count) if count else 1.0 for count in counts.tolist()]


class Graph(NamedTuple):
    """A graph that a training step runs: how often per step, and the arguments it takes."""

    name: str
    times: int
    function: Callable
    signature: tuple[tf.TensorSpec, ...]


class TrainingStep:
    """Call it with one batch to move the model's weights once.

    With a micro_batch_size the batch passes through the model in pieces whose gradients are added
    up: the same update to rounding, in less memory. (But dropout draws other numbers for other
    pieces, and batch normalisation sees the pieces.)
    class_weights, if given, are what an image of each class weighs in the loss; an image that is
    mixed of two classes weighs their mean, in its proportions.
    So many passes_at_once stand in one graph, where TensorFlow runs them side by side.
    A model of mixed_precision needs a loss scale: a step whose gradients overflow changes nothing
    but that scale.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer,
        batch_size: int,
        micro_batch_size: int = 0,
        passes_at_once: int = 1,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        gradient_clip_norm: float = 0.0,
        ema_decay: float = 0.0,
        seed: int = 0,
        objective=CLASSIFICATION,
        mixed_precision: bool = False,
    ):
        self.model = model
        self.objective = objective
        self.training_model = objective.training_model(model)
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size or batch_size
        self.images_at_once = self.micro_batch_size * passes_at_once
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.gradient_clip_norm = gradient_clip_norm
        self.ema_decay = ema_decay
        # Images of a batch and draws are counted on from here.
        self.first_stream = stream_number(seed, "dropout")
        self.averages: list[tf.Variable] = []
        if ema_decay:
            self.averages = [tf.Variable(weight, trainable=False) for weight in model.weights]
        self.gradient_sums: list[tf.Variable] = []
        self.loss_scale = LossScale() if mixed_precision else None
        # Whether gradients have overflowed has to be known before the update begins.
        if self.images_at_once < batch_size or mixed_precision:
            self.gradient_sums = [
                tf.Variable(tf.zeros_like(v), trainable=False) for v in model.trainable_variables
            ]
        # Nothing here branches on values, so AutoGraph would only cost time.
        self._whole_step = tf.function(self.whole_step, autograph=False)
        self._add_gradients = tf.function(self.add_gradients, autograph=False)
        self._update_from_sums = tf.function(self.update_from_sums, autograph=False)
        self._size_of_sums = tf.function(self.size_of_sums, autograph=False)

    def __call__(self, images, labels, step: int, learning_rate: float):
        """Train on one batch; return the loss and accuracy of it, float32 scalars.

        images (batch_size, height, width, channels); labels as for cross_entropy; step counts from
        0 over the whole run and, with the seed, decides all that is random.
        """
        step = tf.constant(step, tf.int32)
        learning_rate = tf.constant(learning_rate, tf.float32)
        if not self.gradient_sums:
            return self._whole_step(images, labels, step, learning_rate)
        loss, accuracy = 0.0, 0.0
        for first in range(0, self.batch_size, self.images_at_once):
            piece = slice(first, first + self.images_at_once)
            piece_loss, piece_accuracy = self._add_gradients(
                images[piece], labels[piece], step, tf.constant(first, tf.int32)
            )
            loss, accuracy = loss + piece_loss, accuracy + piece_accuracy
        if self._is_overflow():
            loss = np.float32(np.nan) if self.loss_scale.is_exhausted else loss
        else:
            # A step that was dropped is no update: Adam corrects its moments by those it has seen.
            dropped = tf.cast(self.loss_scale.dropped_steps, tf.int32) if self.loss_scale else 0
            self._update_from_sums(step - dropped, learning_rate)
        return loss, accuracy

    def whole_step(self, images, labels, step, learning_rate):
        """Gradients of a whole batch and the update, in one graph."""
        gradients, loss, accuracy = self._gradients(images, labels, step, tf.constant(0, tf.int32))
        self._update(gradients, step, learning_rate)
        return loss, accuracy

    def add_gradients(self, images, labels, step, first):
        """Add the gradients of that part of the batch that starts at image `first` to the sums."""
        gradients, loss, accuracy = self._gradients(images, labels, step, first)
        for total, gradient in zip(self.gradient_sums, gradients):
            total.assign_add(gradient)
        return loss, accuracy

    def update_from_sums(self, step, learning_rate):
        """Update the weights by the summed gradients and set the sums back to zero.

        step counts the updates before this one.
        """
        gradients = [total.read_value() for total in self.gradient_sums]
        if self.loss_scale:
            gradients = [gradient * (1.0 / self.loss_scale.factor) for gradient in gradients]
        self._update(gradients, step, learning_rate)
        self._clear_sums()

    def size_of_sums(self) -> tf.Tensor:
        """Return a scalar that is infinite or NaN if any of the summed gradients is."""
        return tf.add_n([tf.reduce_sum(tf.abs(total)) for total in self.gradient_sums])

    def _clear_sums(self) -> None:
        for total in self.gradient_sums:
            total.assign(tf.zeros_like(total))

    def _is_overflow(self) -> bool:
        """Move the loss scale, if there is one, and drop the sums if they are not finite."""
        if not self.loss_scale:
            return False
        finite = bool(np.isfinite(self._size_of_sums().numpy()))
        if not finite:
            self._clear_sums()
        self.loss_scale.observe(finite)
        return not finite

    def _gradients(self, images, labels, step, first) -> tuple[list, tf.Tensor, tf.Tensor]:
        """Add up the passes over images; as none waits for another, they run side by side."""
        size = self.micro_batch_size
        if size == self.images_at_once:
            return self._pass(images, labels, step, first)
        gradients, losses, accuracies = zip(
            *(
                self._pass(images[i : i + size], labels[i : i + size], step, first + i)
                for i in range(0, self.images_at_once, size)
            )
        )
        return [tf.add_n(each) for each in zip(*gradients)], tf.add_n(losses), tf.add_n(accuracies)

    def _pass(self, images, labels, step, first) -> tuple[list, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            with random_numbers_from(tf.stack([step, self.first_stream + first])):
                outputs = self.training_model(images, training=True)
            losses = self.objective.losses(labels, outputs, self.label_smoothing)
            if self.class_weights:
                losses = losses * self._image_weights(labels)
            # A mean over the whole batch, of which these images may be a piece.
            loss = tf.reduce_sum(losses) * (1.0 / self.batch_size)
            scaled = loss * self.loss_scale.factor if self.loss_scale else loss
        gradients = tape.gradient(scaled, self.model.trainable_variables)
        return gradients, loss, self._accuracy(labels, self.objective.logits(outputs))

    def _image_weights(self, labels) -> tf.Tensor:
        if labels.dtype.is_integer:
            labels = tf.one_hot(labels, len(self.class_weights))
        # (batch, classes) * (classes,) -> (batch,)
        return tf.reduce_sum(labels * tf.constant(self.class_weights, tf.float32), axis=-1)

    def _accuracy(self, labels, logits) -> tf.Tensor:
        if not labels.dtype.is_integer:
            labels = tf.argmax(labels, axis=-1, output_type=tf.int32)
        predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
        hits = tf.cast(tf.equal(predictions, tf.cast(labels, tf.int32)), tf.float32)
        return tf.reduce_sum(hits) * (1.0 / self.batch_size)

    def _update(self, gradients, step, learning_rate) -> None:
        if self.gradient_clip_norm:
            gradients = clip_by_global_norm(gradients, self.gradient_clip_norm)
        self.optimizer.apply(gradients, learning_rate, step)
        if self.ema_decay:
            # Young averages follow quickly, or the first weights would stay in them for long.
            updates = tf.cast(step, tf.float32)
            decay = tf.minimum(self.ema_decay, (1.0 + updates) / (10.0 + updates))
            for average, weight in zip(self.averages, self.model.weights):
                average.assign_sub((average - weight) * (1.0 - decay))

    def graphs(
        self, image_shape: Sequence[int], number_of_classes: int, soft_labels: bool = False
    ) -> list[Graph]:
        """Return the graphs that one step consists of, with how often each runs.

        image_shape is (height, width, channels). With soft_labels the labels are those of mixup
        and cutmix, float32 (batch, number_of_classes), else int32 (batch,).
        """
        number, rate = tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.float32)
        images = tf.TensorSpec((self.images_at_once,) + tuple(image_shape), tf.uint8)
        labels = tf.TensorSpec((self.images_at_once,), tf.int32)
        if soft_labels:
            labels = tf.TensorSpec((self.images_at_once, number_of_classes), tf.float32)
        if not self.gradient_sums:
            signature = (images, labels, number, rate)
            return [Graph("training step", 1, self._whole_step, signature)]
        pieces = self.batch_size // self.images_at_once
        signature = (images, labels, number, number)
        graphs = [
            Graph("gradients", pieces, self._add_gradients, signature),
            Graph("update", 1, self._update_from_sums, (number, rate)),
        ]
        if self.loss_scale:
            graphs.append(Graph("overflow check", 1, self._size_of_sums, ()))
        return graphs

    def evaluation_weights(self) -> list[np.ndarray]:
        """Return the weights for validation and test: the averaged ones, if there are any."""
        return [weight.numpy() for weight in (self.averages or self.model.weights)]

    def state(self) -> list[tf.Variable]:
        """Return every variable that training changes, in a fixed order."""
        scale = self.loss_scale.variables if self.loss_scale else []
        return list(self.model.weights) + list(self.optimizer.slots) + self.averages + scale
