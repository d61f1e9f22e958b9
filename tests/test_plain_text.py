"""Foreign text on a terminal: names as they are, nothing that acts, nothing endless."""

from __future__ import annotations

import pytest

from backend.plain_text import fitting, is_name, one_line, shown

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize("name", ["cat", "大熊猫", "नमस्\u200dते", "a\u00a0b", FAMILY, "e\u0301"])
def test_names_of_all_scripts_are_names_and_shown_as_they_are(name):
    assert is_name(name)
    assert shown(name) == name


@pytest.mark.parametrize(
    "text, expected",
    [
        ("\x1b[2Jcat", "\\x1b[2Jcat"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("a\nerror: forged", "a error: forged"),
        ("a\r\x07", "a \\x07"),
        ("\udcff.png", "\\udcff.png"),
    ],
)
def test_what_would_act_on_a_terminal_is_shown_as_code_points(text, expected):
    assert one_line(text) == expected and not is_name(text)


def test_a_line_is_not_endless():
    line = one_line("begin" + 2_600_000 * "x" + "end")
    assert len(line) < 2100 and line.startswith("begin") and line.endswith("end")
    assert "2,598,008 characters" in line


def test_what_an_encoding_lacks_becomes_code_points():
    assert fitting("猫 é", "cp1252") == "\\u732b é" and fitting("猫", None) == "猫"
