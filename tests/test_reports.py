"""The report page: right numbers, robust figures, and nothing that drifts apart or breaks out."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from reports import figures, metrics, report
from storage import files, run_folder

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
    assert not re.search(r"(?<!answered )\b(nan|inf)\b", visible, flags=re.IGNORECASE)
    return Page(source)


# --------------------------------------------------------------------------------------- numbers


def test_wilson_interval_published_values():
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
    for correct, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert metrics.wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_properties():
    for total in (1, 7, 10000):
        for correct in {0, 1, total // 2, total}:
            low, high = metrics.wilson_interval(correct, total)
            assert 0 <= low <= correct / total <= high <= 1 and low < high
            mirrored = metrics.wilson_interval(total - correct, total)
            assert mirrored == pytest.approx((1 - high, 1 - low))
            wider = metrics.wilson_interval(correct, total, confidence=0.99)
            assert wider[0] <= low and high <= wider[1] and wider != (low, high)
    assert metrics.wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize("arguments", [(-1, 5), (6, 5), (1, 5, 0), (1, 5, 1), (float("nan"), 5)])
def test_wilson_interval_refuses(arguments):
    with pytest.raises(ValueError, match="expected"):
        metrics.wilson_interval(*arguments)


def test_confusion_matrix_counts_true_rows_and_predicted_columns():
    random = np.random.RandomState(1)
    labels, predictions = random.randint(0, 7, (2, 500)).astype(np.uint8)
    matrix = metrics.confusion_matrix(labels, predictions, 8)
    assert matrix.shape == (8, 8) and matrix.dtype == np.int64
    for true in range(8):
        for answer in range(8):
            assert matrix[true, answer] == np.sum((labels == true) & (predictions == answer))


@pytest.mark.parametrize(
    "labels, predictions",
    [([0, 3], [0, 0]), ([0, 1], [-1, 0]), ([0], [0, 1]), ([0.0], [0]), ([[0]], [[0]])],
)
def test_confusion_matrix_refuses(labels, predictions):
    with pytest.raises(ValueError):
        metrics.confusion_matrix(labels, predictions, 3)


def test_confused_pairs_are_the_fullest_cells_off_the_diagonal():
    matrix = np.array([[50, 3, 0], [9, 50, 0], [0, 1, 50]])
    assert metrics.most_confused_pairs(matrix) == [(1, 0, 9), (0, 1, 3), (2, 1, 1)]
    assert metrics.most_confused_pairs(matrix, 1) == [(1, 0, 9)]
    assert metrics.most_confused_pairs(np.diag([4, 5])) == []


def test_mistakes_are_wrong_and_sorted_by_confidence():
    run = make_run()
    labels, probabilities = run["labels"], run["probabilities"]
    found = metrics.most_confident_mistakes(labels, probabilities, 30)
    wrong = probabilities.argmax(-1) != labels
    confidences = probabilities.max(-1)
    assert len(found) == 30 and wrong[found].all()
    assert (np.diff(confidences[found]) <= 0).all()
    others = np.setdiff1d(np.flatnonzero(wrong), found)
    assert confidences[others].max() <= confidences[found].min()


def test_read_history(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,accuracy\n1,2.5,0.25\n2,nan,\n3,1.5")
    history = run_folder.read_history(path)
    assert history[0] == {"epoch": 1, "loss": 2.5, "accuracy": 0.25}
    assert np.isnan([history[1]["loss"], history[1]["accuracy"], history[2]["accuracy"]]).all()
    assert history[2]["loss"] == 1.5


@pytest.mark.parametrize(
    "content, message",
    [(None, "does not exist"), ("", "epoch"), ("loss\n1\n", "epoch"), ("epoch\n1\nx\n", "line 3")],
)
def test_read_history_refuses(tmp_path, content, message):
    path = tmp_path / "history.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as raised:
        run_folder.read_history(path)
    assert str(path) in str(raised.value)


# ------------------------------------------------------------------------------------------ page


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
        f"{correct} of 200 test images right",
        "top-5 50.00\u00a0%",
        "1,234,567",
        "python train.py --seed 3",
        "BATCH_SIZE",
        "epoch 4: 70 %",
    ):
        assert text in page.text
    assert "Stand-in" not in page.text and "notice" not in [a.get("class") for _, a in page.tags]


def test_stand_in_is_said_in_banner_headline_title_and_every_figure(tmp_path):
    run = make_run()
    run["results"]["stand_in"] = True
    page = write(tmp_path, **run)
    assert "banner" in [attributes.get("class") for _, attributes in page.tags]
    assert "test accuracy on stand-in data" in page.text
    assert "stand-in data</title>" in page.source
    for svg in re.findall("<svg.*?</svg>", page.source, flags=re.DOTALL):
        assert "stand-in data" in svg


def test_everything_is_escaped(tmp_path):
    hostile = "<script>alert('&amp;')</script>\"$x_1$"
    for classes in (2, 30):
        run = make_run(classes=classes)
        run["class_names"] = [f"{hostile}{c}" for c in range(classes)]
        run["settings"] = {hostile: {hostile: [hostile]}, "command": hostile, "git_commit": hostile}
        for key in ("dataset", "device", "runtime", "seed", "epochs"):
            run["results"][key] = hostile
        page = write(tmp_path, **run)
        assert "script" not in [tag for tag, _ in page.tags]
        assert page.text.count(hostile) > 5


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
    assert ("None: every answer is right." in page.text) == every_answer_right
    assert ("answered NaN for 200 of 200" in page.text) == (change is nan_everywhere)


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


# --------------------------------------------------------------------------------------- figures


def test_neither_tensorflow_nor_pyplot_is_imported():
    code = (
        "import sys, reports; loaded = set(sys.modules);"
        "assert not loaded & {'tensorflow', 'matplotlib.pyplot', 'runtime'}, 'imported'"
    )
    root = str(Path(report.__file__).parent)
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_palette_colours_follow_the_page():
    figure, axes = figures.new_figure(300, 200)
    figures.draw_curves(axes, [1, 2, 3], [("training", [1, 2, 3], figures.TRAINING)])
    svg = figures.figure_to_svg(figure, "a <b>")
    assert f"stroke: var(--training, {figures.TRAINING})" in svg
    assert not re.search(
        "(fill|stroke): ({})".format("|".join(c for c, _ in figures.PALETTE.values())), svg
    )
    element = ElementTree.fromstring(svg)
    assert element.get("aria-label") == "a <b>" and element.get("width") is None
    for name in figures.PALETTE:
        assert figures.FIGURE_CSS.count(f"--{name}:") == 3


def test_curve_names_do_not_overlap():
    figure, axes = figures.new_figure(430, 250)
    curves = [
        ("a", [3, 1.0], figures.INK),
        ("b", [2, 1.001], figures.INK),
        ("c", [0, 9], figures.INK),
    ]
    figures.draw_curves(axes, [1, 2], curves)
    figure.savefig(io.BytesIO(), format="png")
    heights = [axes.transData.transform(text.xy)[1] for text in axes.texts]
    assert (np.diff(sorted(heights)) > 11).all()


def test_save_png_has_two_pixels_per_css_pixel(tmp_path):
    figure, _ = figures.new_figure(300, 200, rows=2, columns=2, note="stand-in data")
    path = figures.save_png(figure, tmp_path / "x.png")
    assert imread(str(path)).shape[:2] == (400, 600)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_image_to_uri_limits_the_size():
    uri = figures.image_to_uri(np.zeros((300, 100, 1), np.uint8), largest_side=96)
    pixels = imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert pixels.shape[:2] == (75, 25)
    with pytest.raises(ValueError, match="float64"):
        figures.image_to_uri(np.zeros((3, 3, 3)))


def test_heat_image_strength_is_opacity_and_the_strongest_wins():
    image = figures.heat_image(
        [(np.array([[0.2, 0.9]]), "#ff0000"), (np.array([[0.5, 0.1]]), "#0000ff")]
    )
    assert image[0].tolist() == [[0, 0, 1, 0.5], [1, 0, 0, 0.9]]
