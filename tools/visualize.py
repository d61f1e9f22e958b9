"""Pictures of what a model has learned and how.

    python -m tools.visualize RUN_DIR     writes RUN_DIR/pictures/*.png

RUN_DIR is a run's folder, or a folder of runs: then the newest finished one. What a model does not
have, such as the attention of a convolutional network, is left out.

what_it_learned.png has the layout of figure 7 of the ViT paper (Dosovitskiy et al. 2020, arXiv
2010.11929).
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

import numpy as np

from reports.figures import (
    INK,
    LINE,
    QUIET,
    SERIES,
    TRAINING,
    VALIDATION,
    WRONG,
    draw_curves,
    heat_image,
    new_figure,
    plain,
    save_png,
    set_title,
    show_image,
)
from tools.command_line import dataset_of, finished_run, tool_parser
from tools.vit_analysis import (
    TokenGrid,
    attention_distances,
    attention_over_image,
    attention_rollout,
    attention_weights,
    cosine_similarities,
    embedding_filters,
    principal_components,
    token_grid_of,
)
from training.script import run

PICTURES = "pictures"
NUMBER_OF_FILTERS = 28
# Images over which attention is averaged, and images that are shown.
AVERAGED_IMAGES = 128
SHOWN_IMAGES = 5
SHOWN_BLOCKS = 6


def mosaic(
    tiles: np.ndarray, columns: int, gap: float = 0.12, background: float = 1.0
) -> np.ndarray:
    """Return tiles (count, height, width, ...) side by side in rows, as one image.

    The gap is a share of a tile's side; tiles are enlarged where it would be less than a pixel.
    """
    enlargement = max(1, int(np.ceil(1 / (gap * min(tiles.shape[1:3])))))
    tiles = tiles.repeat(enlargement, axis=1).repeat(enlargement, axis=2)
    count, height, width = tiles.shape[:3]
    space = int(round(gap * min(height, width)))
    rows = -(-count // columns)
    shape = (rows * (height + space) - space, columns * (width + space) - space) + tiles.shape[3:]
    image = np.full(shape, background, dtype=float)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (height + space), column * (width + space)
        image[top : top + height, left : left + width] = tile
    return image


def draw_filters(axes, name: str, kernel: np.ndarray) -> None:
    """Draw the principal components of filters over pixels; mid-grey is zero."""
    components, shares = principal_components(kernel, NUMBER_OF_FILTERS)
    extremes = np.abs(components).max(axis=(1, 2, 3), keepdims=True)
    tiles = 0.5 + 0.5 * components / np.maximum(extremes, 1e-12)
    if tiles.shape[-1] == 1:
        tiles = tiles.repeat(3, axis=-1)
    show_image(axes, mosaic(tiles, columns=7 if len(tiles) > 9 else 3))
    set_title(axes, "Embedding filters")
    axes.set_xlabel(
        f"first {len(tiles)} principal components of {plain(name)},\n{100 * shares.sum():.0f} % "
        "of the variance"
    )


def draw_position_similarity(axes, positions: np.ndarray, grid: TokenGrid) -> None:
    """Draw, at the place of every patch, how similar its position vector is to all others."""
    similarities = cosine_similarities(positions[grid.special :])
    tiles = similarities.reshape(-1, grid.rows, grid.columns)
    picture = show_image(
        axes, mosaic(tiles, grid.columns, background=np.nan), cmap="viridis", vmin=-1, vmax=1
    )
    bar = axes.figure.colorbar(picture, ax=axes, ticks=[-1, 0, 1], shrink=0.6, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=11, colors=QUIET, length=0)
    set_title(axes, "Position similarity")
    axes.set_xlabel("cosine between a patch's position and\nall others: one tile per patch")


def draw_attention_distances(axes, attentions: Sequence[np.ndarray], grid: TokenGrid) -> None:
    """Draw how far each head attends, by the depth of its block."""
    largest = 0.0
    for depth, attention in enumerate(attentions, start=1):
        distances = attention_distances(attention, grid)
        largest = max(largest, distances.max())
        for head, distance in enumerate(distances):
            axes.plot(
                depth, distance, "o", color=SERIES[head % len(SERIES)], markersize=7, alpha=0.85
            )
    # The distance of a head that attends to all tokens equally.
    tokens = grid.special + grid.patches
    even = attention_distances(np.ones((1, 1, tokens, tokens)), grid)[0]
    axes.axhline(even, color=QUIET, linewidth=0.8, dashes=(2, 3))
    axes.set_ylim(0, 1.15 * max(largest, even))
    axes.set_xlim(0.5, len(attentions) + 0.5)
    axes.set_xticks(range(1, len(attentions) + 1))
    set_title(axes, "Attention distance")
    axes.set_xlabel("block; one dot per head\n(dotted: equal attention to all tokens)")
    axes.set_ylabel("mean distance (pixels)")


def analysis_figure(finished, grid: TokenGrid | None, attentions):
    """Return filters, position similarity and attention distances side by side."""
    name, kernel = embedding_filters(finished.model)
    if grid is None:
        figure, axes = new_figure(380, 400, note=finished.note)
        draw_filters(axes, name, kernel)
        return figure
    figure, axes = new_figure(1180, 390, 1, 3, note=finished.note)
    draw_filters(axes[0], name, kernel)
    positions = finished.model.get_layer("position_embedding").get_weights()[0][0]
    draw_position_similarity(axes[1], positions, grid)
    draw_attention_distances(axes[2], attentions, grid)
    return figure


def attention_figure(finished, images, labels, class_names, attentions, grid: TokenGrid):
    """Return test images with what the blocks attend to, and with attention rollout."""
    blocks = sorted(set(np.linspace(0, len(attentions) - 1, SHOWN_BLOCKS).round().astype(int)))
    rollout = attention_rollout(attentions)
    columns = 2 + len(blocks)
    figure, axes = new_figure(
        112 * columns, 118 * len(images) + 24, len(images), columns, note=finished.note
    )
    axes = np.reshape(axes, (len(images), columns))
    for row, image in enumerate(images):
        maps = [attentions[block][row].mean(axis=0) for block in blocks] + [rollout[row]]
        show_image(axes[row, 0], image)
        axes[row, 0].set_ylabel(plain(class_names[labels[row]]), color=INK)
        # Pale, so that the colour over it shows on dark images too.
        pale = 255 - (255 - image.mean(axis=2)) * 0.35
        for cell, attention in zip(axes[row, 1:], maps):
            show_image(cell, pale)
            strengths = attention_over_image(attention, grid, image.shape)
            show_image(cell, heat_image([(0.85 * strengths, WRONG)]))
    titles = ["image"] + [f"block {block + 1}" for block in blocks] + ["rollout"]
    for cell, title in zip(axes[0], titles):
        cell.set_title(title, fontsize=12, color=INK)
    return figure


def patches_figure(finished, image: np.ndarray, class_name: str, grid: TokenGrid):
    """Return a figure of one image and the patches that it is cut into."""
    tiles = np.stack(
        [
            image[top : top + grid.size, left : left + grid.size]
            for top in grid.stride * np.arange(grid.rows)
            for left in grid.stride * np.arange(grid.columns)
        ]
    )
    figure, (left_axes, right_axes) = new_figure(720, 390, 1, 2, note=finished.note)
    show_image(left_axes, image)
    # Mid-grey gaps stand out from both dark and light patches.
    patches = mosaic(
        np.broadcast_to(tiles / 255.0, tiles.shape[:3] + (3,)), grid.columns, background=0.5
    )
    show_image(right_axes, patches)
    set_title(left_axes, class_name, f"{image.shape[0]} x {image.shape[1]} pixels")
    set_title(
        right_axes,
        f"{grid.patches} patches",
        f"{grid.size} x {grid.size}, every {grid.stride} pixels",
    )
    return figure


def curves_figure(finished):
    """Return accuracy and loss of training and validation per epoch."""
    history = finished.history()
    epochs = [row["epoch"] for row in history]
    figure, axes = new_figure(900, 320, 1, 2, note=finished.note)
    for cell, title, name, factor in (
        (axes[0], "Accuracy (%)", "accuracy", 100),
        (axes[1], "Loss", "loss", 1),
    ):
        own = [factor * row[name] for row in history]
        held_out = [factor * row["validation_" + name] for row in history]
        curves = [("training", own, TRAINING), ("validation", held_out, VALIDATION)]
        draw_curves(cell, epochs, curves)
        cell.set_xlabel("epoch")
        set_title(cell, title)
    return figure


class Box(NamedTuple):
    """One box of the diagram: `count` equal layers in a row."""

    title: str
    count: int
    shape: str
    parameters: int


def boxes_of(model) -> list[Box]:
    """Return the layers of a model from input to output; equal ones in a row are one box."""
    layers = []
    for layer in model.layers:
        shape = layer.output_shape
        shape = shape[0] if isinstance(shape, list) else shape
        words = " x ".join(str(side) for side in shape[1:])
        parameters = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        # block_1 and block_2 are two of a kind; stage_1_block_1 is not one with stage_2_block_1.
        title = layer.name.rstrip("0123456789").rstrip("_").replace("_", " ")
        layers.append((title, words, parameters))
    kinds = [(kind, len(list(group))) for kind, group in groupby(layers)]
    return [Box(title, count, shape, count * size) for (title, shape, size), count in kinds]


def diagram_figure(finished):
    """Return the model's layers as a column of boxes, with their parameters and outputs."""
    boxes = boxes_of(finished.model)
    figure, axes = new_figure(560, 34 * len(boxes) + 70, note=finished.note)
    total = max(sum(box.parameters for box in boxes), 1)
    for number, box in enumerate(boxes):
        share = box.parameters / total
        axes.barh(-number, 1, height=0.74, color=LINE, alpha=0.55)
        axes.barh(-number, share, height=0.74, color=VALIDATION, alpha=0.35)
        title = box.title if box.count == 1 else f"{box.title} \u00d7 {box.count}"
        axes.text(0.015, -number, plain(title), va="center", color=INK)
        count = f"{box.parameters:,}" if box.parameters else ""
        axes.text(0.985, -number, count, va="center", ha="right", color=INK)
        axes.text(1.02, -number, box.shape, va="center", color=QUIET)
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(0, 1.3)
    axes.set_ylim(0.6 - len(boxes), 0.6)
    parameters = sum(box.parameters for box in boxes)
    remark = f"{parameters:,} parameters; blue: their share; right: output"
    set_title(axes, finished.model.name.replace("_", " "), remark)
    return figure


