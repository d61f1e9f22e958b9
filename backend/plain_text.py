"""Foreign text, such as a file's name, as it may be shown on a terminal."""

from __future__ import annotations

import unicodedata

# What no line that a person reads is longer than.
LONGEST = 2000
# Invisible, but parts of words: joiners between letters, no-break and wide spaces.
_PARTS_OF_NAMES = "\u200c\u200d\u00a0\u202f\u3000"


def is_name(text: str) -> bool:
    """Return whether a text can be shown as it is: no controls, nothing that turns it around."""
    return bool(text.strip()) and all(map(_is_shown, text))


def one_line(text: object, longest: int = LONGEST) -> str:
    """Return `shown` text with single spaces."""
    return " ".join(shown(text, longest).split())


def shown(text: object, longest: int = LONGEST) -> str:
    """Return a text as one line that does nothing to a terminal, and is not endless.

    Line breaks become spaces, controls and characters that turn the text around their code points;
    of a longer text than `longest` characters the middle is left out.
    """
    text = str(text)
    if len(text) > longest:
        left_out = len(text) - longest
        text = f"{text[: longest // 2]} ... ({left_out:,} characters) ... {text[-longest // 2 :]}"
    return "".join(_without_effect(character) for character in text)


def fitting(text: str, encoding: str | None) -> str:
    """Return a text with code points for the characters that an encoding does not have."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in _PARTS_OF_NAMES


def _without_effect(character: str) -> str:
    if _is_shown(character):
        return character
    if character.isspace():
        return " "
    # Half a pair of a name that is no Unicode has no other form.
    if unicodedata.category(character) == "Cs":
        return f"\\u{ord(character):04x}"
    return character.encode("unicode_escape").decode("ascii")
