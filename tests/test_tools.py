"""What the tools say and draw is what the model answered, at the right place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

import train_cifar10
from backend.runtime import keras
from recipes import resnet_cifar10, visual_tokens_cifar10
from reports.figures import GREEN, WRONG
from storage.trained_run import FinishedRun
from tools import compare, duplicates, predict, visualize, vit_analysis
from tools.near_duplicates import nearest_training_images
from tools.vit_analysis import TokenGrid, token_grid_of

COMMON = (
    "--dataset synthetic --images-per-class 12 --validation-fraction 0.2 --batch-size 32 "
    "--micro-batch-size 32 --epochs 1"
).split()
VIT = (
    "--patch-size 8 --patch-stride 8 --number-of-layers 2 --embedding-dim 8 --num-heads 2 "
    "--mlp-hidden-dim 8 --head-hidden-dims 8 --representation class_token"
).split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    common = COMMON + ["--output-dir", str(folder)]
    tokens = "--convolution-filters 4 --convolution-strides 4 --number-of-tokens 3".split()
    tokens += "--number-of-layers 1 --embedding-dim 8 --num-heads 2 --mlp-hidden-dim 8".split()
    return {
        "vit": train_cifar10.main(common + VIT),
        "cnn": resnet_cifar10.main(common + ["--number-of-layers", "8", "--filters", "4"]),
        "tokens": visual_tokens_cifar10.main(common + tokens),
        "overlapping": train_cifar10.main(
            common + VIT + "--stem patch_convolution --patch-stride 4 --representation mean".split()
        ),
        "convolutional": train_cifar10.main(
            common + VIT + "--stem convolutional --patch-stride 4".split()
        ),
    }


# predict


def test_every_sample_stands_between_its_own_answer_and_its_own_name():
    """The published notes drew image i with the label of another index."""
    count, names = 40, ["zero", "one", "two", "three"]
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    labels = random.randint(4, size=count)
    probabilities = random.dirichlet(np.ones(4), size=count)
    chosen = random.permutation(count)[:7]
    figure = predict.sample_grid(images, labels, probabilities, names, chosen)
    cells = [axes for axes in figure.axes if axes.get_visible()]
    assert len(cells) == 7
    colours = set()
    for cell, i in zip(cells, chosen):
        answer = probabilities[i].argmax()
        np.testing.assert_array_equal(cell.images[0].get_array(), images[i])
        assert cell.get_title() == names[answer]
        assert cell.get_xlabel().rstrip() == "true: " + names[labels[i]]
        assert cell.title.get_color() == (GREEN if answer == labels[i] else WRONG)
        colours.add(cell.title.get_color())
    assert colours == {GREEN, WRONG}


def test_samples_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="3 images, 2 labels"):
        predict.sample_grid(np.zeros((3, 4, 4, 3)), [0, 1], np.eye(3), ["a", "b", "c"], [0])


def test_samples_are_written_and_counted(runs):
    lines = predict.main([str(runs["vit"]), "--samples", "9"])
    assert "of 9 right" in lines[-1]
    assert (runs["vit"] / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_of_any_size_and_colour_are_named(runs, tmp_path):
    run = FinishedRun(runs["vit"])
    image = run.dataset().x_test[3]
    Image.fromarray(image).save(str(tmp_path / "own.png"))
    Image.fromarray(image[:20, :, 0]).save(str(tmp_path / "grey.png"))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    names = [str(tmp_path / name) for name in ("grey.png", "broken.png", "own.png")]
    lines = predict.main([str(runs["vit"])] + names)
    probabilities = run.probabilities(image[None])[0]
    best = run.class_names[int(probabilities.argmax())]
    assert len(lines) == 3
    assert "no image can be read; 1 unreadable files skipped: broken.png" in lines[0]
    assert lines[1].startswith(names[0])
    # Told by the pixels of the picture, not by its place in the list.
    assert lines[2].startswith(f"{names[2]}: {best} {100 * probabilities.max():.1f} %")


def test_no_readable_picture_is_an_error(runs, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    names = [str(tmp_path / name) for name in ("missing.png", "broken.png")]
    with pytest.raises(ValueError, match="missing.png: there is no such file.*broken.png"):
        predict.main([str(runs["vit"])] + names)


@pytest.mark.parametrize("flags", [[], ["cat.png", "--samples", "3"]])
def test_predict_wants_pictures_or_samples(runs, flags):
    with pytest.raises(SystemExit) as left:
        predict.main([str(runs["vit"])] + flags)
    assert left.value.code == 2


# visualize

GRID = TokenGrid(rows=3, columns=4, size=2, stride=2, special=1)


@pytest.mark.parametrize(
    "model, names",
    [
        ("vit", {"what_it_learned", "attention", "patches", "model", "training"}),
        ("overlapping", {"what_it_learned", "attention", "patches", "model", "training"}),
        # Its convolutions overlap: there are no patches to be shown.
        ("convolutional", {"what_it_learned", "attention", "model", "training"}),
        ("cnn", {"what_it_learned", "model", "training"}),
        ("tokens", {"what_it_learned", "visual_tokens", "model", "training"}),
    ],
)
def test_every_model_gets_the_pictures_that_it_has(runs, model, names):
    paths = visualize.main([str(runs[model])])
    assert {path.stem for path in paths} == names
    for path in paths:
        assert Image.open(str(path)).size[0] > 300


def test_the_components_of_filters_are_those_that_made_them():
    random = np.random.RandomState(0)
    directions = np.linalg.qr(random.normal(size=(12, 2)))[0].T
    amounts = random.normal(size=(50, 2)) * [5.0, 1.0]
    kernel = (amounts @ directions + 3.0).T.reshape(2, 2, 3, 50)
    components, shares = vit_analysis.principal_components(kernel, 28)
    assert components.shape == (12, 2, 2, 3)
    # The first two span what the filters were made of.
    flat = components[:2].reshape(2, 12)
    np.testing.assert_allclose((directions @ flat.T @ flat), directions, atol=1e-6)
    assert shares[0] > 0.9 and shares[:2].sum() == pytest.approx(1.0)


def test_the_filters_of_patches_are_laid_out_as_the_pixels_were(runs):
    model = FinishedRun(runs["vit"]).model
    _, kernel = vit_analysis.embedding_filters(model)
    assert kernel.shape == (8, 8, 3, 8)
    before = keras.Model(model.input, model.get_layer("pixel_normalization").output)
    after = keras.Model(model.input, model.get_layer("patch_projection").output)
    image = np.random.RandomState(0).randint(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    pixels = before(image).numpy()[0, 8:16, 16:24]
    bias = model.get_layer("patch_projection").get_weights()[1]
    # The patch of the second row and third column.
    np.testing.assert_allclose(
        after(image).numpy()[0, 6], np.tensordot(pixels, kernel, 3) + bias, atol=1e-4
    )


def test_a_head_that_looks_at_one_place_has_the_distance_of_that_place():
    attention = np.zeros((1, 3, 13, 13))
    attention[0, 0] = np.eye(13)
    # All patches look at the first one; what goes to the class token is no distance.
    attention[0, 1, :, 1] = 0.25
    attention[0, 1, :, 0] = 0.75
    # Every patch looks at its right or left neighbour.
    for patch in range(12):
        attention[0, 2, 1 + patch, 1 + (patch + 1 if patch % 4 < 3 else patch - 1)] = 1
    own, first, neighbour = vit_analysis.attention_distances(attention, GRID)
    assert own == 0
    expected = np.mean([2 * math.hypot(row, column) for row in range(3) for column in range(4)])
    assert first == pytest.approx(expected)
    assert neighbour == pytest.approx(2.0)


def test_rollout_keeps_all_attention_and_leaves_it_in_place_where_heads_do():
    random = np.random.RandomState(0)
    attentions = [random.dirichlet(np.ones(5), size=(2, 3, 5)) for _ in range(4)]
    rollout = vit_analysis.attention_rollout(attentions)
    np.testing.assert_allclose(rollout.sum(axis=-1), 1.0)
    stay = [np.tile(np.eye(5), (2, 3, 1, 1))] * 4
    np.testing.assert_allclose(vit_analysis.attention_rollout(stay)[1], np.eye(5))
    # The last block has the last word: of two, its row picks the rows of the first.
    first, last = attentions[:2]
    half = [0.5 * a.mean(axis=1)[0] + 0.5 * np.eye(5) for a in (first, last)]
    np.testing.assert_allclose(vit_analysis.attention_rollout([first, last])[0], half[1] @ half[0])


def test_attention_lies_over_the_patch_that_it_goes_to():
    attention = np.zeros((13, 13))
    attention[0, 1 + 4 * 1 + 2] = 1.0
    pixels = vit_analysis.over_the_image(attention, GRID, (6, 8, 3))
    assert pixels[2:4, 4:6].min() == 1.0 and pixels.sum() == 4.0


def test_cosine_similarities_do_not_know_lengths():
    vectors = np.array([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    expected = [[1, 1, 0, -1], [1, 1, 0, -1], [0, 0, 1, 0], [-1, -1, 0, 1]]
    np.testing.assert_allclose(vit_analysis.cosine_similarities(vectors), expected)


def test_a_mosaic_has_every_tile_in_its_place():
    tiles = np.arange(1, 7, dtype=float)[:, None, None] * np.ones((6, 10, 10))
    image = visualize.mosaic(tiles, columns=3, gap=0.2, background=0.0)
    assert image.shape == (22, 34)
    assert image[5, 5] == 1 and image[5, 29] == 3 and image[17, 17] == 5
    assert (image == 0).sum() == 22 * 34 - 600


def test_the_grid_of_a_convolutional_stem_does_not_know_the_patch_size(runs):
    run = FinishedRun(runs["convolutional"])
    assert run.settings["constants"]["PATCH_SIZE"] == 8
    assert token_grid_of(run) == TokenGrid(8, 8, 4, 4, 1, are_patches=False)


def test_the_diagram_counts_every_parameter_once(runs):
    for folder in runs.values():
        run = FinishedRun(folder)
        boxes = visualize.boxes_of(run.model)
        assert sum(box.parameters for box in boxes) == run.results["parameters"]
    assert ("block", 2) in [
        (box.title, box.count) for box in visualize.boxes_of(FinishedRun(runs["vit"]).model)
    ]


# compare


@pytest.mark.parametrize("first, second", [(0, 0), (1, 0), (5, 9), (12, 12), (40, 3), (3, 40)])
def test_mcnemar_is_the_two_sided_binomial_test(first, second):
    total = first + second
    ways = [
        math.factorial(total) // math.factorial(k) // math.factorial(total - k)
        for k in range(total + 1)
    ]
    own = ways[first]
    # Two-sided, by its definition: all outcomes that are no likelier than the one seen.
    expected = sum(count for count in ways if count <= own) / 2.0**total
    assert compare.mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_of_many_images_is_the_normal_approximation():
    p = compare.mcnemar(2600, 2400)
    z = (200 - 1) / math.sqrt(5000)
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)
    assert compare.mcnemar(9000, 1000) < 1e-300
    with pytest.raises(ValueError, match="-1"):
        compare.mcnemar(-1, 3)


def test_multiplications_of_a_model_are_counted_from_its_sizes(runs):
    own = compare.multiply_adds(FinishedRun(runs["vit"]).model)
    tokens, dim, hidden = 17, 8, 8
    block = tokens * (4 * dim * dim + 2 * dim * hidden) + 2 * tokens * tokens * dim
    assert own == 16 * 192 * dim + 2 * block + dim * 8 + 8 * 10
    # Without padding: 20 layers on 32 x 32 take 40.5 million (arXiv 1512.03385 has no figure).
    from models.resnet import resnet

    model = resnet((32, 32, 3), 10, (120.0,) * 3, (60.0,) * 3, number_of_layers=20)
    stage = 1024 * 9 * 16 * 16
    first_of_stage = stage // 2
    expected = 1024 * 27 * 16 + 6 * stage + 2 * (first_of_stage + 5 * stage) + 64 * 10
    assert compare.multiply_adds(model) == expected


def test_the_page_answers_whether_the_difference_is_significant(runs, tmp_path):
    output = tmp_path / "compare.html"
    folders = [str(runs[name]) for name in ("vit", "cnn", "tokens")]
    assert compare.main(folders + ["--output", str(output)]) == output
    page = output.read_text(encoding="utf-8")
    for part in ("A better than B?", "B better than C?", "Bonferroni", "FLOPs", "Validation loss"):
        assert part in page
    for folder in folders:
        assert "<br>".join(FinishedRun(folder).name.split("/")) in page
    contestants, images, labels, names = compare.read_contestants(folders, "")
    for each in contestants:
        assert each.accuracy == pytest.approx(each.results["test_accuracy"])
    assert [c.accuracy for c in contestants] == sorted(
        (c.accuracy for c in contestants), reverse=True
    )


def test_a_run_is_not_better_than_itself(runs):
    contestants, _, _, _ = compare.read_contestants([str(runs["cnn"])] * 2, "")
    row = compare.verdict(contestants[0], contestants[1], 1)
    assert row[1:] == ["+0.00 points", "0", "0", "1", "no: this may be chance"]


def test_runs_on_other_images_are_not_compared(runs, tmp_path):
    flags = COMMON + VIT + ["--output-dir", str(tmp_path), "--dataset", "synthetic100"]
    other = train_cifar10.main(flags)
    with pytest.raises(ValueError, match="not tested on the same images"):
        compare.read_contestants([str(runs["vit"]), str(other)], "")
    with pytest.raises(ValueError, match="1 runs"):
        compare.read_contestants([str(other)], "")


# duplicates


def test_duplicates_are_found_whatever_their_brightness_and_nothing_else_is():
    random = np.random.RandomState(0)
    training = random.randint(40, 200, (60, 32, 32, 3)).astype(np.uint8)
    test = random.randint(40, 200, (20, 32, 32, 3)).astype(np.uint8)
    test[3] = training[41]
    test[7] = (0.8 * training[5].astype(float) + 30).astype(np.uint8)
    test[11] = 90
    test[13] = training[17] = 50
    indices, similarities = nearest_training_images(training, test)
    assert set(np.flatnonzero(similarities > 0.95)) == {3, 7, 13}
    assert (indices[3], indices[7], indices[13]) == (41, 5, 17)
    # Not nearly: --similarity 1 asks for exact copies.
    assert set(np.flatnonzero(similarities >= 1)) == {3, 13}
    with pytest.raises(ValueError, match="(32, 32, 3).*(28, 28, 1)"):
        nearest_training_images(training, np.zeros((1, 28, 28, 1), np.uint8))


def test_accuracy_is_told_with_and_without_duplicates(runs):
    lines = duplicates.main([str(runs["cnn"]), "--similarity", "0.5"])
    run = FinishedRun(runs["cnn"])
    total = len(run.dataset().y_test)
    count, without = (int(line.split(" images")[0].split()[-1]) for line in lines[2:4])
    assert 0 < count < total and count + without == total
    assert "{:.2f} %".format(100 * run.results["test_accuracy"]) in lines[1]
    assert (runs["cnn"] / "near_duplicates.png").is_file()
    with pytest.raises(ValueError, match="--similarity"):
        duplicates.main([str(runs["cnn"]), "--similarity", "0"])
