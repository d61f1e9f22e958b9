"""Pages made from the templates beside this file, as one HTML file each: no scripts, no network.

Every value that a template prints is escaped, except Markup, which only this project's own figures
and CSS are.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.figures import FIGURE_CSS
from storage.files import write_text

DASH = "–"


def number(value: object, form: str = ",.0f") -> str:
    """Return a number in a form of Python's format(); a dash for anything else, and for NaN."""
    value = to_float(value)
    return format(value, form) if math.isfinite(value) else DASH


def percent(share: object, digits: int = 1) -> str:
    """Return a share in 0..1 as a percentage; a dash for what is no number."""
    text = number(100 * to_float(share), f".{digits}f")
    return text if text == DASH else f"{text}\u00a0%"


def text(value: object) -> str:
    """Return any setting or fact as text; a dash for None, NaN and infinity."""
    if value is None or (isinstance(value, (float, np.floating)) and not math.isfinite(value)):
        return DASH
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def to_float(value: object) -> float:
    """Return a value as a number; NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def write_page(path: str | Path, template: str, **values: Any) -> Path:
    """Write the page that a template of reports/templates makes of values; return its path."""
    page = _environment().get_template(template).render(figure_css=Markup(FIGURE_CSS), **values)
    write_text(path, page)
    return Path(path)


@functools.lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(str(Path(__file__).resolve().parent / "templates")),
        autoescape=True,
        # A misspelt name in a template is an error, not an empty place.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=number, percent=percent, text=text)
    return environment
