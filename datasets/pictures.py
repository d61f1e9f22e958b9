"""Picture files, which may come from strangers, as arrays of pixels of one size."""

from __future__ import annotations

import os
import warnings
from typing import NamedTuple, Sequence

import numpy as np
from PIL import Image, ImageOps

from datasets.checks import check_memory

# Pictures are told by their content; in a folder, other files are not even opened.
EXTENSIONS = tuple(
    ".png .jpg .jpeg .jpe .jfif .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm".split()
)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


class Picture(NamedTuple):
    """One picture: pixels, uint8 (height, width, 3), and what they were made of.

    largest is the largest value of a picture of more than 8 bits, 0 for any other.
    """

    pixels: np.ndarray
    is_grey: bool
    is_transparent: bool
    largest: float


class Pictures(NamedTuple):
    """Pictures in one array, uint8 (count, height, width, 3), 1 channel when all are grey.

    indices says which of the paths each came from; notes are messages for the user; largest is the
    value of more than 8 bits that became white, 0 where there was none.
    """

    images: np.ndarray
    indices: np.ndarray
    notes: list[str]
    largest: float


def decode(path: str, size: tuple[int, int] | None = None, white: float = 0) -> Picture:
    """Decode one picture as it is trained on, tested and predicted.

    size: (width, height) to resize to, bilinear and anti-aliased; None keeps its own.
    white: the value that becomes 255 in a picture of more than 8 bits; 0 is its own largest.
    Whatever Pillow raises for a damaged picture comes through.
    """
    with Image.open(path, formats=FORMATS) as image:
        # Decodes a large JPEG at a fraction of its size; other formats ignore it. The longer side
        # for both, because the picture may still have to be turned.
        if size:
            image.draft(None, (max(size), max(size)))
        raw_mode = _raw_mode(image)
        image = ImageOps.exif_transpose(image)
        is_grey = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
        is_transparent = image.mode in ("LA", "La", "RGBA", "RGBa", "PA")
        is_transparent = is_transparent or "transparency" in image.info
        opaque = _opaque_by_colour(image, raw_mode)
        largest = 0.0
        # Pillow would clip more than 8 bits instead of scaling them.
        if image.mode == "F" or image.mode.startswith("I"):
            values = np.nan_to_num(np.asarray(image).astype(np.float32))
            largest = float(values.max())
            values = values * (255 / max(white or largest, 1e-30))
            image = Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8))
        if opaque is not None:
            image = image.convert("RGB")
            image.putalpha(Image.fromarray(opaque))
        if is_transparent:
            # Dropping the alpha channel would show the hidden colours of transparent pixels.
            image = image.convert("RGBA")
            background = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(background, image)
        image = image.convert("RGB")
        if size and image.size != tuple(size):
            image = image.resize(size, Image.BILINEAR)
        return Picture(np.asarray(image), is_grey, is_transparent, largest)


def read_picture(path: str, image_shape: Sequence[int], white: float = 0) -> np.ndarray:
    """Return a picture as input of a model, uint8 of its image_shape (height, width, channels).

    white: as for decode. Raises ValueError, beginning with the path, where it cannot be read.
    """
    height, width, channels = image_shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = decode(path, (width, height), white)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError(
            f"{path}: more than {Image.MAX_IMAGE_PIXELS:,} pixels, which are not read"
        ) from None
    # A damaged picture fails in its decoder, each in its own way.
    except Exception as problem:
        raise ValueError(f"{path}: cannot be read ({what_it_is(path, problem)})") from None
    if channels == 3:
        return picture.pixels
    if picture.is_grey:
        return picture.pixels[..., :1]
    return np.asarray(Image.fromarray(picture.pixels).convert("L"))[..., None]


def what_it_is(path: str, problem: Exception) -> str:
    """Return why a file cannot be read as a picture, in words."""
    try:
        with Image.open(path) as image:
            image_format = image.format
    # What Pillow does not know under any name.
    except Exception:
        image_format = ""
    if image_format and image_format not in FORMATS:
        return f"it is {image_format}; known are {', '.join(FORMATS)}"
    if not os.path.getsize(path):
        return "the file is empty"
    return f"damaged {image_format}: {problem}" if image_format else "it is no picture"


def _raw_mode(image: Image.Image) -> str:
    """Return how the pixels lie in the file, such as "L;2" for grey of 2 bits."""
    arguments = image.tile[0][3] if getattr(image, "tile", None) else ""
    return arguments[0] if isinstance(arguments, tuple) and arguments else str(arguments)


def _opaque_by_colour(image: Image.Image, raw_mode: str) -> np.ndarray | None:
    """Return 0 where a pixel has the one colour that a PNG declares transparent, else 255.

    None where there is no such colour. It is declared in the bits of the file, for which Pillow
    looks among its own 8 bits.
    """
    colour = image.info.get("transparency")
    if not isinstance(colour, (int, tuple)) or image.mode in ("P", "PA"):
        return None
    values = np.asarray(image)
    colour = np.array(colour)
    if raw_mode in ("L;2", "L;4"):
        colour = colour * (255 // (2 ** int(raw_mode[-1]) - 1))
    elif image.mode == "RGB" and "16" in raw_mode:
        colour = colour >> 8
    elif image.mode == "1":
        colour = colour > 0
    same = values == colour
    return np.where(same.all(axis=2) if same.ndim == 3 else same, 0, 255).astype(np.uint8)


def decode_images(paths: Sequence[str], image_size: int, root: str, white: float = 0) -> Pictures:
    """Decode pictures into one array; those that cannot be read are left out and named.

    image_size: side in pixels that every image is resized to, 0 to keep the size they all have.
    root: the folder that messages give names from.
    white: the value of more than 8 bits that becomes 255; 0 is the largest of all these pictures.
    Raises ValueError when sizes differ, when nothing is readable, and for more pixels than fit into
    memory.
    """
    size = (image_size, image_size) if image_size else None
    images, readable, grey, transparent, deep = None, [], [], [], []
    unreadable, too_large, largest = [], [], 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for index, path in enumerate(paths):
            try:
                picture = decode(path, size, white)
            except (Image.DecompressionBombWarning, Image.DecompressionBombError):
                too_large.append(path)
                continue
            # A damaged picture fails in its decoder, each in its own way.
            except Exception:
                unreadable.append(path)
                continue
            pixels = picture.pixels
            if images is None:
                images = _empty(len(paths), pixels.shape, root)
            if pixels.shape != images.shape[1:]:
                raise ValueError(
                    f"{paths[readable[0]]} is {images.shape[2]} x {images.shape[1]} pixels, "
                    f"{path} is {pixels.shape[1]} x {pixels.shape[0]}: set IMAGE_SIZE to resize "
                    "all."
                )
            images[len(readable)] = pixels
            if picture.largest:
                deep.append(len(readable))
                largest = max(largest, picture.largest)
            readable.append(index)
            grey.append(picture.is_grey)
            transparent.append(picture.is_transparent)
        if deep and not white:
            white = largest
            # Once more, now that the largest of all is known.
            for place in deep:
                images[place] = decode(paths[readable[place]], size, white).pixels
    notes = []
    if deep:
        notes.append(
            f"{len(deep):,} images have more than 8 bits: the largest value of all, {white:g}, is "
            "white"
        )
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
    return Pictures(images, np.array(readable), notes, white if deep else 0.0)


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
