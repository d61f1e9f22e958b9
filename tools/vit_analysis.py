"""What a trained Vision Transformer computes: its filters, positions and attention, as numbers.

Mean attention distance: Dosovitskiy et al. 2020 (arXiv 2010.11929), appendix D.7. Rollout: Abnar
and Zuidema 2020 (arXiv 2005.00928), section 3.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np


class TokenGrid(NamedTuple):
    """Where the tokens of a vision_transformer come from.

    `special` tokens (class, distillation) come before those of rows * columns patches, which have
    `size` pixels a side and are `stride` pixels apart. If not are_patches, convolutions made the
    tokens, which also see beyond these squares.
    """

    rows: int
    columns: int
    size: int
    stride: int
    special: int
    are_patches: bool = True

    @property
    def patches(self) -> int:
        return self.rows * self.columns


def token_grid_of(finished) -> TokenGrid | None:
    """Return the grid of a run's model; None for models whose tokens are not patches."""
    from vit_model import token_grid

    description = finished.settings["model"]
    if description["builder"] != "vision_transformer":
        return None
    arguments = description["arguments"]
    stride = arguments["patch_stride"]
    # A recipe that does not set the stem has the builder's default.
    are_patches = arguments.get("stem", "patches") != "convolutional"
    size = arguments["patch_size"] if are_patches else stride
    rows, columns = token_grid(finished.image_shape, size, stride)
    tokens = finished.model.get_layer("position_embedding").output_shape[1]
    return TokenGrid(rows, columns, size, stride, tokens - rows * columns, are_patches)


def embedding_filters(model) -> tuple[str, np.ndarray]:
    """Return the first layer over pixels: its name and kernel (rows, columns, channels, n)."""
    channels = model.input_shape[-1]
    for layer in model.layers:
        if layer.name == "patch_projection":
            kernel = layer.get_weights()[0]
            side = int(round(np.sqrt(kernel.shape[0] / channels)))
            # As PatchExtraction flattens: row by row, channels last.
            return layer.name, kernel.reshape(side, side, channels, -1)
        if layer.weights and len(layer.weights[0].shape) == 4:
            return layer.name, layer.get_weights()[0]
    raise ValueError(f"The model {model.name} has no layer of filters over pixels.")


def principal_components(kernel: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first components of filters (rows, columns, channels, n), and their variances.

    The components are (count, rows, columns, channels), of length 1; the variances are shares of
    the total, in descending order.
    """
    filters = kernel.reshape(-1, kernel.shape[-1]).T  # (n, values)
    filters = filters - filters.mean(axis=0)
    _, lengths, directions = np.linalg.svd(filters, full_matrices=False)
    count = min(count, len(filters) - 1, filters.shape[1])
    shares = lengths**2 / max((lengths**2).sum(), 1e-30)
    return directions[:count].reshape((count,) + kernel.shape[:3]), shares[:count]


def cosine_similarities(vectors: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between all pairs of vectors (n, dim): (n, n)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    return unit @ unit.T


def attention_weights(model, images: np.ndarray) -> list[np.ndarray]:
    """Return the attention weights of every encoder block: (images, heads, tokens, tokens) each.

    images are pixels 0..255. Raises ValueError for a model without encoder blocks.
    """
    # Not at the top: TensorFlow is loaded after the adapter is chosen.
    from backend.runtime import keras

    blocks = [layer for layer in model.layers if hasattr(layer, "attention_weights")]
    if not blocks:
        raise ValueError(f"The model {model.name} has no encoder blocks.")
    tokens = keras.Model(model.input, [block.input for block in blocks])(images)
    # A Keras model with one output returns it, not a list of one.
    tokens = tokens if isinstance(tokens, (list, tuple)) else [tokens]
    return [block.attention_weights(inputs).numpy() for block, inputs in zip(blocks, tokens)]


def attention_distances(attention: np.ndarray, grid: TokenGrid) -> np.ndarray:
    """Return the mean attention distance of each head, in pixels: (heads,).

    attention is (images, heads, tokens, tokens). For every patch: the mean of the distances to all
    patches, weighted by its attention to them; then the mean over patches and images.
    """
    rows, columns = np.divmod(np.arange(grid.patches), grid.columns)
    distances = grid.stride * np.hypot(rows[:, None] - rows, columns[:, None] - columns)
    between = attention[:, :, grid.special :, grid.special :]
    between = between / np.maximum(between.sum(axis=-1, keepdims=True), 1e-12)
    return (between * distances).sum(axis=-1).mean(axis=(0, 2))


def attention_rollout(attentions: Sequence[np.ndarray]) -> np.ndarray:
    """Return how much each output token depends on each input token: (images, tokens, tokens).

    attentions are those of all blocks, (images, heads, tokens, tokens), the first block first. The
    residual connection counts as half of every block's output.
    """
    identity = np.eye(attentions[0].shape[-1])
    rollout = identity
    for attention in attentions:
        rollout = (0.5 * attention.mean(axis=1) + 0.5 * identity) @ rollout
    return rollout


def attention_over_image(
    attention: np.ndarray, grid: TokenGrid, image_shape: Sequence[int]
) -> np.ndarray:
    """Return attention of one image (tokens, tokens) as a map of its pixels.

    The map is scaled to 0..1. It shows the attention of the class token where there is one, else
    the mean over all tokens.
    """
    patches = attention[: grid.special or None, grid.special :].mean(axis=0)
    patches = patches.reshape(grid.rows, grid.columns)
    sums, counts = np.zeros(image_shape[:2]), np.zeros(image_shape[:2])
    for row in range(grid.rows):
        for column in range(grid.columns):
            # A pixel in several patches gets their mean.
            top, left = row * grid.stride, column * grid.stride
            place = (slice(top, top + grid.size), slice(left, left + grid.size))
            sums[place] += patches[row, column]
            counts[place] += 1
    pixels = sums / np.maximum(counts, 1)
    return (pixels - pixels.min()) / max(np.ptp(pixels), 1e-12)
