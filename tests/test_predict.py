"""What the tool says about a picture is what the model answered for that picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from reports.figures import GREEN, WRONG
from storage.trained_run import FinishedRun
from tools import predict


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
    assert "of 9 correct" in lines[-1]
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
    assert lines[0] == f"{names[1]}: cannot be read (it is no picture)"
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
