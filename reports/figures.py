"""How every figure of this project looks, and how it gets into a page or a file.

Quiet axes, thin lines, a label at the end of each curve instead of a legend, one colour per role.
A figure in a page is SVG whose colours are CSS variables, so it follows the light or dark theme.

    figure, axes = new_figure(460, 240)
    draw_curves(axes, epochs, [("training", losses, TRAINING)])
    svg = figure_to_svg(figure, "Loss per epoch")  # for a page with FIGURE_CSS
    save_png(figure, "loss.png")
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from pathlib import Path
from typing import Sequence

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator

from storage.files import write_bytes

# One colour per role, on a light page and on a dark one.
PALETTE = {
    "ink": ("#1b1f24", "#e6e9ed"),
    "quiet": ("#667080", "#98a2b0"),
    "line": ("#dfe3e8", "#30363d"),
    "training": ("#c9741a", "#eba050"),
    "validation": ("#2563b0", "#74acf5"),
    "right": ("#7f8b9b", "#7f8b9a"),
    "wrong": ("#d2463e", "#e8665e"),
    "green": ("#2d8659", "#5cbf8d"),
    "violet": ("#7a52b3", "#b494e6"),
}
INK, QUIET, LINE, TRAINING, VALIDATION, RIGHT, WRONG, GREEN, VIOLET = (
    light for light, dark in PALETTE.values()
)
# For curves that have no role, such as several runs in one figure.
SERIES = [VALIDATION, TRAINING, GREEN, VIOLET, WRONG, RIGHT]

STYLE = {
    "font.size": 12,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 12,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    # Text stays text: crisp, searchable, and in the font of the page around it.
    "svg.fonttype": "none",
}


def css_colour(colour: str) -> str:
    """Return a colour of the palette as CSS that follows light and dark, as FIGURE_CSS says."""
    name = next(name for name, (light, _) in PALETTE.items() if light == colour)
    return f"var(--{name}, {colour})"


def _variables(theme: int) -> str:
    return "".join(f"--{name}:{colours[theme]};" for name, colours in PALETTE.items())


FIGURE_CSS = f"""
:root {{ color-scheme: light dark; --page:#ffffff; {_variables(0)} }}
@media (prefers-color-scheme: dark) {{ :root {{ --page:#14171b; {_variables(1)} }} }}
@media print {{ :root {{ --page:#ffffff; {_variables(0)} }} }}
figure.figure {{ margin: 0; min-width: 0; }}
figure.figure svg {{ display: block; width: 100%; height: auto; fill: var(--ink);
  stroke-linejoin: round; overflow: visible; }}
figure.figure svg text {{ font-family: inherit !important; }}
figure.figure svg image {{ image-rendering: pixelated; }}
"""


def plain(text: object) -> str:
    """Return `text` so that Matplotlib draws it as it is, dollar signs included (no formulas)."""
    return str(text).replace("$", r"\$")


def new_figure(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    margins: tuple[float, float, float, float] | None = None,
    note: str = "",
):
    """Return (figure, axes) in the house style; axes is an array when there are several.

    Args:
      width, height: in CSS pixels, which are also the units of font sizes and line widths.
      margins: (left, right, bottom, top) in CSS pixels, for figures that stand in line with each
        other; by default every figure leaves its texts the room they need.
      note: a remark above the figure that must travel with it, such as "stand-in data".
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, constrained_layout=not margins)
        axes = figure.subplots(rows, columns)
        if margins:
            left, right, bottom, top = margins
            figure.subplots_adjust(
                left=left / width,
                right=1 - right / width,
                bottom=bottom / height,
                top=1 - top / height,
            )
        if note:
            figure.suptitle(plain(note), x=0, ha="left", fontsize=11, color=WRONG)
    return figure, axes


def set_title(axes, title: str, remark: str = "") -> None:
    """Write a title over the left end of the axes, and a quiet remark over the right end."""
    axes.set_title(plain(title), loc="left", fontsize=13, fontweight="bold", color=INK, pad=10)
    axes.set_title(plain(remark), loc="right", fontsize=11, color=QUIET, pad=10)


def show_image(axes, image: np.ndarray, **options):
    """Show an image without axes, at the upper end of its place.

    image is (height, width) or (height, width, 1 or 3): pixels 0..255, or what the options of
    Matplotlib's `imshow` say.
    """
    axes.grid(False)
    axes.set_anchor("N")
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    options = {"cmap": "gray", "vmin": 0, "vmax": 255, **options}
    return axes.imshow(image.squeeze(), interpolation="none", **options)


def draw_curves(
    axes, x: Sequence[float], curves: Sequence[tuple[str, Sequence[float], str]]
) -> None:
    """Draw curves over whole numbers `x` (epochs, depth), each named at its end in its colour.

    Args:
      x: numbers, shape (points,).
      curves: (name, values of shape (points,), colour); values that are NaN or infinite are gaps.
    """
    x = np.asarray(x, dtype=float)
    axes.set_xmargin(0.01)
    ends = []
    for name, values, colour in curves:
        y = np.asarray(values, dtype=float)
        y = np.where(np.isfinite(y), y, np.nan)
        seen = np.flatnonzero(np.isfinite(y) & np.isfinite(x))
        if not len(seen):
            continue
        # A point between two gaps is a curve of no length: without a marker it would be invisible.
        marker = "o" if len(seen) < 3 else None
        axes.plot(x, y, color=colour, marker=marker, markersize=4.5, clip_on=False)
        ends.append([y[seen[-1]], x[seen[-1]], name, colour])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if not ends:
        axes.set_yticks([])
        axes.text(
            0.5,
            0.5,
            "not recorded",
            transform=axes.transAxes,
            ha="center",
            fontsize=12,
            color=QUIET,
        )
        return
    low, high = axes.get_ylim()
    # Two names at nearly the same height are pushed apart by one line of text.
    height = axes.figure.get_figheight() * 72 * 0.7 / axes.get_subplotspec().get_gridspec().nrows
    line = 15 * (high - low) / height
    ends.sort(key=lambda end: end[0])
    places = [end[0] for end in ends]
    for i in range(1, len(places)):
        if places[i] - places[i - 1] < line:
            middle = (places[i] + places[i - 1]) / 2
            places[i - 1], places[i] = middle - line / 2, middle + line / 2
    right = max(end[1] for end in ends)
    for place, (_, _, name, colour) in zip(places, ends):
        axes.annotate(
            plain(name),
            (right, place),
            (8, 0),
            textcoords="offset points",
            color=colour,
            fontsize=12,
            va="center",
            annotation_clip=False,
        )
    axes.set_ylim(low, high)


def figure_to_svg(figure: Figure, description: str) -> Markup:
    """Return the figure as one `<svg>` element whose palette colours follow FIGURE_CSS.

    Args:
      description: what the figure shows, for screen readers.
    """
    buffer = io.StringIO()
    # The salt makes the same figure the same bytes, and ids differ between figures of one page.
    with matplotlib.rc_context(dict(STYLE, **{"svg.hashsalt": description})):
        with warnings.catch_warnings():
            # The browser has the glyphs that Matplotlib's own font lacks.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r"<svg @ \1>", svg, count=1)
    label = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    label += f'role="img" aria-label="{escape(description)}"'
    svg = svg.replace("@", label, 1)
    # Group ids such as "axes_1" would repeat in every figure of a page; nothing refers to them.
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    for light, _ in PALETTE.values():
        svg = re.sub("(fill|stroke): " + light, rf"\1: {css_colour(light)}", svg)
    return Markup(re.sub(r"\n\s*", "\n", svg).strip())


def image_to_uri(image: np.ndarray, largest_side: int = 96) -> str:
    """Return an image as a `data:` address holding a PNG, for `<img src=...>`.

    Args:
      image: uint8, shape (height, width, 1 or 3); thinned out to `largest_side` pixels at most.
    """
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"image has shape {image.shape} and type {image.dtype}, expected uint8 (height, "
            "width, 1 or 3)"
        )
    step = -(-max(image.shape[:2]) // largest_side)
    image = image[::step, ::step]
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(image), format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def heat_image(layers: list[tuple[np.ndarray, str]]) -> np.ndarray:
    """Return an image for `imshow` in which strength is opacity, so that it suits any page colour.

    Args:
      layers: (strengths in 0..1 of shape (height, width), colour); the strongest layer wins.

    Returns:
      float array in 0..1, shape (height, width, 4).
    """
    image = np.zeros(layers[0][0].shape + (4,))
    for strengths, colour in layers:
        rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        stronger = strengths > image[..., 3]
        image[stronger, :3] = rgb
        image[stronger, 3] = strengths[stronger]
    return image


def save_png(figure: Figure, path: str | Path) -> Path:
    """Save the figure as a PNG on white, two pixels per CSS pixel, atomically; return the path."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=144, facecolor="white")
    write_bytes(path, buffer.getvalue())
    return Path(path)
