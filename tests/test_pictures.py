"""One way from a file to pixels: formats, sizes, modes, bits and transparency."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets.pictures import decode, decode_images, read_picture


def photograph(width, height, mode):
    """Fine stripes over a gradient, which any other way of reducing would show."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x % 4 * 60 + y % 30, y % 3 * 90, (x * 3 + y) % 256], -1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


FILES = [
    ("a.jpg", "RGB"),
    ("a.jpe", "L"),
    ("a.jfif", "CMYK"),
    ("a.png", "RGBA"),
    ("a.png", "LA"),
    ("a.png", "P"),
    ("a.png", "1"),
    ("a.png", "I;16"),
    ("a.gif", "P"),
    ("a.bmp", "RGB"),
    ("a.webp", "RGB"),
    ("a.tif", "RGB"),
    ("a.tiff", "F"),
    ("a.ppm", "RGB"),
    ("a.pgm", "L"),
    ("a.pbm", "1"),
]


@pytest.mark.parametrize("size", [(130, 130), (257, 90), (32, 32), (20, 500)])
@pytest.mark.parametrize("name, mode", FILES)
def test_a_picture_is_predicted_from_the_very_pixels_it_was_trained_on(tmp_path, name, mode, size):
    path = str(tmp_path / name)
    picture = photograph(*size, mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 16)
    formats = {"jpe": "JPEG", "jfif": "JPEG"}
    picture.save(path, formats.get(name.rsplit(".", 1)[1]))
    trained = decode_images([path], 32, str(tmp_path))
    shape = trained.images.shape[1:]
    np.testing.assert_array_equal(trained.images[0], read_picture(path, shape, trained.largest))
    assert shape[:2] == (32, 32)


def test_a_colour_picture_is_made_grey_for_a_model_of_grey_ones(tmp_path):
    path = str(tmp_path / "a.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path)
    assert (read_picture(path, (4, 6, 1)) == 76).all()
    assert read_picture(path, (4, 6, 1)).shape == (4, 6, 1)


def png(bits, colour_type, row, transparent):
    """Return a PNG of one row of packed pixels and one transparent colour."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data) & 0xFFFFFFFF
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 4, 1, bits, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", transparent)]
    parts += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    "bits, colour_type, row, transparent, expected",
    [
        (1, 0, b"\x50", (1,), [0, 255, 0, 255]),
        (1, 0, b"\x50", (0,), [255, 255, 255, 255]),
        (2, 0, b"\x1b", (1,), [0, 255, 170, 255]),
        (4, 0, b"\x04\x8f", (4,), [0, 255, 136, 255]),
        (8, 0, b"\x00\x04\x88\xff", (4,), [0, 255, 136, 255]),
        (16, 0, struct.pack(">4H", 0, 1000, 30000, 65535), (1000,), [0, 255, 117, 255]),
        (
            16,
            2,
            struct.pack(">12H", 0, 0, 0, 1000, 2000, 3000, 30000, 0, 0, 65535, 0, 0),
            (1000, 2000, 3000),
            [0, 255, 117, 255],
        ),
    ],
)
def test_the_transparent_colour_of_a_png_is_laid_over_white_at_any_depth(
    tmp_path, bits, colour_type, row, transparent, expected
):
    path = tmp_path / "a.png"
    path.write_bytes(
        png(bits, colour_type, row, struct.pack(f">{len(transparent)}H", *transparent))
    )
    picture = decode(str(path))
    assert picture.pixels[0, :, 0].tolist() == expected and picture.is_transparent


@pytest.mark.parametrize(
    "name, words",
    [("a.ico", "it is ICO; known are PNG"), ("b.png", "it is no picture"), ("c.png", "is empty")],
)
def test_what_cannot_be_read_is_told_by_what_it_is(tmp_path, name, words):
    path = tmp_path / name
    if name == "a.ico":
        Image.new("RGB", (16, 16)).save(str(path))
    else:
        path.write_bytes(b"" if name == "c.png" else b"some text")
    with pytest.raises(ValueError, match=f"{name}: cannot be read .*{words}"):
        read_picture(str(path), (4, 4, 3))
