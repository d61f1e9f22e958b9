"""Nothing of a training step that a script can select runs on the CPU behind DirectML's back."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest

import train_cifar10
from backend.optimizers import OPTIMIZERS, Adam
from backend.runtime import gpu_device_type, keras, tf
from tools import kernel_audit
from training.settings import settings_from
from training.step import Classification, TrainingStep

pytestmark = pytest.mark.tensorflow_only

# Only the sizes are small; the operations are those of the full size.
SMALL = (
    "--number-of-layers 1 --embedding-dim 8 --num-heads 2 --mlp-hidden-dim 12 "
    "--head-hidden-dims 6 --batch-size 8"
).split()
EVERYTHING = (
    "--optimizer adamw --weight-decay 0.1 --label-smoothing 0.1 --gradient-clip-norm 1 "
    "--ema-decay 0.99 --dropout-rate 0.1 --head-dropout-rate 0.1 --stochastic-depth-rate 0.1 "
    "--augmentations random_flip mixup cutmix"
)
# Stems and representations: test_models.py. The schedules only hand the step a number.
SELECTIONS = [
    f"--optimizer {optimizer} --weight-decay {decay}"
    for optimizer, decay in product(OPTIMIZERS, (0, 0.1))
    # Adam has no weight decay, and the flag would be refused.
    if (optimizer, decay) != ("adam", 0.1)
] + [
    "--label-smoothing 0.1",
    "--augmentations mixup",
    "--augmentations cutmix --label-smoothing 0.1",
    "--gradient-clip-norm 1",
    "--ema-decay 0.99",
    "--class-weights balanced",
    "--class-weights balanced --augmentations mixup",
    "--dropout-rate 0.1",
    "--dropout-rate 0.1 --head-dropout-rate 0 --stochastic-depth-rate 0",
    "--head-dropout-rate 0 --stochastic-depth-rate 0",
    "--head-hidden-dims --batch-size 6",
    "--patch-size 8 --patch-stride 4",
    "--image-size 48",
    "--dataset mnist",
    "--dataset cifar100",
    "--micro-batch-size 2",
    "--micro-batch-size 2 --optimizer sgd --stem convolutional --representation class_token",
    EVERYTHING,
    EVERYTHING + " --micro-batch-size 4 --representation sequence_pooling",
]


def audit_of(flags):
    settings = settings_from(vars(train_cifar10), SMALL + flags.split())
    return kernel_audit.audit_settings(train_cifar10.build_model(settings), settings)


@pytest.fixture
def directml(monkeypatch):
    """Where this TensorFlow has no DirectML: the CPU's kernels less what DirectML lacks."""
    if kernel_audit.has_directml_kernels():
        return
    missing = ("Einsum", "RandomShuffle", "ImageProjectiveTransform")
    kernels = {}
    for kernel in kernel_audit._all_kernels():
        types = {t for limit in kernel.constraint for t in limit.allowed_values.list.type}
        if kernel.device_type == "CPU" and tf.float64.as_datatype_enum not in types:
            if not kernel.op.startswith(missing):
                kernels.setdefault(kernel.op, []).append(kernel)
    monkeypatch.setattr(kernel_audit, "_kernels_by_operation", kernels)
    monkeypatch.setattr(kernel_audit, "has_directml_kernels", lambda: True)


@pytest.mark.parametrize("flags", SELECTIONS)
def test_every_operation_a_script_can_select_has_a_directml_kernel(flags):
    audit = audit_of(flags)
    assert 0 < audit.launches < audit.runs < audit.traced
    assert 0 < audit.prediction.launches < audit.prediction.runs
    text = audit.text()
    if kernel_audit.has_directml_kernels():
        assert audit.fallbacks == [] and audit.prediction.fallbacks == [], text
        assert "Every operation of the training step has a DirectML kernel." in text
    else:
        assert "no DirectML kernels" in text


def in_floats(pixels):
    return tf.cast(pixels, tf.float32)


def keras_attention_model():
    images = keras.Input((8, 8, 3), dtype="uint8")
    pixels = keras.layers.Lambda(in_floats)(images)
    tokens = keras.layers.Dense(8)(keras.layers.Reshape((8, 24))(pixels))
    tokens = keras.layers.MultiHeadAttention(2, 4, name="keras_attention")(tokens, tokens)
    logits = keras.layers.Dense(5)(keras.layers.Flatten()(tokens))
    return keras.Model(images, logits)


def test_keras_own_attention_is_caught(directml):
    if not hasattr(keras.layers, "MultiHeadAttention"):
        pytest.skip("TensorFlow 1.15.8 has no MultiHeadAttention")
    model = keras_attention_model()
    step = TrainingStep(model, Adam(model.trainable_variables), 4)
    audit = kernel_audit.audit_training_step(step, (8, 8, 3), 5)
    caught = {(f.operation.type, f.operation.layer.split("/")[0]) for f in audit.fallbacks}
    assert caught == {("Einsum", "keras_attention")}
    # Six products forward, two gradients for each.
    assert sum(fallback.count for fallback in audit.fallbacks) == 18
    assert audit.parts[0][2].fallbacks_that_run == 18
    assert "Einsum" in audit.text() and "keras_attention" in audit.text()
    assert {f.operation.type for f in audit.prediction.fallbacks} == {"Einsum"}


def float64_product(x):
    with tf.name_scope("precise"):
        return tf.cast(tf.matmul(tf.cast(x, tf.float64), tf.cast(x, tf.float64)), tf.float32)


