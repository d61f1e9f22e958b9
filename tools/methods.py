"""Runs of the same settings but for SEED are one method; what differs between methods is named."""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from reports.pages import DASH, text
from training import default_settings
from training.settings import OF_THE_COMMAND, module_constants

# Where things are, how often they are saved, and what another training of the same method changes.
NOT_OF_THE_METHOD = OF_THE_COMMAND + ("DATA_DIR", "CHECKPOINT_MINUTES", "SEED")
# Paths, and how many of their last names say what they lead to, wherever it has been moved.
NAMES_OF_PATHS = {"DATASET": 1, "INITIAL_RUN": 2, "TEACHER_RUN": 2}


def method_settings(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a settings.json says of a run's method: script, model and constants, by name.

    A run that is older than a constant was made as the constant's default makes it.
    """
    constants = {each.name: each.value for each in module_constants(default_settings)}
    constants.update(saved["constants"])
    model = saved["model"]
    # The builder's arguments are named after constants, but a script may set more of them.
    arguments = {
        name: value
        for name, value in model.get("arguments", {}).items()
        if name.upper() not in constants
    }
    settings = {"script": saved.get("script"), "model": model.get("builder"), **arguments}
    for name in sorted(set(constants) - set(NOT_OF_THE_METHOD)):
        settings[name] = _plain(name, constants[name])
    return settings


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON has it; of a path only the names that count."""
    if isinstance(value, tuple):
        return list(value)
    if name in NAMES_OF_PATHS and isinstance(value, str):
        return "/".join(re.split(r"[\\/]+", value.rstrip("\\/"))[-NAMES_OF_PATHS[name] :])
    return value


def grouped(settings: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Return the indices of equal settings, one list for each different ones, in order."""
    groups: list[list[int]] = []
    for index, each in enumerate(settings):
        for group in groups:
            if settings[group[0]] == each:
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def differences(settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the settings that are not the same everywhere: (name, the value of each as text)."""
    names = list(dict.fromkeys(name for each in settings for name in each))
    rows = [(name, [each.get(name) for each in settings]) for name in names]
    return [
        (name, [_in_words(value) for value in values])
        for name, values in rows
        if any(value != values[0] for value in values)
    ]


def _in_words(value: Any) -> str:
    """Return a value as text; a dash for a method that has no such setting."""
    if isinstance(value, list):
        return ", ".join(map(text, value)) or "none"
    return DASH if value is None else text(value) or '""'
