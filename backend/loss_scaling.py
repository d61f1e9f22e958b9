"""A factor on the loss that keeps the gradients of float16 from vanishing.

Micikevicius et al. 2017, "Mixed Precision Training" (arXiv 1710.03740), section 3.2, with the
factor found on the way: it is halved when a gradient has overflowed and doubled after many that
have not.
"""

from __future__ import annotations

from backend.runtime import tf

FIRST_FACTOR = 2.0**15
STEPS_BEFORE_GROWTH = 2000


class LossScale:
    """The factor, and the steps since it last changed; variables, so that a checkpoint has them."""

    def __init__(self, factor: float = FIRST_FACTOR):
        self.factor = tf.Variable(factor, trainable=False, dtype=tf.float32)
        self.good_steps = tf.Variable(0.0, trainable=False, dtype=tf.float32)

    @property
    def variables(self) -> list[tf.Variable]:
        """All that has to be remembered from one step to the next."""
        return [self.factor, self.good_steps]

    def observe(self, gradients_are_finite: bool) -> None:
        """Move the factor after a step."""
        if not gradients_are_finite:
            self.factor.assign(self.factor / 2.0)
            self.good_steps.assign(0.0)
        elif self.good_steps.numpy() + 1.0 < STEPS_BEFORE_GROWTH:
            self.good_steps.assign_add(1.0)
        else:
            self.factor.assign(self.factor * 2.0)
            self.good_steps.assign(0.0)

    @property
    def is_exhausted(self) -> bool:
        """Whether gradients overflow without any scaling: then something else is wrong."""
        return bool(self.factor.numpy() < 1.0)
