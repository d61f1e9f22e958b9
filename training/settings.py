"""From the constants at the top of a script and the flags of its command to settings.

Nothing here imports TensorFlow: help and mistakes are answered at once, and the GPU adapter can
still be chosen.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import os
import tokenize
import types
from typing import Any, Iterable, NamedTuple, Sequence

from backend.plain_text import one_line
from storage.files import same_form
from storage.run_folder import NEWEST, RunFolder, quoted
from training import default_settings, optional_settings
from training.augmentation_names import check_augmentations
from training.effects import needs, without_effect
from training.ranges import RANGES

# What may change between a run and its resumption: where things are, not what is computed. (Data is
# compared when it is loaded, and a checkpoint holds what INITIAL_RUN has given.)
# A smaller MICRO_BATCH_SIZE is the same mathematics, and what helps where the memory was too small.
FREE_TO_CHANGE = ("CHECKPOINT_MINUTES", "DATASET", "DATA_DIR", "INITIAL_RUN", "MICRO_BATCH_SIZE")
# What may help after the loss has become NaN.
FREE_AFTER_DIVERGENCE = ("LEARNING_RATE", "WARMUP_EPOCHS", "GRADIENT_CLIP_NORM")
# Schedules whose rate in an epoch does not depend on how many epochs there are.
OPEN_ENDED = ("plateau", "constant", "exponential")
# What belongs to the command alone. (The adapter is chosen before settings.json can be read.)
OF_THE_COMMAND = ("DML_VISIBLE_DEVICES", "OUTPUT_DIR", "RESUME")


class Constant(NamedTuple):
    """One UPPER_CASE assignment of a script: its name, value, comment and group.

    is_declared: it bears an annotation, as a constant does that the project does not know yet.
    """

    name: str
    value: Any
    comment: str
    group: str
    is_declared: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


class Settings(types.SimpleNamespace):
    """The constants of a run, one attribute each, and what is known of the command.

    script is the script's name and file its path; program the command without flags; defaults the
    constants without flags; given the names of those that had a flag; repeated the run whose
    settings.json the constants come from, if any; changes what a resumption changes in its run, one
    {"constant": name, "from": value, "to": value} each.
    """

    @property
    def constants(self) -> dict[str, Any]:
        """All constants, by name, as JSON has them: tuples are lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in sorted(vars(self).items())
            if name.isupper()
        }


def read_constants(path: str, values: dict[str, Any]) -> list[Constant]:
    """Return the top-level UPPER_CASE constants of a Python file, in order.

    Comments and groups come from the file, the values from `values`, which is the module's
    namespace: they may be computed, or changed by whoever has imported it.
    """
    with open(path, encoding="utf-8") as file:
        source = file.read()
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            own_line = not token.line[: token.start[1]].strip()
            comments[token.start[0]] = (token.string.lstrip("# "), own_line)
    constants, group = [], "Settings"
    headings = {line: text for line, (text, own_line) in comments.items() if own_line}
    nodes = ast.parse(source).body
    # Where the next statement begins. (Python 3.7 does not know where a statement ends.)
    ends = [node.lineno for node in nodes[1:]] + [source.count("\n") + 2]
    for node, end in zip(nodes, ends):
        for name in assigned_names(node):
            lines = range(node.lineno, end)
            found = (comments[n][0] for n in lines if n in comments and not comments[n][1])
            group = headings.get(node.lineno - 1, group)
            declared = isinstance(node, ast.AnnAssign)
            constants.append(Constant(name, values[name], next(found, ""), group, declared))
    return constants


