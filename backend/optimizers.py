"""How the weights move: update rules, and the learning rate over the course of a run.

The update rules call TensorFlow's fused kernels, one launch per variable, which exist for DirectML
on both of its TensorFlows. (Keras' newer optimizers are many small operations and ask for XLA,
which DirectML lacks; its older ones know no decoupled weight decay.)
"""

from __future__ import annotations

import math
from typing import Any, Sequence

from backend.runtime import tf

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("plateau", "cosine", "exponential", "constant")

# What a plateau does to the rate.
PLATEAU_FACTOR = 0.5


class Adam:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980), with decoupled weight decay if not zero.

    AdamW: Loshchilov and Hutter 2017 (arXiv 1711.05101), algorithm 2. Decay spares vectors, which
    are biases and norms.
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        weight_decay: float = 0.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ):
        self.variables = list(variables)
        self.weight_decay = weight_decay
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.first_moments = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self.second_moments = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]

    @property
    def slots(self) -> list[tf.Variable]:
        """All that the rule remembers from one step to the next."""
        return self.first_moments + self.second_moments

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate, step) -> None:
        """Move the variables once; learning_rate is a float32 scalar, step an int32 one from 0."""
        updates = tf.cast(step + 1, tf.float32)
        beta_1_power, beta_2_power = tf.pow(self.beta_1, updates), tf.pow(self.beta_2, updates)
        for variable, first, second, gradient in zip(
            self.variables, self.first_moments, self.second_moments, gradients
        ):
            if self.weight_decay and len(variable.shape) > 1:
                variable.assign_sub(variable * (learning_rate * self.weight_decay))
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=learning_rate,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )


class SGD:
    """Gradient descent with momentum, and L2 weight decay on everything that is not a vector."""

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        weight_decay: float = 0.0,
        momentum: float = 0.9,
    ):
        self.variables = list(variables)
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.slots = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate, step) -> None:
        """Move the variables once; learning_rate is a float32 scalar, step is not used."""
        for variable, velocity, gradient in zip(self.variables, self.slots, gradients):
            if self.weight_decay and len(variable.shape) > 1:
                gradient = gradient + self.weight_decay * variable
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=velocity.handle,
                lr=learning_rate,
                grad=gradient,
                momentum=self.momentum,
            )


def optimizer_for(name: str, variables, weight_decay: float, momentum: float):
    """Return the update rule of that name for these variables; ValueError if there is none."""
    if name == "adam":
        return Adam(variables)
    if name == "adamw":
        return Adam(variables, weight_decay)
    if name == "sgd":
        return SGD(variables, weight_decay, momentum)
    raise ValueError("OPTIMIZER is {!r}: choose one of {}.".format(name, ", ".join(OPTIMIZERS)))


def clip_by_global_norm(gradients: Sequence[tf.Tensor], longest: float) -> list[tf.Tensor]:
    """Scale gradients down together so that their common Euclidean length is at most longest."""
    length = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients]))
    scale = longest / tf.maximum(length, longest)
    return [gradient * scale for gradient in gradients]


class LearningRate:
    """The learning rate of a run, as a function of how far the run has come.

    Progress.fraction_done counts steps or, under a time limit, the time if that is more, so that a
    schedule always runs to its end. Only `plateau` looks at the validation accuracy; what it has
    seen is its `state`.

    Sources: cosine without restarts, arXiv 1608.03983; warm-up, arXiv 1706.02677, section 2.2.
    """

    def __init__(
        self,
        schedule: str,
        learning_rate: float,
        epochs: int,
        patience: int = 10,
        warmup_epochs: float = 0.0,
        warmup_learning_rate: float = 0.0,
        decay_per_epoch: float = 1.0,
    ):
        if schedule not in SCHEDULES:
            raise ValueError(
                "SCHEDULE is {!r}: choose one of {}.".format(schedule, ", ".join(SCHEDULES))
            )
        self.schedule = schedule
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.patience = patience
        self.warmup_epochs = warmup_epochs if schedule != "plateau" else 0.0
        self.warmup_learning_rate = warmup_learning_rate
        self.decay_per_epoch = decay_per_epoch
        self.state: dict[str, Any] = {"factor": 1.0, "best": -1.0, "epochs_without_better": 0}

    def at(self, fraction_done: float) -> float:
        """Return the rate at a fraction between 0 and 1."""
        epoch = fraction_done * self.epochs
        if epoch < self.warmup_epochs:
            risen = epoch / self.warmup_epochs
            return self.warmup_learning_rate + risen * (
                self.learning_rate - self.warmup_learning_rate
            )
        if self.schedule == "plateau":
            return self.learning_rate * self.state["factor"]
        if self.schedule == "exponential":
            return self.learning_rate * self.decay_per_epoch ** (epoch - self.warmup_epochs)
        if self.schedule == "cosine":
            decayed = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1e-9)
            return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(decayed, 1.0)))
        return self.learning_rate

    def observe(self, validation_accuracy: float) -> None:
        """Tell the schedule the validation accuracy that an epoch ended with."""
        if validation_accuracy > self.state["best"]:
            self.state["best"] = validation_accuracy
            self.state["epochs_without_better"] = 0
            return
        self.state["epochs_without_better"] += 1
        if self.state["epochs_without_better"] >= self.patience:
            self.state["factor"] *= PLATEAU_FACTOR
            self.state["epochs_without_better"] = 0