def token_maps_figure(finished, images, labels, class_names):
    """Return what each visual token attends to; None for models without a tokenizer."""
    from backend.runtime import keras

    names = [layer.name for layer in finished.model.layers]
    if "tokenizer" not in names:
        return None
    tokenizer = finished.model.get_layer("tokenizer")
    features = keras.Model(finished.model.input, tokenizer.input)(images)
    rows, columns = features.shape[1:3]
    shares = tokenizer.attention(features).numpy().reshape(len(images), -1, rows, columns)
    shown = min(shares.shape[1], 8)
    figure, axes = new_figure(
        100 * (shown + 1), 106 * len(images) + 24, len(images), shown + 1, note=finished.note
    )
    axes = np.reshape(axes, (len(images), shown + 1))
    for row, image in enumerate(images):
        show_image(axes[row, 0], image)
        axes[row, 0].set_ylabel(plain(class_names[labels[row]]), color=INK)
        for token in range(shown):
            share = shares[row, token] / shares[row, token].max()
            show_image(axes[row, token + 1], share, cmap="viridis", vmin=0, vmax=1)
            if not row:
                axes[row, token + 1].set_title(f"token {token + 1}", fontsize=12)
    return figure


def one_of_each_class(labels: np.ndarray, count: int) -> list[int]:
    """Return the index of the first image of each class; at most count classes, evenly spread."""
    classes = np.unique(labels)
    classes = classes[np.unique(np.linspace(0, len(classes) - 1, count).round().astype(int))]
    return [int(np.flatnonzero(labels == label)[0]) for label in classes]


