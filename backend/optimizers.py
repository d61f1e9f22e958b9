"""How the weights move: update rules, clipping, and the loss scale of float16.

The update rules call TensorFlow's fused kernels, one launch per variable, which exist for DirectML
on both of its TensorFlows. (Keras' newer optimizers are many small operations and ask for XLA,
which DirectML lacks; its older ones know no decoupled weight decay.)
"""

from __future__ import annotations

from typing import Sequence

from backend.runtime import tf

OPTIMIZERS = ("adam", "adamw", "sgd")
# Of a LossScale.
FIRST_FACTOR = 2.0**15
STEPS_BEFORE_GROWTH = 2000


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
        """Move the variables once; learning_rate is a float32 scalar.

        step, an int32 one, counts the updates before this one.
        """
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
    raise ValueError(f"OPTIMIZER is {name!r}: choose one of {', '.join(OPTIMIZERS)}.")


def clip_by_global_norm(gradients: Sequence[tf.Tensor], longest: float) -> list[tf.Tensor]:
    """Scale gradients down together so that their common Euclidean length is at most longest."""
    length = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients]))
    scale = longest / tf.maximum(length, longest)
    return [gradient * scale for gradient in gradients]


class LossScale:
    """A factor on the loss that keeps the gradients of float16 from vanishing.

    It is halved when a gradient has overflowed, and doubled after many steps that have not:
    Micikevicius et al. 2017, "Mixed Precision Training" (arXiv 1710.03740), section 3.2. The
    factor, the steps since it last changed and those that were dropped are variables, so that a
    checkpoint has them.
    """

    def __init__(self, factor: float = FIRST_FACTOR):
        self.factor = tf.Variable(factor, trainable=False, dtype=tf.float32)
        self.good_steps = tf.Variable(0.0, trainable=False, dtype=tf.float32)
        self.dropped_steps = tf.Variable(0.0, trainable=False, dtype=tf.float32)

    @property
    def variables(self) -> list[tf.Variable]:
        """All that has to be remembered from one step to the next."""
        return [self.factor, self.good_steps, self.dropped_steps]

    def observe(self, gradients_are_finite: bool) -> None:
        """Move the factor after a step."""
        if not gradients_are_finite:
            self.factor.assign(self.factor / 2.0)
            self.good_steps.assign(0.0)
            self.dropped_steps.assign_add(1.0)
        elif self.good_steps.numpy() + 1.0 < STEPS_BEFORE_GROWTH:
            self.good_steps.assign_add(1.0)
        else:
            self.factor.assign(self.factor * 2.0)
            self.good_steps.assign(0.0)

    @property
    def is_exhausted(self) -> bool:
        """Whether gradients overflow without any scaling: then something else is wrong."""
        return bool(self.factor.numpy() < 1.0)
