"""Picture files, which may come from strangers, as arrays of pixels of one size."""

from __future__ import annotations

import os
import warnings
from typing import Sequence

import numpy as np
from PIL import Image, ImageOps

from datasets.checks import check_memory

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")


def decode_images(
    paths: Sequence[str], image_size: int, root: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Decode pictures into one array; those that cannot be read are left out and named.

    image_size: side in pixels that every image is resized to, 0 to keep the size they all have.
    root: the folder that messages give names from.
    Returns uint8 images (count, height, width, 3), with 1 channel when all are grey; the indices of
    the paths they came from; messages for the user. Raises ValueError when sizes differ, when
    nothing is readable, and for more pixels than fit into memory.
    """
    images, readable, grey, transparent, unreadable, too_large = None, [], [], [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for index, path in enumerate(paths):
            try:
                pixels, is_grey, is_transparent = _decode(path, image_size)
            except (Image.DecompressionBombWarning, Image.DecompressionBombError):
                too_large.append(path)
                continue
            # A damaged picture fails in its decoder, each in its own way.
            except Exception:
                unreadable.append(path)
                continue
            if images is None:
                images = _empty(len(paths), pixels.shape, root)
            if pixels.shape != images.shape[1:]:
                raise ValueError(
                    f"{paths[readable[0]]} is {images.shape[2]} x {images.shape[1]} pixels, "
                    f"{path} is {pixels.shape[1]} x {pixels.shape[0]}: set IMAGE_SIZE to resize "
                    "all."
                )
            images[len(readable)] = pixels
            readable.append(index)
            grey.append(is_grey)
            transparent.append(is_transparent)
    notes = []
    if unreadable:
        notes.append(f"{len(unreadable)} unreadable files skipped: {some_names(unreadable, root)}")
    if too_large:
        notes.append(
            f"{len(too_large)} images of more than {Image.MAX_IMAGE_PIXELS:,} pixels skipped: "
            f"{some_names(too_large, root)}"
        )
    if images is None:
        raise ValueError(f"{root}: no image can be read; {'; '.join(notes)}")
    images = images[: len(readable)]
    if all(grey):
        images = np.ascontiguousarray(images[..., :1])
    elif any(grey):
        notes.append(f"{sum(grey)} grey images converted to colour")
    if any(transparent):
        notes.append(f"{sum(transparent)} transparent images laid over white")
    return images, np.array(readable), notes


def _decode(path: str, image_size: int) -> tuple[np.ndarray, bool, bool]:
    """Return uint8 (height, width, 3), whether the picture is grey, and whether transparent."""
    with Image.open(path, formats=FORMATS) as image:
        # Decodes a large JPEG at a fraction of its size; other formats ignore it.
        if image_size:
            image.draft(None, (image_size, image_size))
        image = ImageOps.exif_transpose(image)
        is_grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
        is_transparent = image.mode in ("LA", "La", "RGBA", "RGBa", "PA")
        is_transparent = is_transparent or "transparency" in image.info
        # Pillow would clip 16 bits to 8 instead of scaling them.
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
        if is_transparent:
            # Dropping the alpha channel would show the hidden colours of transparent pixels.
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = image.convert("RGB")
        if image_size:
            image = image.resize((image_size, image_size), Image.BILINEAR)
        return np.asarray(image), is_grey, is_transparent


def resize_images(images: np.ndarray, image_size: int) -> np.ndarray:
    """Resize uint8 (count, height, width, channels) to squares, bilinear and anti-aliased."""
    if images.shape[1:3] == (image_size, image_size):
        return images
    channels = images.shape[3]
    resized = _empty(len(images), (image_size, image_size, channels), "IMAGE_SIZE")
    for source, target in zip(images, resized):
        # Pillow wants grey pictures without a channel axis.
        picture = Image.fromarray(source if channels == 3 else source[..., 0])
        picture = picture.resize((image_size, image_size), Image.BILINEAR)
        target[...] = np.asarray(picture).reshape(target.shape)
    return resized


def _empty(count: int, image_shape: tuple[int, ...], source: str) -> np.ndarray:
    height, width = image_shape[:2]
    check_memory(
        count * int(np.prod(image_shape, dtype=np.float64)),
        f"{source}: {count:,} images of {width} x {height} pixels",
        ": set a smaller IMAGE_SIZE or IMAGES_PER_CLASS.",
    )
    return np.empty((count,) + tuple(image_shape), np.uint8)


def some_names(paths: Sequence[str], root: str) -> str:
    """Return the names of the first five paths as seen from the root."""
    names = ", ".join(os.path.relpath(path, root) for path in paths[:5])
    return names + (", ..." if len(paths) > 5 else "")