def figures_of(finished, dataset) -> Iterator[tuple[str, object]]:
    """Yield (name, figure) of every picture that a run's model has."""
    grid = token_grid_of(finished)
    shown = one_of_each_class(dataset.y_test, SHOWN_IMAGES)
    images, labels = dataset.x_test[shown], dataset.y_test[shown]
    names = dataset.class_names
    averaged = None
    if grid:
        averaged = attention_weights(finished.model, dataset.x_test[:AVERAGED_IMAGES])
    yield "what_it_learned", analysis_figure(finished, grid, averaged)
    if grid:
        attentions = attention_weights(finished.model, images)
        figure = attention_figure(finished, images, labels, names, attentions, grid)
        yield "attention", figure
    if grid and grid.are_patches:
        yield "patches", patches_figure(finished, images[0], names[labels[0]], grid)
    token_maps = token_maps_figure(finished, images, labels, names)
    if token_maps:
        yield "visual_tokens", token_maps
    yield "model", diagram_figure(finished)
    yield "training", curves_figure(finished)


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Run the command line; return the pictures written."""
    parser = tool_parser("visualize", __doc__)
    parser.add_argument("run", metavar="RUN_DIR", help="a run, or a folder of runs: the newest")
    arguments = parser.parse_args(argv)
    finished = finished_run(arguments.run)
    folder = finished.folder / PICTURES
    folder.mkdir(exist_ok=True)
    paths = []
    for name, figure in figures_of(finished, dataset_of(finished, arguments.data_dir)):
        paths.append(save_png(figure, folder / f"{name}.png"))
        print(paths[-1])
    return paths


if __name__ == "__main__":
    run(main)
