"""Properties of every augmentation, alone and composed."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import data_augmentations
from backend.runtime import tf
from data_augmentations import augmentation_pipeline, mixes_labels
from datasets import augmentation_engine as engine
from datasets.augmentation_engine import AUGMENTATIONS

pytestmark = pytest.mark.tensorflow_only

FUNCTIONS = {name: getattr(data_augmentations, name) for name in AUGMENTATIONS}
ON_IMAGES = [name for name, each in AUGMENTATIONS.items() if each.stage != "mixing"]
GEOMETRIC = [name for name, each in AUGMENTATIONS.items() if each.stage == "geometric"]
COLOUR = [name for name, each in AUGMENTATIONS.items() if each.stage == "colour"]
MIXING = [name for name, each in AUGMENTATIONS.items() if each.stage == "mixing"]
EVERYTHING = ON_IMAGES + MIXING
MAGNITUDES = {"degrees": 10.0, "fraction": 0.2, "padding": 2, "size": 4}
SEED = [3, 14]


def pictures(batch=16, height=12, width=12, channels=3, dtype=np.float32):
    """Random waves: next to no two pixels are equal, and none is at an end of the range."""
    random = np.random.RandomState(0)
    phase = 6 * random.rand(batch, 1, 1, channels)
    speed = 0.2 + 0.3 * random.rand(batch, 1, 1, channels)
    x, y = np.arange(width)[:, None], np.arange(height)[:, None, None]
    return (127 + 70 * np.sin(phase + speed * (x + 1.3 * y))).astype(dtype)


@pytest.fixture
def passes(monkeypatch):
    """The (name, matrices) of every pass over the pixels that a test causes."""
    passes = []

    def record(name):
        function = getattr(engine, name)

        def recorded(pixels, matrices):
            passes.append((name, np.array(matrices)))
            return function(pixels, matrices)

        monkeypatch.setattr(engine, name, recorded)

    record("warp")
    record("recolour")
    return passes


def classes(batch=16, number_of_classes=10):
    return np.eye(number_of_classes, dtype=np.float32)[np.arange(batch) % number_of_classes]


def mapped(function, images, labels, seed):
    """Do the same in `Dataset.map`, with a seed that the graph does not know."""
    data = tf.data.Dataset.from_tensors((images, labels, np.array(seed, np.int64)))
    return next(iter(data.map(function)))


def drawn(specification, images):
    """What an augmentation draws for these images."""
    ((augmentation, magnitudes),) = engine.parse([specification])
    images, seed = tf.convert_to_tensor(images), tf.constant(SEED)
    return augmentation.draw_for_chosen(images, seed, magnitudes).numpy()


def changed(before, after):
    return np.abs(np.asarray(after, float) - before).reshape(len(before), -1).max(axis=1) > 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16", "float64"])
@pytest.mark.parametrize("name", ON_IMAGES)
def test_shape_dtype_and_range_are_kept(name, dtype, channels):
    images = (pictures(height=9, width=13, channels=channels) > 127).astype(dtype) * 255
    result = FUNCTIONS[name](images, SEED)
    assert result.shape == images.shape and result.dtype == dtype
    assert 0 <= result.numpy().min() and result.numpy().max() <= 255


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", ON_IMAGES)
def test_no_magnitude_or_no_probability_changes_nothing(name, dtype):
    images = pictures(dtype=dtype)
    function = FUNCTIONS[name]
    np.testing.assert_array_equal(function(images, SEED, probability=0.0), images)
    for magnitude in set(AUGMENTATIONS[name].limits) & set(MAGNITUDES):
        np.testing.assert_array_equal(function(images, SEED, **{magnitude: 0}), images)


@pytest.mark.parametrize("name", EVERYTHING)
def test_probability_is_the_share_of_changed_images(name):
    images = pictures(batch=1000, height=6, width=6)
    augment = augmentation_pipeline([f"{name}(probability=0.3)"], 10)
    result, labels = augment(images, np.arange(1000) % 10, SEED)
    unchanged = {"random_crop": 1 / 81, "mixup": 0.1, "cutmix": 0.2}.get(name, 0.0)
    share = changed(images, result).mean()
    assert 0.3 * (1 - unchanged) - 0.05 < share < 0.35


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_image_draws_its_own_parameters(name):
    distinct = len(np.unique(drawn(name, pictures(64)).reshape(64, -1), axis=0))
    assert distinct == 2 if name == "random_flip" else distinct > 40


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_seed_alone_decides(name):
    images, labels = pictures(), np.arange(16) % 10
    augment = augmentation_pipeline([name], 10)
    once, again = (augment(images, labels, SEED)[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(once, again)
    for other in ([3, 15], [4, 14]):
        assert changed(once, augment(images, labels, other)[0]).any()


@pytest.mark.parametrize(
    "names, dtype",
    [([name], "float32") for name in EVERYTHING] + [(EVERYTHING, "float32"), (EVERYTHING, "uint8")],
)
def test_same_eagerly_in_a_function_and_in_a_data_set(names, dtype):
    """Once random_zoom differed: a graph computes exp(x) - 1 with other rounding."""
    images, labels = pictures(dtype=dtype), np.arange(16) % 10
    augment = augmentation_pipeline(names, 10)
    eager = augment(images, labels, SEED)
    for other in (
        tf.function(augment)(images, labels, tf.constant(SEED)),
        mapped(augment, images, labels, SEED),
    ):
        for expected, found in zip(eager, other):
            assert np.asarray(expected).dtype == np.asarray(found).dtype
            np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("name", ON_IMAGES)
def test_alone_as_in_a_pipeline(name):
    images = pictures()
    piped, _ = augmentation_pipeline([name])(images, np.arange(16), SEED)
    np.testing.assert_array_equal(FUNCTIONS[name](images, SEED), piped)


def test_a_data_set_keeps_the_static_shape():
    data = tf.data.Dataset.from_tensor_slices((pictures(), np.arange(16)))
    augment = augmentation_pipeline(EVERYTHING, 10)
    for whole_batches in (True, False):
        batches = data.batch(6, drop_remainder=whole_batches)
        result = batches.map(lambda images, labels: augment(images, labels, SEED))
        images, labels = tf.compat.v1.data.get_output_shapes(result)
        batch = 6 if whole_batches else None
        assert images.as_list() == [batch, 12, 12, 3] and labels.as_list() == [batch, 10]
        assert sum(len(each.numpy()) for each, _ in result) == (12 if whole_batches else 16)


@pytest.mark.parametrize("name", ["random_rotation", "random_brightness"])
def test_integer_pixels_are_rounded_not_cut_off(name):
    images = pictures(dtype="uint8")
    exact = FUNCTIONS[name](images.astype("float32"), SEED).numpy()
    error = FUNCTIONS[name](images, SEED).numpy() - exact
    assert np.abs(error).max() <= 0.501 and abs(error.mean()) < 0.1


def test_flip_is_exact():
    images = pictures(dtype="uint8", width=9)
    always = {"probability": 1.0}
    mirrored = data_augmentations.random_flip(images, SEED, **always)
    np.testing.assert_array_equal(mirrored, images[:, :, ::-1])
    mirrored = data_augmentations.random_flip(images, SEED, vertical=True, **always)
    np.testing.assert_array_equal(mirrored, images[:, ::-1])


def test_flip_is_horizontal_unless_asked():
    """The classic sample turns half of its training cars on their roofs."""
    images = pictures(64)
    result = data_augmentations.random_flip(images, SEED).numpy()
    mirrored = changed(images, result)
    np.testing.assert_array_equal(result[mirrored], images[mirrored][:, :, ::-1])


@pytest.mark.parametrize("height, width", [(12, 12), (7, 10)])
@pytest.mark.parametrize("padding", [1, 4, 20])
def test_crop_shifts_by_whole_pixels_of_the_reflected_image(passes, padding, height, width):
    images = pictures(100, height, width)
    result = data_augmentations.random_crop(images, SEED, padding=padding).numpy()
    shifts = passes[0][1][:, :2, 2].astype(int)
    assert np.abs(shifts).max() == padding
    if padding == 1:
        assert len(np.unique(shifts, axis=0)) == 9
    for before, after, (x, y) in zip(images, result, shifts):
        around = np.pad(before, [(padding, padding), (padding, padding), (0, 0)], "symmetric")
        np.testing.assert_array_equal(after, around[padding + y :, padding + x :][:height, :width])


def test_warp_by_a_right_angle():
    images = pictures(height=9, width=9)
    quarter = np.array([[[0, -1, 0], [1, 0, 0], [0, 0, 1]]] * 16, np.float32)
    result = engine.warp(tf.constant(images), tf.constant(quarter))
    np.testing.assert_allclose(result, np.rot90(images, 1, axes=(1, 2)), atol=1e-4)


def test_warp_reaches_far_beyond_the_edges():
    """Every position is a reflected pixel, however far the matrices point: no black corners."""
    images = np.full([4, 8, 10, 3], 200, np.float32)
    for shrink in (1, 3, 30):
        matrices = np.stack([np.diag([shrink, shrink, 1])] * 4).astype(np.float32)
        matrices[:, 0, 2] = [0, 5, -25, 40.5]
        result = engine.warp(tf.constant(images), tf.constant(matrices))
        np.testing.assert_allclose(result, images, atol=1e-3)


def test_rotation_turns_about_the_centre_without_bounds_being_exceeded():
    images = pictures(200)
    matrices = drawn("random_rotation(degrees=30)", images)
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 28 < angles.max() <= 30.001 and -30.001 <= angles.min() < -28
    np.testing.assert_array_equal(matrices[:, :2, 2], 0)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-5)


@pytest.mark.parametrize(
    "name, read, bound",
    [
        ("random_shear(degrees=20)", lambda m: m[:, 0, 1], np.tan(np.radians(20))),
        ("random_shear(degrees=20)", lambda m: m[:, 1, 0], np.tan(np.radians(20))),
        ("random_zoom(fraction=0.5)", lambda m: np.log(m[:, 0, 0]), np.log(1.5)),
        ("random_translation(fraction=0.25)", lambda m: m[:, 0, 2], 0.25 * 20),
        ("random_translation(fraction=0.25)", lambda m: m[:, 1, 2], 0.25 * 10),
        ("random_crop(padding=3)", lambda m: m[:, 0, 2], 3),
        ("random_contrast(fraction=0.4)", lambda m: m[:, 1, 1] - 1, 0.4),
        ("random_brightness(fraction=0.4)", lambda m: m[:, 2, 3], 0.4 * 255),
        ("random_saturation(fraction=0.4)", lambda m: m[:, :3, 0].dot([1, -1, 0]), 0.4),
    ],
)
def test_magnitudes_have_their_documented_units(name, read, bound):
    """Values fill -bound..bound evenly: both sides, so that nothing is only ever raised."""
    values = read(drawn(name, np.zeros([2000, 10, 20, 3], np.float32)))
    if name.startswith("random_saturation"):
        values = values - 1
    assert 0.97 * bound < values.max() <= bound * 1.0001
    assert 0.97 * bound < -values.min() <= bound * 1.0001
    assert abs(values.mean()) < 0.05 * bound


def test_brightness_moves_0_to_255_images_by_the_declared_amount():
    """The classic sample adds 0.4 to pixels of 0..255: nobody can see it."""
    images = np.full([500, 4, 4, 3], 120, np.uint8)
    result = data_augmentations.random_brightness(images, SEED, fraction=0.4).numpy()
    moved = result[:, 0, 0, 0].astype(int) - 120
    assert 99 <= moved.max() <= 102 and -102 <= moved.min() <= -99
    assert (result == result[:, :1, :1, :1]).all()


def test_contrast_turns_about_middle_grey():
    images = np.stack([np.full([4, 4, 3], level, np.float32) for level in (127.5, 150.0)] * 50)
    result = data_augmentations.random_contrast(images, SEED, fraction=0.5).numpy()
    np.testing.assert_allclose(result[::2], images[::2], atol=1e-4)
    distance = (result[1::2, 0, 0, 0] - 127.5) / 22.5
    assert 0.499 < distance.min() < 0.6 and 1.4 < distance.max() < 1.501


def test_saturation_keeps_luma_and_hue_keeps_the_mean():
    images = pictures(64)
    result = data_augmentations.random_saturation(images, SEED).numpy()
    luma = [0.299, 0.587, 0.114]
    np.testing.assert_allclose(result.dot(luma), images.dot(luma), atol=1e-2)
    result = data_augmentations.random_hue(images, SEED).numpy()
    np.testing.assert_allclose(result.mean(axis=3), images.mean(axis=3), atol=1e-2)


def test_hue_by_a_third_of_the_circle_exchanges_the_channels():
    generator = np.array([[0, -1, 1, 0], [1, 0, -1, 0], [-1, 1, 0, 0], [0, 0, 0, 0]]) / np.sqrt(3)
    third = engine.rotation(tf.constant([2 * np.pi / 3]), generator)
    images = pictures(1)
    result = engine.recolour(tf.constant(images), third)
    np.testing.assert_allclose(result, images[..., [2, 0, 1]], atol=1e-3)


@pytest.mark.parametrize("name", ["random_hue", "random_saturation"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_has_no_hue_and_no_saturation(name, channels):
    grey = pictures(channels=1).repeat(channels, axis=3)
    result = FUNCTIONS[name](grey, SEED)
    np.testing.assert_allclose(result, grey, atol=1e-3)


@pytest.mark.parametrize("name", COLOUR)
def test_greyscale_is_treated_as_grey_colour(name):
    grey = pictures(channels=1)
    expected = FUNCTIONS[name](grey.repeat(3, axis=3), SEED).numpy()[..., :1]
    np.testing.assert_allclose(FUNCTIONS[name](grey, SEED), expected, atol=1e-3)


def test_a_list_resamples_and_recolours_once(passes):
    """It equals the product of its parts' matrices applied in one go, in the list's order."""
    images = pictures()
    result, _ = augmentation_pipeline(GEOMETRIC + COLOUR)(images, np.arange(16), SEED)
    assert [name for name, _ in passes] == ["warp", "recolour"]

    passes.clear()
    for name in GEOMETRIC + COLOUR:
        FUNCTIONS[name](images, SEED)
    positions, colours = np.eye(3), np.eye(4)
    for name, matrices in passes:
        if name == "warp":
            positions = positions @ matrices
        else:
            colours = matrices @ colours
    expected = engine.warp(tf.constant(images), tf.constant(positions, tf.float32))
    expected = engine.recolour(expected, tf.constant(colours, tf.float32))
    np.testing.assert_allclose(result, np.clip(expected, 0, 255), atol=0.05)


@pytest.mark.parametrize(
    "first, second",
    [("random_crop", "random_flip(probability=1.0)"), ("random_contrast", "random_brightness")],
)
def test_a_list_acts_in_its_order(first, second):
    """Where no rounding or clipping comes between, a list equals its parts one after the other."""
    images, labels = pictures() / 4 + 95, np.arange(16)

    def run(*specifications):
        result = images
        for each in specifications:
            result, _ = augmentation_pipeline(each)(result, labels, SEED)
        return np.array(result)

    np.testing.assert_allclose(run([first, second]), run([first], [second]), atol=1e-3)
    assert np.abs(run([first, second]) - run([second, first])).max() > 1


def test_augmentations_of_one_list_do_not_draw_the_same_numbers():
    images = pictures(400)
    contrast = data_augmentations.random_contrast(images, SEED).numpy()
    brightness = data_augmentations.random_brightness(images, SEED).numpy()
    spread, level = contrast.std(axis=(1, 2, 3)), brightness.mean(axis=(1, 2, 3))
    spread /= images.std(axis=(1, 2, 3))
    level -= images.mean(axis=(1, 2, 3))
    assert abs(np.corrcoef(spread, level)[0, 1]) < 0.15


def test_stages_that_are_not_listed_are_skipped(monkeypatch):
    for name in ("warp", "recolour", "mix"):
        monkeypatch.setattr(engine, name, None)
    augmentation_pipeline(["random_erasing"])(pictures(), np.arange(16), SEED)


def test_erasing_paints_one_square_with_the_mean():
    images = pictures(200)
    result = data_augmentations.random_erasing(images, SEED, size=4).numpy()
    lost = np.any(result != images, axis=3)
    assert lost.sum(axis=(1, 2)).max() == 16
    for before, after, where in zip(images, result, lost):
        rows, columns = np.where(where)
        assert where[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        mean = np.broadcast_to(before.mean(axis=(0, 1)), after[where].shape)
        np.testing.assert_allclose(after[where], mean, atol=1e-3)
    # Every place is reached, the corners too.
    assert lost.mean(axis=0).min() > 0.01


@pytest.mark.parametrize("name", MIXING)
def test_mixed_labels_sum_to_1_and_tell_the_share_of_pixels(name):
    """The value of a pixel in these pictures is the label of the picture it comes from."""
    number = 8
    images = np.arange(number, dtype=np.float32)[:, None, None, None] * 10 + np.zeros(
        [1, 12, 10, 3]
    )
    mixed, labels = FUNCTIONS[name](images.astype("float32"), classes(number, number), SEED)
    mixed, labels = mixed.numpy(), labels.numpy()
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert ((labels > 0).sum(axis=1) == 2).sum() >= 3
    expected = labels.dot(np.arange(number) * 10)
    np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), expected, atol=1e-3)
    if name == "cutmix":
        assert set(np.unique(mixed)) <= set(np.unique(images))


def test_of_two_that_mix_each_batch_gets_one_by_lot():
    images, labels = pictures(8), classes(8)
    both = augmentation_pipeline(["mixup", "cutmix(probability=0.5)"], 10)
    alone = [augmentation_pipeline([each], 10) for each in ("mixup", "cutmix(probability=0.5)")]
    counts = [0, 0]
    for number in range(40):
        mixed = both(images, labels, [number, 7])
        same = [
            all(
                np.allclose(a, b, atol=1e-6)
                for a, b in zip(mixed, one(images, labels, [number, 7]))
            )
            for one in alone
        ]
        assert any(same), number
        counts[0] += same[0] and not same[1]
        counts[1] += same[1] and not same[0]
    # Forty tosses of a fair coin; cutmix may leave all eight images alone.
    assert 10 <= counts[0] <= 30 and 10 <= counts[1] <= 30
    again = both(images, labels, [3, 7])
    assert all(np.array_equal(a, b) for a, b in zip(again, both(images, labels, [3, 7])))


def test_cutmix_pastes_a_box_at_its_own_place():
    images = pictures(64, dtype="uint8")
    mixed, _ = data_augmentations.cutmix(images, classes(64), SEED)
    for own, other, result in zip(images, np.roll(images, 1, axis=0), mixed.numpy()):
        pasted = np.any(result != own, axis=2)
        np.testing.assert_array_equal(result[pasted], other[pasted])


def test_cutmix_boxes_have_the_drawn_area_where_they_fit():
    """Beta(100, 100) is next to one half, and a box in the middle is not cut off."""
    _, labels = data_augmentations.cutmix(pictures(300), classes(300), SEED, alpha=100)
    assert 0.47 < (1 - labels.numpy().max(axis=1)).max() <= 0.5


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_follow_the_beta_distribution(alpha):
    labels = np.tile(np.eye(2, dtype=np.float32), [10000, 1])
    images = np.zeros([20000, 1, 1, 1], np.float32)
    _, mixed = data_augmentations.mixup(images, labels, SEED, alpha=alpha)
    share = np.where(labels[:, 0] == 1, mixed.numpy()[:, 1], mixed.numpy()[:, 0])
    assert share.mean() == pytest.approx(0.5, abs=0.015)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


def test_labels_are_left_alone_unless_mixed():
    images, labels = pictures(), np.arange(16, dtype=np.int64) % 10
    _, same = augmentation_pipeline(ON_IMAGES)(images, labels, SEED)
    assert same is labels
    _, soft = augmentation_pipeline(["mixup"], 10)(images, labels, SEED)
    assert soft.shape == (16, 10) and soft.dtype == "float32"


def test_an_empty_list_returns_its_inputs():
    images, labels = pictures(), np.arange(16)
    assert augmentation_pipeline([])(images, labels, SEED) == (images, labels)


def test_mixes_labels():
    assert mixes_labels(["random_flip", "cutmix(alpha=1.0, probability=0.5)"])
    assert not mixes_labels(["random_flip", "random_erasing"]) and not mixes_labels([])


@pytest.mark.parametrize(
    "specification",
    [
        "random_rotatoin",
        "random_rotation(degree=10)",
        "random_rotation(10)",
        "random_rotation(degrees=-1)",
        "random_rotation(degrees=181)",
        "random_rotation(degrees='10')",
        "random_rotation(degrees=True)",
        "random_rotation(degrees=None)",
        "random_rotation(degrees=[10])",
        "random_rotation(degrees=1e999 - 1e999)",
        "random_rotation(degrees=__import__('os').getpid())",
        "random_rotation(degrees=1, degrees=2)",
        "random_rotation(**{'degrees': 1})",
        "random_rotation(images=1)",
        "random_zoom(fraction=-1)",
        "random_crop(padding=1.5)",
        "random_flip(vertical=1)",
        "random_flip(probability=1.5)",
        "random_flip(probability=-0.1)",
        "mixup(alpha=0)",
        "random_flip; random_crop",
        "random_flip(",
        "np.zeros(shape=3)",
        "tf",
        "(" * 500,
        "",
        7,
        None,
    ],
)
def test_bad_specifications_are_refused_by_name(specification):
    for build in (augmentation_pipeline, mixes_labels):
        with pytest.raises(ValueError, match="expected") as error:
            build(["random_flip", specification])
        assert str(specification).split("(")[0] in str(error.value)


def test_an_error_lists_what_is_accepted():
    with pytest.raises(ValueError, match="random_hue"):
        augmentation_pipeline(["random_colour"])
    with pytest.raises(ValueError, match=r"degrees=0\.\.180, probability=0\.\.1"):
        augmentation_pipeline(["random_hue(angle=3)"])


def test_bad_lists_are_refused():
    with pytest.raises(ValueError, match="random_flip"):
        augmentation_pipeline(["random_flip", "random_crop", "random_flip(probability=1)"])
    with pytest.raises(ValueError, match="list"):
        augmentation_pipeline("random_flip")
    with pytest.raises(ValueError, match="number_of_classes"):
        augmentation_pipeline(["mixup"])


@pytest.mark.parametrize("name", EVERYTHING)
def test_bad_magnitudes_are_refused_when_called_alone(name):
    function = FUNCTIONS[name]
    labels = (classes(),) if name in MIXING else ()
    for key in AUGMENTATIONS[name].limits:
        for bad in (-1, float("nan"), "much"):
            with pytest.raises(ValueError, match=key):
                function(pictures(), *labels, SEED, **{key: bad})


def test_bad_inputs_are_refused():
    flip = data_augmentations.random_flip
    for images in (pictures()[0], pictures(channels=2), pictures(dtype="int32")):
        with pytest.raises(ValueError, match="uint8 or float"):
            flip(images, SEED)
    with pytest.raises(ValueError):
        flip(pictures(), [1, 2, 3])
    with pytest.raises(ValueError, match="float labels"):
        data_augmentations.mixup(pictures(), np.arange(16), SEED)


@pytest.mark.parametrize("name", EVERYTHING)
def test_public_functions_tell_their_true_signature(name):
    signature = inspect.signature(FUNCTIONS[name])
    inputs = ["images", "labels", "seed"] if name in MIXING else ["images", "seed"]
    assert list(signature.parameters) == inputs + list(AUGMENTATIONS[name].limits)
    defaults = {key: signature.parameters[key].default for key in AUGMENTATIONS[name].limits}
    assert defaults == AUGMENTATIONS[name].defaults
    assert "draw" not in FUNCTIONS[name].__annotations__ and FUNCTIONS[name].__name__ == name
    assert "Tensor" in signature.return_annotation and FUNCTIONS[name].__doc__


def test_every_call_of_a_draw_gives_other_numbers():
    draw = engine.Draw(tf.zeros([2000, 4, 4, 3]), tf.constant(SEED))
    drawn = np.stack([draw.uniform(), *draw.uniforms(2), draw.uniform()])
    assert drawn.shape == (4, 2000) and np.abs(drawn).max() <= 1
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 0.1
    assert np.asarray(draw.chosen(0.25)).mean() == pytest.approx(0.25, abs=0.03)