def projective_transform(x):
    with tf.name_scope("warp"):
        images, matrix = tf.reshape(x, [1, 4, 4, 1]), tf.constant([[1.0, 0, 0, 0, 1, 0, 0, 0]])
        if hasattr(tf.raw_ops, "ImageProjectiveTransformV2"):
            return tf.raw_ops.ImageProjectiveTransformV2(
                images=images, transforms=matrix, output_shape=[4, 4], interpolation="BILINEAR"
            )
        return tf.contrib.image.transform(images, matrix)


def shuffled(x):
    with tf.name_scope("order"):
        return tf.random.shuffle(x)


@pytest.mark.parametrize(
    "function,operation,layer",
    [
        (float64_product, "MatMul", "precise"),
        (projective_transform, "ImageProjectiveTransform", "warp"),
        (shuffled, "RandomShuffle", "order"),
    ],
)
def test_bad_graphs_are_caught_in_nested_functions_too(function, operation, layer, directml):
    inner = tf.function(function)

    @tf.function
    def branches(x):
        with tf.name_scope("branch"):
            return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.reshape(inner(x), [4, 4]), lambda: x)

    # Something without kernel that is a constant is gone before anything runs.
    @tf.function
    def constant(x):
        return x + tf.cast(tf.constant(1.0, tf.float64) * 2, tf.float32)

    audit = kernel_audit.audit_function(constant, tf.TensorSpec((4, 4), tf.float32))
    assert audit.fallbacks and audit.fallbacks_that_run == 0

    for outer in (inner, branches):
        audit = kernel_audit.audit_function(outer, tf.TensorSpec((4, 4), tf.float32))
        caught = [f for f in audit.fallbacks if f.operation.type.startswith(operation)]
        assert len(caught) == 1 and caught[0].count == 1, audit.fallbacks
        assert audit.fallbacks_that_run >= 1
        assert layer in caught[0].operation.layer


def test_kernels_are_told_apart_by_dtype(directml):
    assert gpu_device_type() == ("DML" if tf.__version__.startswith("1.") else "GPU")

    def nodes(dtype):
        graph = tf.function(lambda x: tf.matmul(x, x)).get_concrete_function(
            tf.TensorSpec((2, 2), dtype)
        )
        return [n for n in graph.graph.as_graph_def().node if n.op == "MatMul"]

    assert [kernel_audit.has_kernel(node) for node in nodes(tf.float32)] == [True]
    assert [kernel_audit.has_kernel(node) for node in nodes(tf.float64)] == [False]


def test_shapes_and_constants_launch_nothing():
    @tf.function
    def function(x):
        size = tf.shape(x)[0] * 2 + 1
        doubled = tf.reshape(x, [-1]) * tf.cast(np.float32(2) + 1, tf.float32)
        return tf.reshape(doubled, [size // size, -1])

    audit = kernel_audit.audit_function(function, tf.TensorSpec((4, 4), tf.float32))
    assert audit.types == {"Mul": 1} and audit.launches == 1


def test_micro_batches_count_once_for_every_piece():
    audit = audit_of("--micro-batch-size 2")
    (_, pieces, gradients), (_, once, update) = audit.parts
    assert (pieces, once) == (4, 1)
    assert audit.launches == 4 * gradients.launches + update.launches
    # The sums are added to and set back, so pieces cost more than the whole.
    assert audit.launches > audit_of("").launches


def test_a_script_is_audited_from_the_command(capsys, tmp_path):
    assert kernel_audit.audit_script(train_cifar10.__file__, *SMALL) == 0
    by_file = capsys.readouterr().out
    assert by_file.startswith("python train_cifar10.py\n")
    assert kernel_audit.audit_script("train_cifar10", *SMALL) == 0
    assert capsys.readouterr().out == by_file
    for name, words in (
        ("no_such_script", "no_such_script"),
        (str(tmp_path / "absent.py"), "absent.py"),
        ("backend.optimizers", "build_model"),
    ):
        with pytest.raises(ValueError, match=words):
            kernel_audit.audit_script(name)
    with pytest.raises(ValueError, match="DATASET is 'my.npz'"):
        kernel_audit.audit_script("train_cifar10", "--dataset", "my.npz")


def test_a_fallback_ends_the_command_with_one(capsys, monkeypatch, directml):

    def bad_model(settings):
        def build(image_shape, number_of_classes, mean, std):
            images = keras.Input(image_shape)
            order = keras.layers.Lambda(tf.random.shuffle, name="order")
            flat = keras.layers.Flatten()(keras.layers.Lambda(in_floats)(images))
            return keras.Model(images, keras.layers.Dense(number_of_classes)(order(flat)))

        return partial(build)

    monkeypatch.setattr(train_cifar10, "build_model", bad_model)
    assert kernel_audit.audit_script("train_cifar10", "--batch-size", "4") == 1
    assert "RandomShuffle" in capsys.readouterr().out


class ShufflingObjective(Classification):
    def losses(self, labels, outputs, label_smoothing):
        return super().losses(tf.random.shuffle(labels), outputs, label_smoothing)


def test_an_objective_of_the_script_is_audited(capsys, monkeypatch, directml):
    monkeypatch.setattr(
        train_cifar10, "build_objective", lambda settings: ShufflingObjective(), raising=False
    )
    assert kernel_audit.audit_script("train_cifar10", *SMALL) == 1
    text = capsys.readouterr().out
    assert "RandomShuffle" in text and "not audited" not in text


def test_an_objective_without_its_teacher_is_named(capsys, tmp_path):
    flags = "--number-of-layers 1 --embedding-dim 8 --num-heads 2 --teacher-run".split()
    flags += [str(tmp_path / "no_run")]
    assert kernel_audit.audit_script("recipes.distilled_cifar10", *flags) == 0
    last = capsys.readouterr().out.strip().split("\n")[-1]
    assert "objective was not audited" in last and str(tmp_path / "no_run") in last
