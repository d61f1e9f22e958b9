"""What the tool says about a picture is what the model answered for that picture."""

from __future__ import annotations

import csv
import io
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from reports.figures import GREEN, WRONG
from storage.trained_run import FinishedRun
from tools import predict
from tools.command_line import picture_paths


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
    assert lines[2] == f"{names[1]}: cannot be read (it is no picture)"
    assert lines[0].startswith(names[0])
    # Told by the pixels of the picture, not by its place in the list.
    assert lines[1].startswith(f"{names[2]}: {best} {100 * probabilities.max():.1f} %")


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


class FakeRun:
    """Answers for pictures of 4 x 4 pixels without a network."""

    image_shape, white = (4, 4, 3), 0
    class_names = ["猫", "dog, big", "c", "d", "e", "f"]

    def probabilities(self, images):
        return np.tile([0.1, 0.5, 0.2, 0.1, 0.06, 0.04], (len(images), 1))


def test_folders_and_patterns_mean_the_pictures_in_them(tmp_path, monkeypatch):
    for name in ("a/1.png", "a/deep/2.PPM", "b[1].jpg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert picture_paths(["a"]) == [os.path.join("a", "1.png"), os.path.join("a", "deep", "2.PPM")]
    assert picture_paths(["a/*.png", "a"])[0] == os.path.join("a", "1.png")
    assert len(picture_paths(["a/*.png", "a"])) == 2
    assert picture_paths(["b[1].jpg"]) == ["b[1].jpg"]
    # What means nothing is told as it was given.
    assert picture_paths(["no*.png", "missing.png"]) == ["no*.png", "missing.png"]


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_answers_are_written_with_the_five_most_probable_classes(tmp_path, ending):
    Image.new("RGB", (8, 8)).save(str(tmp_path / "a.png"))
    output = tmp_path / f"answers.{ending}"
    names = [str(tmp_path / name) for name in ("missing.png", "a.png")]
    answers, notes = predict.answers_for_pictures(FakeRun(), names, str(output))
    assert len(answers) == 1 and notes == [f"{names[0]}: there is no such file"]
    text = output.read_text(encoding="utf-8")
    if ending == "csv":
        (row,) = csv.DictReader(io.StringIO(text))
        assert row["picture"] == names[1] and row["class_1"] == "dog, big"
        assert float(row["probability_1"]) == 0.5 and row["class_5"] == "e" and len(row) == 11
    else:
        (row,) = json.loads(text)
        assert row["classes"][0] == {"name": "dog, big", "probability": 0.5}
        assert row["classes"][2]["name"] == "猫" and len(row["classes"]) == 5


@pytest.mark.parametrize("missing, code", [(False, None), (True, 1)])
def test_a_picture_that_cannot_be_read_is_exit_code_1(tmp_path, monkeypatch, missing, code):
    Image.new("RGB", (8, 8)).save(str(tmp_path / "a.png"))
    monkeypatch.setattr(predict, "finished_run", lambda folder: FakeRun())
    names = [str(tmp_path / "a.png")] + ["missing.png"] * missing
    monkeypatch.setattr(sys, "argv", ["predict", "RUN"] + names)
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", output)
    if code:
        with pytest.raises(SystemExit) as left:
            predict.command()
        assert left.value.code == code
    else:
        predict.command()
    # A name that the terminal cannot show loses no answer.
    assert b"dog, big 50.0 %, c 20.0 %, \\u732b 10.0 %" in output.buffer.getvalue()
