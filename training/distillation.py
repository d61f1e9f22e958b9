"""Distillation: a student model learns the labels and, beside them, the answers of a teacher.

Teacher and student are one Functional model during training, so the teacher sees the very view of
an image that the student sees, and the step stays the ordinary one. What is saved, validated and
tested is the student alone.

Methods: hard labels, Touvron et al. 2020, DeiT (arXiv 2012.12877), section 4, equation 3, with its
distillation token where the student has one; soft labels, Hinton et al. 2015 (arXiv 1503.02531),
section 2.
"""

from __future__ import annotations

from typing import Any

from backend.runtime import keras, tf
from training.step import cross_entropy
from vit_model import CLASS_LOGITS, DISTILLATION_LOGITS

KINDS = ("hard", "soft")


class Teacher(keras.layers.Layer):
    """The answers of a finished model, which is never trained: pixels -> logits."""

    def __init__(self, model: keras.Model, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.model = model
        self.model.trainable = False

    def call(self, images):
        # In inference mode: its batch normalisations must not follow the student's batches.
        return tf.stop_gradient(self.model(images, training=False))

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), model=self.model.name)


class Distillation:
    """An objective (see training_step.Classification) in which a teacher has a share.

    kind: "hard", the teacher's most probable class is a label; or "soft", its probabilities at
    `temperature` are. teacher_share, 0 to 1, is its weight beside the true labels.
    """

    def __init__(
        self,
        teacher: keras.Model,
        kind: str = "hard",
        temperature: float = 3.0,
        teacher_share: float = 0.5,
    ):
        if kind not in KINDS:
            raise ValueError(f"DISTILLATION is {kind!r}: choose one of {', '.join(KINDS)}.")
        if not 0 <= teacher_share <= 1:
            raise ValueError(f"TEACHER_SHARE is {teacher_share}: it must be 0 to 1.")
        if not temperature > 0:
            raise ValueError(f"TEMPERATURE is {temperature}: it must be more than 0.")
        self.teacher = teacher
        self.kind = kind
        self.temperature = temperature
        self.teacher_share = teacher_share

    def training_model(self, student: keras.Model) -> keras.Model:
        """Return images -> [logits for the labels, logits for the teacher, the teacher's logits].

        The first two are the same where the student has no distillation token. Raises ValueError
        for a teacher of other images or classes, and for a share that leaves one of two heads out.
        """
        for what in ("input_shape", "output_shape"):
            own, other = getattr(student, what), getattr(self.teacher, what)
            if own != other:
                raise ValueError(
                    f"TEACHER_RUN: the teacher's {what} is {other[1:]}, the student's "
                    f"{own[1:]}. Train a teacher on the "
                    "same DATASET with the same IMAGE_SIZE."
                )
        names = {layer.name for layer in student.layers}
        if DISTILLATION_LOGITS in names and self.teacher_share in (0, 1):
            raise ValueError(
                f"TEACHER_SHARE is {self.teacher_share}: one of the two heads would stay "
                "untrained, yet have "
                "its say. Choose a share in between, or --distillation-token no."
            )
        outputs = [
            student.get_layer(name).output if name in names else student.output
            for name in (CLASS_LOGITS, DISTILLATION_LOGITS)
        ]
        answers = Teacher(self.teacher, name="teacher")(student.input)
        return keras.Model(student.input, outputs + [answers], name="distillation")

    def losses(self, labels, outputs, label_smoothing: float) -> tf.Tensor:
        """Return the loss of each image, (batch,)."""
        for_labels, for_teacher, answers = outputs
        label_losses = cross_entropy(labels, for_labels, label_smoothing)
        if self.kind == "hard":
            decisions = tf.argmax(answers, axis=-1, output_type=tf.int32)
            teacher_losses = cross_entropy(decisions, for_teacher)
        else:
            # The square makes up for gradients that shrink with the temperature.
            teacher_losses = self.temperature**2 * cross_entropy(
                tf.nn.softmax(answers / self.temperature), for_teacher / self.temperature
            )
        return (1.0 - self.teacher_share) * label_losses + self.teacher_share * teacher_losses

    def logits(self, outputs) -> tf.Tensor:
        """Return the student's logits, (batch, classes)."""
        return 0.5 * (outputs[0] + outputs[1])