def assigned_names(node: ast.stmt) -> list[str]:
    """Return the UPPER_CASE names that a statement assigns to."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return []
    names = [part.id for each in targets for part in ast.walk(each) if isinstance(part, ast.Name)]
    return [name for name in names if name.isupper()]


def module_constants(module) -> list[Constant]:
    """Return the constants of an imported module."""
    return read_constants(module.__file__, vars(module))


def known_constants() -> dict[str, Constant]:
    """Return all constants that the project knows, by name, with their comments."""
    both = module_constants(default_settings) + module_constants(optional_settings)
    return {constant.name: constant for constant in both}


def script_constants(script: dict[str, Any]) -> list[Constant]:
    """Return the constants of a script, its own first, then those that it leaves out.

    script is the globals() of the script. Raises ValueError for a constant that the project does
    not know, such as a misspelt one, and for a value of another type than the constant has.
    """
    known = known_constants()
    own = []
    for constant in read_constants(script["__file__"], script):
        if constant.name in known:
            inherited = known[constant.name]
            comments = filter(None, (inherited.comment, constant.comment))
            value = _value_of_type(constant, inherited.value)
            constant = constant._replace(value=value, comment="; ".join(comments))
        elif not constant.is_declared:
            raise ValueError(_unknown(constant.name, known))
        own.append(constant)
    for name in script:
        # `Epochs = 1` would be no constant, and go unnoticed.
        if name.upper() in known and not name.isupper() and not callable(script[name]):
            raise ValueError(_unknown(name, known))
    named = {constant.name for constant in own}
    inherited = [c for c in module_constants(default_settings) if c.name not in named]
    return own + inherited


def _unknown(name: str, known: dict[str, Constant]) -> str:
    nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
    return (
        f"{name} is no constant of this project: the nearest is {nearest}. (A new one is declared "
        f"with its type: {name.upper()}: int = ...)"
    )


def _value_of_type(constant: Constant, example: Any) -> Any:
    """Return the value of a constant in the type of an example; ValueError if it has another."""
    name, value = constant.name, constant.value
    if isinstance(example, float) and type(value) is int:
        return float(value)
    if isinstance(example, tuple):
        kind = type(example[0]) if example else None
        fits = isinstance(value, (tuple, list)) and all(type(each) is kind for each in value)
        if fits:
            return tuple(value)
    elif type(value) is type(example):
        return value
    raise ValueError(f"{name} is {value!r}: it must be {_type_in_words(example)}.")


def _type_in_words(example: Any) -> str:
    if isinstance(example, tuple):
        words = {int: "whole numbers", str: "texts"}.get(type(example[0]), "values")
        return f"a tuple of {words}, such as {example[:1]!r}"
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
    return f"{words[type(example)]}, such as {example!r}"


def settings_from(script: dict[str, Any], argv: Sequence[str] | None = None) -> Settings:
    """Return the settings of a run: the script's constants, changed by the flags of its command.

    script is the globals() of the script; argv are the flags, by default those of the command
    line. A flag that does not exist or a value of another type ends the program: one line, exit
    code 2. Raises ValueError for a constant that is unknown, of another type or out of range, and
    for a flag without effect.
    """
    constants = script_constants(script)
    # `python -m recipes.mnist` knows its name; `python train_cifar10.py` only its file.
    spec, file = script.get("__spec__"), script["__file__"]
    name = spec.name if spec else os.path.splitext(os.path.basename(file))[0]
    parser = _OneLineParser(
        prog=name,
        description=(script["__doc__"] or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        # What was not given stays out of the result.
        argument_default=argparse.SUPPRESS,
    )
    groups = {}
    for constant in constants:
        if constant.group not in groups:
            groups[constant.group] = parser.add_argument_group(constant.group)
        _add_flag(groups[constant.group], constant)
    parser.add_argument_group("Repetition").add_argument(
        "--settings",
        dest="repeated",
        metavar="FILE",
        help="the settings.json of a run: all constants as they were there, before other flags",
    )
    given = vars(parser.parse_args(argv))
    repeated = given.pop("repeated", "")
    settings = Settings(**{constant.name: constant.value for constant in constants})
    settings.defaults = settings.constants
    settings.repeated = None
    if repeated:
        if "RESUME" in given:
            raise ValueError(
                "--settings begins a new run, --resume continues one: give one of them."
            )
        settings.repeated = take_constants_of(settings, repeated)
    vars(settings).update(given)
    settings.given = set(given)
    settings.changes = []
    settings.script = name.rsplit(".", 1)[-1]
    settings.file = file
    settings.program = f"python -m {name}" if "." in name else f"python {name}.py"
    check_ranges(settings)
    if not settings.RESUME:
        # (A run that is resumed has its own constants.)
        check_effects(settings, settings.given)
    return settings


def take_constants_of(settings: Settings, settings_json: str) -> RunFolder:
    """Give settings the constants of a saved run, but for those of the command; return its folder.

    A run that is older than a constant was made as the constant's default makes it. Raises
    ValueError for a file that is no run's settings.json, and for constants of another script.
    """
    folder = RunFolder(os.path.dirname(settings_json))
    if os.path.basename(settings_json) != folder.settings_json.name:
        raise ValueError(f"--settings is {settings_json}: give the settings.json of a run.")
    then = folder.read_settings()["constants"]
    known = {name: constant.value for name, constant in known_constants().items()}
    defaults = {constant.name: constant.value for constant in module_constants(default_settings)}
    then = dict({name: value for name, value in defaults.items() if name not in then}, **then)
    now = settings.constants
    for name in sorted(set(now) ^ set(then)):
        owner = "this script" if name in now else "that run"
        raise ValueError(f"{settings_json} is of another script: only {owner} has {name}.")
    for name, value in then.items():
        example = known.get(name, now[name])
        value = list(value) if isinstance(value, tuple) else value
        if not same_form(value, example):
            raise ValueError(
                f"{settings_json}: {name} is {value!r}, not {_type_in_words(example)}."
            )
        if name not in OF_THE_COMMAND:
            setattr(settings, name, tuple(value) if isinstance(value, list) else value)
    return folder


def check_ranges(settings: Settings) -> None:
    """Raise ValueError, naming the constant and what is accepted, for a value out of range."""
    for name, value in settings.constants.items():
        if name in RANGES and not RANGES[name].accepts(value):
            raise ValueError(f"{name} is {value!r}: it must be {RANGES[name].words}.")
    check_augmentations(settings.AUGMENTATIONS)


def check_effects(settings: Settings, names: Iterable[str]) -> None:
    """Raise ValueError for those of the constants that were asked for and have no effect."""
    for name in without_effect(settings.constants):
        if name in names:
            flag = Constant(name, None, "", "").flag
            raise ValueError(f"{flag} {getattr(settings, name)} changes nothing: {needs(name)}.")


def notes_on_effects(settings: Settings) -> list[str]:
    """Return a sentence for each constant that was edited in the script and has no effect."""
    known = known_constants()
    return [
        f"{name} is {getattr(settings, name)} and changes nothing: {needs(name)}."
        for name in without_effect(settings.constants)
        if getattr(settings, name) != known[name].value
    ]


def merge_saved_settings(settings: Settings, saved: dict[str, Any], folder: str) -> Settings:
    """Give settings the constants of a saved run; ValueError if something contradicts them.

    saved is the content of the run's settings.json, folder where the run is. A flag that is not
    repeated is taken from the run. A flag with another value than the run has, or a constant edited
    in the script since, would make it another run, and is named; but more EPOCHS may be asked for,
    and what helps a run that has diverged.
    """
    if saved.get("script") != settings.script:
        raise ValueError(
            f"The run in {folder} is of {saved.get('script')!r}, not of {settings.script}."
        )
    now, then, defaults_then = settings.constants, saved["constants"], saved["defaults"]
    conflicts = [f"{name} is unknown now" for name in sorted(set(then) - set(now))]
    for name, value in now.items():
        if name in OF_THE_COMMAND or value == then.get(name):
            continue
        # A run older than the constant was made as the default makes it.
        is_new = name not in then and name not in defaults_then
        if is_new and value == settings.defaults.get(name):
            continue
        if not same_form(then.get(name), value):
            conflicts.append(f"{name} is {value!r}, was {then.get(name)!r}")
        elif name not in settings.given and value == defaults_then.get(name):
            setattr(settings, name, then[name])
        elif name in settings.given and _may_change(name, value, saved):
            settings.changes.append({"constant": name, "from": then[name], "to": value})
        elif name == "EPOCHS" and name in settings.given and value > then[name]:
            conflicts.append(_why_no_more_epochs(settings, then, folder))
        elif name not in FREE_TO_CHANGE:
            conflicts.append(f"{name} is {value!r}, was {then[name]!r}")
    if conflicts:
        raise ValueError(
            f"The run in {folder} cannot be resumed with other settings: {'; '.join(conflicts)}."
        )
    check_ranges(settings)
    check_effects(settings, [change["constant"] for change in settings.changes])
    return settings


def _may_change(name: str, value: Any, saved: dict[str, Any]) -> bool:
    """Return whether a constant of a saved run may get another value, of which a record is kept."""
    if name == "EPOCHS":
        then = saved["constants"]
        is_open = then.get("SCHEDULE") in OPEN_ENDED and not then.get("TIME_LIMIT_MINUTES")
        return is_open and value > then["EPOCHS"]
    return name in FREE_AFTER_DIVERGENCE and "diverged" in saved


def _why_no_more_epochs(settings: Settings, then: dict[str, Any], folder: str) -> str:
    reason = f"SCHEDULE {then['SCHEDULE']} is made for {then['EPOCHS']} epochs, and ends with them"
    if then["TIME_LIMIT_MINUTES"]:
        reason = f"its TIME_LIMIT_MINUTES {then['TIME_LIMIT_MINUTES']:g} ends it"
    return (
        f"EPOCHS is {settings.EPOCHS}, was {then['EPOCHS']}: {reason}. A new run can start from it "
        f"with its head: {settings.program} --initial-run {quoted(folder)} --initial-head yes"
    )


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, one_line(f"{self.prog}: error: {message} (--help lists all flags)") + "\n")


def _add_flag(group, constant: Constant) -> None:
    choices = RANGES[constant.name].choices if constant.name in RANGES else ()
    unsaid = any(choice not in constant.comment for choice in choices)
    text = constant.comment + (f"; {', '.join(choices)}" if unsaid else "")
    text += f" (default: {constant.value})"
    options = dict(dest=constant.name, help=text.replace("%", "%%").strip())
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
