"""What settings.json, results.json and history.csv of a run hold, checked before it is relied on.

A form describes a value: a Form, a list of one form for each element, or a dict of the forms of its
parts. Files may be damaged, edited by hand or made by a stranger.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

# Far more than any value needs that is counted here.
LARGEST = 2**31 - 1


class Form(NamedTuple):
    """Which values are accepted, as a test and in words."""

    accepts: Callable[[Any], bool]
    words: str


def _is_number(value: Any) -> bool:
    # In Python a bool is a number too. Larger ones do not fit into a float.
    return type(value) in (int, float) and abs(value) < 1e300


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, bool)) or _is_number(value)


text = Form(lambda value: isinstance(value, str), "a text")
yes_or_no = Form(lambda value: isinstance(value, bool), "true or false")
number = Form(_is_number, "a finite number")
positive = Form(lambda value: _is_number(value) and value > 0, "a number more than 0")
not_negative = Form(lambda value: _is_number(value) and value >= 0, "a number from 0")
share = Form(lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
count = Form(lambda value: type(value) is int and 0 <= value <= 2**63, "a whole number from 0")
size = Form(
    lambda value: type(value) is int and 1 <= value <= LARGEST, "a whole number from 1 to 2^31 - 1"
)
plain = Form(
    lambda value: _is_plain(value) or (isinstance(value, list) and all(map(_is_plain, value))),
    "a text, true, false, a finite number, or a list of these",
)

SETTINGS = {
    "script": text,
    "command": text,
    "constants": {
        "DATASET": text,
        "DATA_DIR": text,
        "IMAGE_SIZE": count,
        "IMAGES_PER_CLASS": count,
        "SEED": count,
    },
    "defaults": {},
    "model": {"builder": text, "arguments": {}},
    "dataset": {
        "image_shape": [size],
        "number_of_classes": size,
        "mean": [number],
        "std": [positive],
    },
    "versions": {},
    "git_commit": text,
}
RESULTS = {
    "dataset": text,
    "stand_in": yes_or_no,
    "test_accuracy": share,
    "test_top5_accuracy": share,
    "test_loss": number,
    "validation_accuracy": share,
    "parameters": count,
    "epochs": count,
    "best_epoch": count,
    "images_seen": count,
    "train_minutes": not_negative,
    "images_per_second": not_negative,
    "device": text,
    "runtime": text,
    "seed": count,
    "finished": text,
}
HISTORY = (
    "epoch",
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "validation_top5_accuracy",
    "learning_rate",
    "seconds",
    "images_per_second",
)


def check(value: Any, form: Any, name: str = "") -> None:
    """Raise ValueError that says what is wrong in a value of JSON which has not the form.

    name is that of the value, "" for all of a file. A dict may have more parts than its form.
    """
    if isinstance(form, Form):
        if not form.accepts(value):
            raise ValueError(f"its {name} is {_short(value)}: it must be {form.words}")
    elif isinstance(form, list):
        if not isinstance(value, list):
            raise ValueError(f"its {name} is {_short(value)}: it must be a list")
        for element in value:
            check(element, form[0], f"{name} element")
    else:
        if not isinstance(value, dict):
            raise ValueError(f"{f'its {name}' if name else 'it'} is no object of names and values")
        for key, part in form.items():
            if key not in value:
                raise ValueError(f"no {key!r} in {f'its {name}' if name else 'it'}")
            check(value[key], part, f"{name} {key}".strip())


def check_settings(settings: Any) -> None:
    """Raise ValueError, saying what is wrong, for what is no content of a settings.json."""
    check(settings, SETTINGS)
    model, dataset = settings["model"], settings["dataset"]
    for name, values in (
        ("constants", settings["constants"]),
        ("defaults", settings["defaults"]),
        ("model arguments", model["arguments"]),
    ):
        for key, value in values.items():
            check(value, plain, f"{name} {_short(key)}")
    for key, value in settings["versions"].items():
        check(value, text, f"versions {_short(key)}")
    if len(dataset["image_shape"]) != 3:
        raise ValueError("its dataset image_shape must be height, width and channels")
    channels = dataset["image_shape"][2]
    if not len(dataset["mean"]) == len(dataset["std"]) == channels:
        raise ValueError(f"its dataset mean and std must be {channels} numbers each")
    # Only runs that have diverged, or whose constants have been changed, have these.
    check(settings.get("diverged", {}), {}, "diverged")
    check(
        settings.get("changes", []), [{"constant": text, "epoch": count, "step": count}], "changes"
    )
    data = settings.get("data", {})
    check(data, {}, "data")
    check(data.get("checksums", {}), {}, "data checksums")
    check(data.get("white", 0), not_negative, "data white")
    # Older runs did not name their classes.
    if "class_names" in model:
        check(model["class_names"], [text], "model class_names")
        if len(model["class_names"]) not in (0, dataset["number_of_classes"]):
            raise ValueError(
                f"its model has {len(model['class_names'])} class_names for "
                f"{dataset['number_of_classes']} classes"
            )


def _short(value: Any) -> str:
    """Return a value as a message shows it: a stranger's value may be as long as the file."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
