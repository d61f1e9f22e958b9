"""The augmentations and their keywords, read from the source of data_augmentations.py.

Importing it would load TensorFlow, and a mistake in AUGMENTATIONS is to be answered at once. What
values a keyword accepts is checked when the augmentations are put together.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Sequence

SOURCE = Path(__file__).resolve().parent.parent / "data_augmentations.py"


def known_augmentations() -> dict[str, list[str]]:
    """Return the keywords of each augmentation, by its name, in the order of the source."""
    known = {}
    for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body:
        # An augmentation is what bears a decorator such as @geometric(degrees=(0, 180)).
        calls = [each for each in getattr(node, "decorator_list", []) if isinstance(each, ast.Call)]
        is_public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if is_public and any(call.keywords for call in calls):
            names = [argument.arg for argument in node.args.args]
            magnitudes = names[len(names) - len(node.args.defaults) :]
            known[node.name] = [name for name in magnitudes if name != "probability"]
            known[node.name].append("probability")
    return known


def check_augmentations(specifications: Sequence[str]) -> None:
    """Raise ValueError for an augmentation or a keyword that does not exist."""
    known = known_augmentations()
    for specification in specifications:
        name, keywords = _name_and_keywords(specification)
        if name not in known:
            raise ValueError(
                f"AUGMENTATIONS has {specification!r}: {_missing_comma(specification, known)}"
                f"it must be NAME or NAME(keyword=value, ...) of {', '.join(known)}."
            )
        for keyword in keywords:
            if keyword not in known[name]:
                raise ValueError(
                    f"AUGMENTATIONS has {specification!r}: {name} takes {', '.join(known[name])}, "
                    f"each with a value, not {keyword}."
                )


def _name_and_keywords(specification: str) -> tuple[str, list[str]]:
    """Return ("", []) for a text of another form."""
    try:
        tree = ast.parse(specification.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        positional = [ast.dump(value)[:20] for value in call.args]
        return call.func.id, positional + [str(each.arg) for each in call.keywords]
    # Deeply nested or damaged text fails in other ways than by its syntax.
    except (AttributeError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return "", []


def _missing_comma(specification: str, known: dict[str, list[str]]) -> str:
    """Two neighbouring texts without a comma are one text to Python."""
    inside = [name for name in known if name in specification]
    return "a comma is missing between two of them, or " if len(inside) > 1 else ""
