"""Training batches: every epoch in a new order, every batch a function of seed, epoch and step."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.batches import training_batches


def seed_as_label(images, labels, seed):
    return images, labels, seed


def collect(batches):
    return [tuple(np.array(part) for part in batch) for batch in batches]


def numbered_images(count):
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
    return images, np.arange(count)


def test_every_epoch_sees_every_image_once_in_a_new_order():
    images, labels = numbered_images(20)
    batches = collect(training_batches(images, labels, 5, seed_as_label, 7, epochs=3))
    assert len(batches) == 12
    epochs = [np.concatenate([b[1] for b in batches[4 * e : 4 * e + 4]]) for e in range(3)]
    for order in epochs:
        assert sorted(order) == list(range(20))
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[1], epochs[2])
    for batch_images, batch_labels, _ in batches:
        np.testing.assert_array_equal(batch_images[:, 0, 0, 0], batch_labels)
        assert batch_images.dtype == np.uint8 and batch_labels.dtype == np.int32
    assert len({tuple(batch[2]) for batch in batches}) == 12


def test_training_resumed_anywhere_sees_the_same_batches():
    images, labels = numbered_images(22)
    whole = collect(training_batches(images, labels, 5, seed_as_label, 7, epochs=3))
    for epoch, step in [(0, 0), (0, 3), (1, 0), (1, 2), (2, 3), (2, 4)]:
        rest = collect(training_batches(images, labels, 5, seed_as_label, 7, 3, epoch, step))
        assert len(rest) == 12 - 4 * epoch - step
        for expected, found in zip(whole[len(whole) - len(rest) :], rest):
            for one, other in zip(expected, found):
                np.testing.assert_array_equal(one, other)


def test_batches_of_some_of_the_images_are_those_of_a_copy_of_them():
    images, labels = numbered_images(30)
    indices = np.flatnonzero(labels % 3)
    chosen = collect(
        training_batches(images, labels, 6, seed_as_label, 7, 3, 1, 2, indices=indices)
    )
    copied = collect(
        training_batches(images[indices], labels[indices], 6, seed_as_label, 7, 3, 1, 2)
    )
    assert len(chosen) == len(copied) == 4
    for one, other in zip(chosen, copied):
        assert set(one[1]) <= set(indices)
        for part, expected in zip(one, other):
            np.testing.assert_array_equal(part, expected)
    with pytest.raises(ValueError, match="21.*20 training images"):
        training_batches(images, labels, 21, seed_as_label, 7, 3, indices=indices)


def test_another_seed_gives_other_batches():
    images, labels = numbered_images(20)
    first, second = (
        collect(training_batches(images, labels, 20, seed_as_label, seed, 1))[0] for seed in (0, 1)
    )
    assert not np.array_equal(first[1], second[1])
    assert not np.array_equal(first[2], second[2])


def test_training_batches_have_static_shapes_and_augment_the_batch():
    images, labels = numbered_images(11)
    shapes = []

    def invert(batch_images, batch_labels, seed):
        shapes.append((tuple(batch_images.shape), tuple(batch_labels.shape), tuple(seed.shape)))
        return 255 - batch_images, batch_labels

    ((batch_images, batch_labels),) = collect(training_batches(images, labels, 8, invert, 0, 1))
    assert shapes[0] == ((8, 2, 2, 1), (8,), (2,))
    np.testing.assert_array_equal(255 - batch_images[:, 0, 0, 0], batch_labels)


def test_batch_sizes_are_checked():
    images, labels = numbered_images(8)
    with pytest.raises(ValueError, match="512.*8"):
        training_batches(images, labels, 512, seed_as_label, 0, 1)
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match="BATCH_SIZE"):
            training_batches(images, labels, batch_size, seed_as_label, 0, 1)
