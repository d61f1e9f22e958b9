"""Operations in one training step: this project's model beside the same one in stock Keras.

    python -m benchmarks.ops_per_step

Both have the sizes of train_cifar10.py, the whole batch at once, and no random choices, which stock
Keras would make in another way. Nothing is executed: the graphs are traced and counted.
"""

from __future__ import annotations

from backend.optimizers import Adam
from backend.runtime import keras, runtime_name, tf
from benchmarks.keras_twin import keras_twin
from tools.kernel_audit import GraphAudit, audit_function, has_directml_kernels
from training.step import TrainingStep
from vit_model import vision_transformer

BATCH_SIZE, IMAGE_SHAPE, CLASSES = 512, (32, 32, 3), 10
MEAN, STD = (127.5,) * 3, (64.0,) * 3


def our_step():
    """Return our training step as a tf.function."""
    model = vision_transformer(IMAGE_SHAPE, CLASSES, MEAN, STD)
    step = TrainingStep(model, Adam(model.trainable_variables), BATCH_SIZE)
    return tf.function(lambda images, labels: step.whole_step(images, labels, 0, 0.001))


def keras_step(optimizer):
    """Return the step that `fit` makes of the twin with a Keras optimizer, as a tf.function."""
    model = keras_twin(MEAN, STD)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    # What a first trace may create and later ones may not.
    if hasattr(optimizer, "build"):
        optimizer.build(model.trainable_variables)
    elif hasattr(optimizer, "_create_all_weights"):
        optimizer._create_all_weights(model.trainable_variables)
    else:
        optimizer._create_hypers()
        optimizer._create_slots(model.trainable_variables)
        optimizer.iterations  # noqa: B018

    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            value = loss(labels, logits)
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        accuracy.update_state(labels, logits)
        return value, accuracy.result()

    return tf.function(step)


def measure() -> list[tuple[str, GraphAudit]]:
    """Return (name, audit) for each implementation that this TensorFlow has."""
    specification = (
        tf.TensorSpec((BATCH_SIZE,) + IMAGE_SHAPE, tf.uint8),
        tf.TensorSpec((BATCH_SIZE,), tf.int32),
    )
    steps = [("this project", our_step())]
    optimizers = keras.optimizers
    if hasattr(optimizers, "legacy"):
        newest = getattr(optimizers, "experimental", optimizers).Adam
        # XLA is its default on a GPU, and DirectML has none.
        steps.append(("Keras, new-style Adam", keras_step(newest(jit_compile=False))))
        steps.append(("Keras, legacy Adam", keras_step(optimizers.legacy.Adam())))
    else:
        steps.append(("Keras, Adam", keras_step(optimizers.Adam())))
    return [(name, audit_function(step, *specification)) for name, step in steps]


def main() -> None:
    """Print the table."""
    print(f"{runtime_name()}\n")
    heading = ["operations of one step", "traced", "run", "start work", "no DirectML kernel"]
    print("| {} |\n|---|---|---|---|---|".format(" | ".join(heading)))
    for name, audit in measure():
        lacking = audit.fallbacks_that_run if has_directml_kernels() else "-"
        cells = [name, audit.traced, audit.runs, audit.launches, lacking]
        print("| {} |".format(" | ".join(map(str, cells))))


if __name__ == "__main__":
    main()
