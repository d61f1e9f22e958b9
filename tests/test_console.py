"""The output is a view of a run: the run goes on when nobody can look any more."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from tests.helpers import ROOT
from training import console

LINES = (
    "from training import console\n"
    "for number in range(3000):\n    console.line(f'line {number}')\n"
    "console.warning('title', 'text')\n"
    "open('went_on', 'w').close()\n"
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes that break like this")
@pytest.mark.parametrize("end", [" | head -n 1", " > /dev/full", " >&-", " 2>&-"])
def test_lost_output_ends_nothing(tmp_path, end):
    (tmp_path / "lines.py").write_text(LINES)
    command = f"PYTHONPATH={ROOT} {sys.executable} lines.py {end}"
    finished = subprocess.run(
        command, shell=True, cwd=str(tmp_path), stderr=subprocess.PIPE, text=True
    )
    assert (tmp_path / "went_on").exists()
    assert "Traceback" not in finished.stderr and "Exception ignored" not in finished.stderr


def test_names_that_the_terminal_cannot_show_are_shown_as_code_points(monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="cp1252"))
    console.line("classes: 猫, Hund")
    sys.stdout.flush()
    assert content.getvalue().decode("cp1252") == "classes: \\u732b, Hund\n"
