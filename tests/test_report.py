"""The report shows what was measured, every image with its own names, and no value as HTML."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from reports import metrics, report
from storage import files
from tests.helpers import ROOT

pytestmark = pytest.mark.tensorflow_only

pytestmark = pytest.mark.filterwarnings("error")


def make_history(epochs):
    return [
        {
            "epoch": epoch,
            "loss": 2 / epoch,
            "accuracy": 1 - 0.9 / epoch,
            "validation_loss": 2.2 / epoch,
            "validation_accuracy": 0.9 - 0.8 / epoch,
            "validation_top5_accuracy": 0.95,
            "learning_rate": 1e-3,
            "seconds": 10.0,
            "images_per_second": 450.0,
        }
        for epoch in range(1, epochs + 1)
    ]


def make_run(count=200, classes=10, channels=3, epochs=5, seed=0):
    """Return write_report's arguments; image i is painted with the digits of i in base 256."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, classes, count)
    probabilities = random.dirichlet(np.full(classes, 0.3), count).astype(np.float32)
    images = np.zeros((count, 8, 8, channels), np.uint8)
    images[..., 0] = (np.arange(count) % 256)[:, None, None]
    if channels == 3:
        images[..., 1] = (np.arange(count) // 256)[:, None, None]
    results = {
        "dataset": "cifar10",
        "stand_in": False,
        "test_accuracy": float((probabilities.argmax(-1) == labels).mean()),
        "test_top5_accuracy": 0.5,
        "test_loss": 2.5,
        "parameters": 1234567,
        "epochs": epochs,
        "best_epoch": max(1, epochs - 1),
        "images_seen": 1000,
        "train_minutes": 1.5,
        "images_per_second": 450.0,
        "device": "CPU",
        "runtime": "TensorFlow 2.10",
        "seed": 3,
        "finished": True,
    }
    return {
        "settings": {
            "BATCH_SIZE": 512,
            "command": "python train.py --seed 3",
            "git_commit": "ab12",
        },
        "results": results,
        "history": make_history(epochs),
        "images": images,
        "labels": labels,
        "probabilities": probabilities,
        "class_names": [f"name{c}" for c in range(classes)],
    }


class Page(HTMLParser):
    """What a browser would find: tags, their attributes, all text, and the mistakes' tiles."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.source, self.tags, self.text, self.tiles = source, [], "", []
        self.inside_tile = False
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "img":
            self.tiles.append([attributes["src"], ""])
            self.inside_tile = True

    def handle_endtag(self, tag):
        if tag == "figure":
            self.inside_tile = False

    def handle_data(self, data):
        self.text += data
        if self.inside_tile:
            self.tiles[-1][1] += " " + data


def write(tmp_path, **run):
    path = report.write_report(tmp_path, **run)
    assert path == tmp_path / "report.html"
    source = path.read_text(encoding="utf-8")
    svgs = re.findall("<svg.*?</svg>", source, flags=re.DOTALL)
    for svg in svgs:
        ElementTree.fromstring(svg)
    assert len(svgs) == 5
    ids = re.findall(r' id="([^"]*)"', source)
    assert len(ids) == len(set(ids))
    visible = re.sub('base64,[^"]*', "", source)
    assert not re.search(r"(?<!predicted )\b(nan|inf)\b", visible, flags=re.IGNORECASE)
    return Page(source)


@pytest.mark.parametrize("channels", [1, 3])
def test_mistakes_show_image_and_names_of_the_same_index(tmp_path, channels):
    """The classic bug: images and labels drift apart. Here every image tells its own index."""
    run = make_run(count=250 if channels == 1 else 1000, channels=channels)
    page = write(tmp_path, **run)
    assert len(page.tiles) == metrics.NUMBER_OF_MISTAKES
    seen = set()
    for source, caption in page.tiles:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        pixels = np.round(255 * imread(io.BytesIO(base64.b64decode(data)))[..., :3]).astype(int)
        assert pixels.shape == (8, 8, 3)
        i = pixels[0, 0, 0] + (256 * pixels[0, 0, 1] if channels == 3 else 0)
        answer = run["probabilities"][i].argmax()
        true_name, answer_name, share = caption.replace("\u00a0%", "").split()
        assert true_name == run["class_names"][run["labels"][i]]
        assert answer_name == run["class_names"][answer] != true_name
        assert float(share) == pytest.approx(100 * run["probabilities"][i, answer], abs=0.051)
        seen.add(i)
    assert len(seen) == len(page.tiles)


def test_page_is_self_contained_and_says_what_was_measured(tmp_path):
    run = make_run(classes=10)
    page = write(tmp_path, **run)
    assert "script" not in [tag for tag, _ in page.tags] and "link" not in [t for t, _ in page.tags]
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value)
    for attribute in re.findall(r'(?:url\(|@import)["\']?([^)"\']*)', page.source):
        assert attribute.startswith("#")
    correct = int(round(run["results"]["test_accuracy"] * 200))
    low, high = metrics.wilson_interval(correct, 200)
    for text in (
        f"{100 * low:.2f}\u00a0% to {100 * high:.2f}\u00a0%",
        f"{correct} of 200 test images correct",
        "top-5 50.00\u00a0%",
        "1,234,567",
        "python train.py --seed 3",
        "BATCH_SIZE",
        "epoch 4: 70 %",
    ):
        assert text in page.text
    assert "Stand-in" not in page.text and "notice" not in [a.get("class") for _, a in page.tags]


def test_a_headline_stands_beside_what_the_largest_class_alone_would_give(tmp_path):
    run = make_run(classes=2)
    run["labels"] = np.repeat([0, 1], [190, 10])
    run["probabilities"] = np.tile(np.array([0.9, 0.1], np.float32), (200, 1))
    run["results"].update(test_accuracy=0.95, training_images=54321)
    page = write(tmp_path, **run)
    text = " ".join(page.text.split())
    assert "Always answering name0: 95.00 %" in text
    assert "balanced accuracy 50.00 % · macro F1 48.72 %" in text
    assert "Training images54,321" in text and "top-5" not in text
    # Of a class that is never predicted there is no precision.
    assert "<td>name1</td><td>10</td><td>–</td>" in page.source


def test_what_cannot_be_repeated_is_said(tmp_path):
    run = make_run()
    run["settings"].update(
        TIME_LIMIT_MINUTES=10.0, git_commit="0123456789ab+", changed_constants={"SEED": 3}
    )
    text = write(tmp_path, **run).text
    assert "time limit of 10 minutes" in text and "cannot be repeated exactly" in text
    assert "0123456789ab+" in text and "is not recorded" in text and "by flag or by edit" in text
    text = write(tmp_path, **make_run()).text
    assert "time limit" not in text and "by edit" not in text and "--settings" not in text


def test_stand_in_is_said_in_banner_headline_title_and_every_figure(tmp_path):
    run = make_run()
    run["results"]["stand_in"] = True
    page = write(tmp_path, **run)
    assert "banner" in [attributes.get("class") for _, attributes in page.tags]
    assert "test accuracy on stand-in data" in page.text
    assert "stand-in data</title>" in page.source
    for svg in re.findall("<svg.*?</svg>", page.source, flags=re.DOTALL):
        assert "stand-in data" in svg


@pytest.mark.parametrize("classes", [2, 30])
def test_hostile_names_reach_the_page_as_text(tmp_path, classes):
    hostile = "<script>alert('&amp;')</script>\"'>{{ 7 * 7 }}{% raw %}{# $x_1$ #}<img src=x>"
    run = make_run(classes=classes)
    run["class_names"] = [f"{hostile}{c}" for c in range(classes)]
    run["settings"] = {hostile: {hostile: [hostile]}, "command": hostile, "git_commit": hostile}
    for key in ("dataset", "device", "runtime", "seed", "epochs"):
        run["results"][key] = hostile
    folder = tmp_path / "<script>{{ 7 * 7 }}{% raw %}" / "'>&<b>"
    folder.mkdir(parents=True)
    page, plain = write(folder, **run), write(tmp_path, **make_run(classes=classes))
    # The same elements with the same attributes: no value has added any.
    elements, expected = (
        [(tag, sorted(attributes)) for tag, attributes in each.tags] for each in (page, plain)
    )
    assert elements == expected
    assert page.text.count(hostile) > 5
    assert "<script>{{ 7 * 7 }}{% raw %} / '>&<b>" in page.text


def test_class_names_of_any_alphabet(tmp_path):
    run = make_run(classes=3)
    run["class_names"] = ["犬", "猫", "a" * 80]
    assert "犬" in write(tmp_path, **run).text


def no_mistakes(run):
    run["probabilities"] = np.eye(10, dtype=np.float32)[run["labels"]]
    run["results"]["test_accuracy"] = 1.0


def all_mistakes(run):
    run["probabilities"] = np.eye(10, dtype=np.float32)[(run["labels"] + 1) % 10]
    run["results"]["test_accuracy"] = 0.0


def class_without_images(run):
    run["labels"][run["labels"] == 4] = 5
    run["results"]["test_accuracy"] = np.mean(run["probabilities"].argmax(-1) == run["labels"])


def nan_history(run):
    for key in run["history"][0]:
        run["history"][2][key] = float("nan")
        run["history"][3][key] = float("inf")
    for row in run["history"]:
        row["loss"] = float("nan")


def nan_everywhere(run):
    run["history"] = [dict.fromkeys(row, float("nan")) for row in run["history"]]
    run["probabilities"][:] = np.nan
    for key in ("test_accuracy", "test_loss", "train_minutes", "best_epoch"):
        run["results"][key] = float("nan")


def no_history(run):
    run["history"] = []
    run["results"]["best_epoch"] = None


def only_a_few_facts(run):
    run["settings"] = {}
    run["history"] = [{"epoch": 1}]
    run["results"] = {"dataset": "x", "test_accuracy": run["results"]["test_accuracy"]}


def one_image(run):
    for key in ("images", "labels", "probabilities"):
        run[key] = run[key][:1]
    run["results"]["test_accuracy"] = float(run["probabilities"].argmax() == run["labels"][0])


@pytest.mark.parametrize(
    "change",
    [
        no_mistakes,
        all_mistakes,
        class_without_images,
        nan_history,
        nan_everywhere,
        no_history,
        only_a_few_facts,
        one_image,
    ],
    ids=lambda change: change.__name__,
)
def test_odd_runs_have_a_page(tmp_path, change):
    run = make_run()
    change(run)
    page = write(tmp_path, **run)
    for name in run["class_names"]:
        assert name in page.text
    every_answer_right = change is no_mistakes
    assert ("None: every prediction is correct." in page.text) == every_answer_right
    assert ("predicted NaN for 200 of 200" in page.text) == (change is nan_everywhere)


@pytest.mark.parametrize("classes, epochs", [(2, 1), (2, 2), (20, 1), (21, 300)])
def test_numbers_of_classes_and_epochs(tmp_path, classes, epochs):
    page = write(tmp_path, **make_run(classes=classes, epochs=epochs))
    assert ("top-5" in page.text) == (classes > 5)
    matrix = re.findall("<svg.*?</svg>", page.source, flags=re.DOTALL)[-1]
    assert ("name1<" in matrix) == (classes <= report.NAMED_CLASSES)


def test_page_of_100_classes_is_small_and_names_them_all(tmp_path):
    run = make_run(count=3000, classes=100, epochs=100)
    # Noise is what PNG cannot compress.
    run["images"] = np.random.RandomState(0).randint(0, 256, (3000, 32, 32, 3)).astype(np.uint8)
    page = write(tmp_path, **run)
    assert len(page.source) < 500e3
    assert all(name in page.text for name in run["class_names"])


def test_disagreement_and_interruption_are_said(tmp_path):
    run = make_run()
    run["results"]["test_accuracy"] += 0.1
    run["results"]["finished"] = False
    text = write(tmp_path, **run).text
    assert "One of them is wrong" in text and "stopped before its last epoch" in text


def test_same_run_same_bytes(tmp_path):
    first = write(tmp_path, **make_run()).source
    assert write(tmp_path, **make_run()).source == first


def test_an_interrupted_write_keeps_the_old_page(tmp_path, monkeypatch):
    write(tmp_path, **make_run())
    before = (tmp_path / "report.html").read_bytes()

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(ValueError, match="disk full"):
        report.write_report(tmp_path, **make_run(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": np.zeros(199, int)}, "199 labels"),
        ({"labels": np.full(200, 10)}, "10"),
        ({"labels": np.zeros((200, 1), int)}, r"\(200, 1\)"),
        ({"images": np.zeros((200, 8, 8, 3), np.float32)}, "float32"),
        ({"images": np.zeros((200, 8, 8, 4), np.uint8)}, "8, 4"),
        ({"probabilities": np.full((200, 10), 7.0)}, "logits"),
        ({"probabilities": np.full((200, 9), 0.1)}, "9"),
        ({"class_names": ["a", "b"]}, "2 class names"),
    ],
)
def test_refuses_what_does_not_fit_and_writes_nothing(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        report.write_report(tmp_path, **dict(make_run(), **change))
    assert not list(tmp_path.iterdir())


def test_reports_load_neither_tensorflow_nor_pyplot():
    code = (
        "import sys, reports.report; loaded = set(sys.modules);"
        "assert not loaded & {'tensorflow', 'matplotlib.pyplot'}, 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=str(ROOT), check=True)
