"""How a run can be repeated: what of it is not the project's own, and the command that says so.

Constants may have been edited in a script, which no flag shows. So every constant is compared with
the script as it is in the commit.
"""

from __future__ import annotations

import ast
import os
from typing import Any, Sequence

from storage.run_folder import committed_text, quoted
from training import default_settings
from training.effects import without_effect
from training.settings import Settings, assigned_names


def changed_constants(settings: Settings) -> dict[str, Any] | None:
    """Return the constants that are not as in the commit; None where git does not know it.

    What changes no result is left out: RESUME, and what has no effect beside the others, which no
    flag may give. A script that is no part of the
    commit counts as it stands: only its flags are changes.
    """
    defaults = committed_text(default_settings.__file__)
    if defaults is None:
        return None
    project = written_constants(defaults)
    script = committed_text(settings.file)
    project.update(settings.defaults if script is None else written_constants(script))
    left_out = ["RESUME"] + without_effect(settings.constants)
    return {
        name: value
        for name, value in settings.constants.items()
        if name not in left_out and (name not in project or project[name] != value)
    }


def written_constants(source: str) -> dict[str, Any]:
    """Return the constants that a script's text assigns as literals, as JSON has them."""
    constants = {}
    for node in ast.parse(source).body:
        for name in assigned_names(node):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                # A computed value is not known, so it counts as changed.
                continue
            constants[name] = list(value) if isinstance(value, tuple) else value
    return constants


def repeat_command(program: str, changed: dict[str, Any] | None, settings_json: str) -> str:
    """Return the command that repeats a run.

    program is the command without flags; changed are the constants that differ from the project's
    own. Where these are not known, the run's settings.json has all.
    """
    if changed is None:
        return f"{program} --settings {quoted(os.path.abspath(settings_json))}"
    return " ".join([program] + [quoted(word) for word in flags_of(changed)])


def flags_of(constants: dict[str, Any]) -> Sequence[str]:
    """Return the flags, as a list of words, that give constants these values."""
    words = []
    for name, value in constants.items():
        flag = "--" + name.lower().replace("_", "-")
        if isinstance(value, bool):
            words += [flag, "yes" if value else "no"]
        elif isinstance(value, (list, tuple)):
            words += [flag] + [str(each) for each in value]
        elif str(value).startswith("-"):
            words.append(f"{flag}={value}")
        else:
            words += [flag, str(value)]
    return words
