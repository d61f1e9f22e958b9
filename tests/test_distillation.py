"""A student learns from a teacher as the papers say, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from backend.runtime import tf
from tests.helpers import new_step, small_model, small_resnet, some_images
from training.distillation import Distillation

pytestmark = pytest.mark.tensorflow_only


def small_student(**arguments):
    small = dict(number_of_layers=1, head_hidden_dims=(), representation="class_token")
    return small_model(**{**small, **arguments})


@pytest.mark.parametrize("distillation_token", (True, False))
@pytest.mark.parametrize("kind", ("hard", "soft"))
def test_a_student_learns_from_a_teacher_that_stays_as_it_is(kind, distillation_token):
    teacher, student = small_resnet(), small_student(distillation_token=distillation_token)
    images = some_images(8)
    # The list, because what is not trainable moves to the end of teacher.weights.
    teacher_weights = list(teacher.weights)
    teacher_before = [weight.numpy() for weight in teacher_weights]
    student_before = [weight.numpy() for weight in student.trainable_variables]
    objective = Distillation(teacher, kind, temperature=2.0, teacher_share=0.5)
    step = new_step(student, "sgd", weight_decay=0.0, batch_size=8, objective=objective)
    for number in range(2):
        step(tf.constant(images), tf.constant(np.arange(8, dtype=np.int32)), number, 0.1)
    for before, weight in zip(teacher_before, teacher_weights):
        np.testing.assert_array_equal(before, weight.numpy())
    for before, variable in zip(student_before, student.trainable_variables):
        assert np.abs(before - variable.numpy()).max() > 0, variable.name
    # Nothing of the teacher is saved or validated with the student.
    assert len(step.evaluation_weights()) == len(student.weights) < len(step.training_model.weights)


def test_the_teacher_sees_the_view_of_the_student_in_inference_mode():
    teacher, student = small_resnet(), small_student(distillation_token=True)
    images = some_images(8)
    model = Distillation(teacher).training_model(student)
    for_labels, for_teacher, answers = model(images, training=True)
    np.testing.assert_allclose(answers.numpy(), teacher(images, training=False).numpy(), atol=1e-5)
    logits = 0.5 * (for_labels.numpy() + for_teacher.numpy())
    np.testing.assert_allclose(student(images).numpy(), logits, atol=1e-5)


def test_the_losses_of_distillation_are_those_of_the_papers():
    labels = tf.constant([1, 0])
    student = tf.constant([[0.5, 1.0, -1.0], [0.0, 2.0, 0.0]])
    other = tf.constant([[1.5, 0.0, -1.0], [0.3, 0.2, 0.1]])
    teacher = np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 4.0]], np.float32)

    def log_softmax(x):
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))

    true = -log_softmax(student.numpy())[[0, 1], [1, 0]]
    hard = -log_softmax(other.numpy())[[0, 1], [0, 2]]
    soft = -4 * (np.exp(log_softmax(teacher / 2)) * log_softmax(other.numpy() / 2)).sum(axis=1)
    model = small_resnet()
    outputs = [student, other, tf.constant(teacher)]
    for kind, expected in (("hard", hard), ("soft", soft)):
        losses = Distillation(model, kind, 2.0, teacher_share=0.3).losses(labels, outputs, 0.0)
        np.testing.assert_allclose(losses.numpy(), 0.7 * true + 0.3 * expected, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(kind="medium"), ("DISTILLATION", "medium", "hard")),
        (dict(temperature=0.0), ("TEMPERATURE", "0.0")),
        (dict(teacher_share=1.5), ("TEACHER_SHARE", "1.5")),
    ],
)
def test_impossible_distillations_are_named(arguments, words):
    with pytest.raises(ValueError) as error:
        Distillation(small_resnet(), **arguments)
    for word in words:
        assert word in str(error.value)


def test_a_teacher_of_other_classes_is_refused():
    teacher = small_resnet(number_of_classes=7)
    with pytest.raises(ValueError, match="TEACHER_RUN.*7.*10"):
        Distillation(teacher).training_model(small_student())


@pytest.mark.parametrize("teacher_share", [0.0, 1.0])
def test_no_head_stays_untrained_and_has_its_say(teacher_share):
    objective = Distillation(small_resnet(), teacher_share=teacher_share)
    objective.training_model(small_student(distillation_token=False))
    with pytest.raises(ValueError, match="TEACHER_SHARE is .*--distillation-token no"):
        objective.training_model(small_student(distillation_token=True))
