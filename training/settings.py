"""From the constants at the top of a script and the flags of its command to settings.

Nothing here imports TensorFlow: help and mistakes are answered at once, and the GPU adapter can
still be chosen.
"""

from __future__ import annotations

import argparse
import ast
import io
import math
import os
import sys
import tokenize
import types
from typing import Any, Callable, Sequence

from backend.device_errors import DeviceProblem
from training import default_settings

NEWEST = "newest"


class Constant:
    """One UPPER_CASE assignment of a script: its name, value, comment and group."""

    def __init__(self, name: str, value: Any, comment: str, group: str):
        self.name = name
        self.value = value
        self.comment = comment
        self.group = group

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


def read_constants(path: str) -> list[Constant]:
    """Return the top-level UPPER_CASE constants of a Python file, with their comments, in order."""
    with open(path, encoding="utf-8") as file:
        source = file.read()
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            own_line = not token.line[: token.start[1]].strip()
            comments[token.start[0]] = (token.string.lstrip("# "), own_line)
    constants, group = [], "Settings"
    headings = {line: text for line, (text, own_line) in comments.items() if own_line}
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        name = node.targets[0].id
        if not name.isupper():
            continue
        # The comment of a value over several lines stands at its last line.
        last_line = max(getattr(child, "lineno", 0) for child in ast.walk(node))
        lines = range(node.lineno, last_line + 2)
        comment = next((comments[n][0] for n in lines if n in comments and not comments[n][1]), "")
        group = headings.get(node.lineno - 1, group)
        constants.append(Constant(name, ast.literal_eval(node.value), comment, group))
    return constants


def settings_from(script: dict[str, Any], argv: Sequence[str] | None = None):
    """Return the settings of a run: the script's constants, changed by the flags of its command.

    script is the globals() of the script; argv are the flags, by default those of the command
    line. The result has one attribute for each constant, of the constant's type, and besides
    `script`, the script's name, `program`, the command without flags, `defaults`, the constants
    without flags, and `given`, the names of those that had a flag. A flag that does not exist or a
    value of another type ends the program: one line, exit code 2.
    """
    own = read_constants(script["__file__"])
    # A constant changed by whoever imported the script counts, not the text of the file.
    for constant in own:
        constant.value = script[constant.name]
    named = {constant.name for constant in own}
    inherited = [c for c in read_constants(default_settings.__file__) if c.name not in named]
    # `python -m recipes.mnist` knows its name; `python train_cifar10.py` only its file.
    spec, file = script.get("__spec__"), script["__file__"]
    name = spec.name if spec else os.path.splitext(os.path.basename(file))[0]
    parser = _OneLineParser(
        prog=name,
        description=(script["__doc__"] or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    groups = {}
    for constant in own + inherited:
        if constant.group not in groups:
            groups[constant.group] = parser.add_argument_group(constant.group)
        _add_flag(groups[constant.group], constant)
    defaults = {constant.name: constant.value for constant in own + inherited}
    settings = types.SimpleNamespace(**vars(parser.parse_args(argv)))
    # What argparse leaves alone was not among the flags.
    unset = argparse.Namespace(**dict.fromkeys(defaults, parser))
    parsed = vars(parser.parse_args(argv, unset))
    settings.given = {constant for constant, value in parsed.items() if value is not parser}
    settings.script = name.rsplit(".", 1)[-1]
    settings.program = "python -m " + name if "." in name else f"python {name}.py"
    settings.defaults = {n: list(v) if isinstance(v, tuple) else v for n, v in defaults.items()}
    check_ranges(settings)
    return settings


def check_ranges(settings) -> None:
    """Raise ValueError, naming the constant and what is accepted, for a number out of range."""
    for names, accepts, accepted in (
        ("LEARNING_RATE", lambda x: 0 < x < math.inf, "more than 0"),
        ("BATCH_SIZE EPOCHS PATIENCE", lambda x: x >= 1, "at least 1"),
        (
            "WEIGHT_DECAY GRADIENT_CLIP_NORM WARMUP_EPOCHS WARMUP_LEARNING_RATE TIME_LIMIT_MINUTES "
            "CHECKPOINT_MINUTES IMAGE_SIZE IMAGES_PER_CLASS EARLY_STOPPING_PATIENCE SEED",
            lambda x: 0 <= x < 2**31,
            "at least 0",
        ),
        ("MICRO_BATCH_SIZE", lambda x: x >= -1, "-1 or more"),
        ("MOMENTUM EMA_DECAY LABEL_SMOOTHING", lambda x: 0 <= x < 1, "at least 0 and less than 1"),
        ("VALIDATION_FRACTION", lambda x: 0 < x < 1, "more than 0 and less than 1"),
        ("DECAY_PER_EPOCH", lambda x: 0 < x <= 1, "more than 0 and at most 1"),
    ):
        for name in names.split():
            if not accepts(getattr(settings, name)):
                raise ValueError(f"{name} is {getattr(settings, name)}: it must be {accepted}.")


def run(main: Callable[[], Any]) -> None:
    """Call main() and exit: bad input becomes one line on standard error and exit code 2.

    What the device has ended becomes its explanation and exit code 1.
    """
    try:
        main()
    except (ValueError, OSError) as problem:
        sys.stderr.write(f"error: {_one_line(problem)}\n")
        sys.exit(2)
    except DeviceProblem as problem:
        sys.stderr.write(f"error: {problem}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped.\n")
        sys.exit(130)


def _one_line(message: Any) -> str:
    # Values that users gave are part of messages, and may hold anything.
    return " ".join(str(message).split())


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        line = f"{self.prog}: error: {message} (--help lists all flags)"
        self.exit(2, _one_line(line) + "\n")


def _add_flag(group, constant: Constant) -> None:
    options = dict(
        dest=constant.name,
        default=constant.value,
        help=f"{constant.comment} (default: {constant.value})".replace("%", "%%").strip(),
    )
    if constant.name == "RESUME":
        options.update(nargs="?", const=NEWEST, metavar="DIR")
    elif isinstance(constant.value, bool):
        options.update(type=_yes_or_no, metavar="YES/NO")
    elif isinstance(constant.value, (tuple, list)):
        kind = type(constant.value[0]) if constant.value else _number_or_text
        options.update(type=kind, nargs="*", metavar=kind.__name__.upper().strip("_"))
    else:
        kind = type(constant.value)
        options.update(type=kind, metavar={str: "TEXT"}.get(kind, kind.__name__.upper()))
    group.add_argument(constant.flag, **options)


def _number_or_text(text: str) -> Any:
    """Return the int that text stands for, or text: an empty constant does not tell its type."""
    try:
        return int(text)
    except ValueError:
        return text


def _yes_or_no(text: str) -> bool:
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in answers:
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return answers[text.lower()]
