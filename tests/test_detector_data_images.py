"""Pictures of every kind become upright RGB; files that are none become one clear line."""

import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data_set import picture

from detector.datasets.images import (
    MAX_JPEG_PIXELS,
    MAX_PIXELS,
    SUFFIXES,
    read_image,
    read_size,
    to_eight_bits,
)
from detector.errors import UserError

RGB = picture(40, 30)
GREY = np.arange(0, 240, 2, np.uint8).reshape(10, 12)


def save(tmp_path, image: Image.Image, name: str, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG made by hand, for what Pillow does not write; ``rows`` have their filter bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.PNG"])
def test_lossless_formats_come_back_exactly(tmp_path, name):
    image = read_image(save(tmp_path, Image.fromarray(RGB), name))
    np.testing.assert_array_equal(image, RGB)
    assert image.dtype == np.uint8 and image.flags.c_contiguous


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "looks_like_a.png.jpeg"])
def test_lossy_formats_come_back_nearly(tmp_path, name):
    image = read_image(save(tmp_path, Image.fromarray(RGB), name, quality=95))
    assert image.shape == RGB.shape
    assert np.abs(image.astype(int) - RGB).max() < 12


def test_grey_and_black_and_white(tmp_path):
    image = read_image(save(tmp_path, Image.fromarray(GREY), "grey.png"))
    np.testing.assert_array_equal(image, np.repeat(GREY[:, :, None], 3, 2))
    bits = Image.fromarray(GREY > 100)
    image = read_image(save(tmp_path, bits, "bits.png"))
    np.testing.assert_array_equal(image[:, :, 1], np.where(GREY > 100, 255, 0))
    assert read_image(save(tmp_path, Image.fromarray(GREY), "grey.jpg")).shape == (10, 12, 3)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, name):
    deep = GREY.astype(np.uint16) * 257
    image = read_image(save(tmp_path, Image.fromarray(deep), name))
    np.testing.assert_array_equal(image, np.repeat(GREY[:, :, None], 3, 2))


def test_sixteen_bit_colour(tmp_path):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in RGB.astype(np.uint16) * 257)
    path = tmp_path / "deep.png"
    path.write_bytes(png(40, 30, 16, 2, rows))
    np.testing.assert_array_equal(read_image(path), RGB)


def test_cmyk_jpeg(tmp_path):
    colours = Image.fromarray(RGB).convert("CMYK")
    image = read_image(save(tmp_path, colours, "press.jpg", quality=98))
    assert np.abs(image.astype(int) - RGB).max() < 16


def test_palette(tmp_path):
    small = Image.fromarray(RGB).quantize(32)
    image = read_image(save(tmp_path, small, "palette.png"))
    np.testing.assert_array_equal(image, np.asarray(small.convert("RGB")))


def test_transparent_parts_become_white(tmp_path):
    image = np.dstack([RGB, np.full((30, 40), 255, np.uint8)])
    image[:10, :, 3] = 0
    image[10:20, :, 3] = 128
    result = read_image(save(tmp_path, Image.fromarray(image), "alpha.png"))
    assert (result[:10] == 255).all()
    np.testing.assert_array_equal(result[20:], RGB[20:])
    expected = RGB[10:20] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(result[10:20] - expected).max() < 2

    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([200, 10, 10, 10, 200, 10])
    result = read_image(save(tmp_path, palette, "palette.png", transparency=0))
    assert result.tolist() == [[[255, 255, 255], [10, 200, 10]]]

    grey = Image.fromarray(np.dstack([GREY, np.zeros_like(GREY)]), "LA")
    assert (read_image(save(tmp_path, grey, "la.png")) == 255).all()


# How an upright picture has to be stored so that each EXIF orientation makes it upright again.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](RGB)))
    path = save(tmp_path, stored, "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(path), RGB)
    assert read_size(path) == (40, 30)
    path = save(tmp_path, stored, "turned.jpg", exif=exif, quality=95)
    assert np.abs(read_image(path).astype(int) - RGB).max() < 12


def refusal(path) -> str:
    """The message for a file that is no good: one line that begins with its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError) as caught:
            read_image(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_missing_empty_and_foreign_files(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.jpg")
    (tmp_path / "empty.jpg").touch()
    assert "is empty" in refusal(tmp_path / "empty.jpg")
    (tmp_path / "page.jpg").write_text("<html>404 not found</html>")
    assert "no picture" in refusal(tmp_path / "page.jpg")
    (tmp_path / "folder.jpg").mkdir()
    refusal(tmp_path / "folder.jpg")
    Image.fromarray(RGB).save(tmp_path / "a.tga")
    assert "JPEG, PNG" in refusal(tmp_path / "a.tga")
    floating = save(tmp_path, Image.fromarray(np.ones((4, 4), np.float32)), "float.tif")
    assert "floating-point" in refusal(floating)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path):
    # Above our limit, above Pillow's warning and its error.
    for side, most in ((8000, MAX_PIXELS), (13000, MAX_PIXELS), (60000, MAX_JPEG_PIXELS)):
        path = tmp_path / "bomb.png"
        path.write_bytes(png(side, side, 1, 0, b"\0" * 100))
        assert f"{most:,}" in refusal(path)
        with pytest.raises(UserError, match=f"{most:,}"):
            read_size(path)
    path.write_bytes(png(11000, 11000, 1, 0, b""))
    program = (
        "import sys\nfrom detector.datasets import read_image\n"
        "from detector.errors import UserError\n"
        "try: read_image(sys.argv[1])\n"
        "except UserError: pass\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")  # no warning of Pillow's either

    path.write_bytes(png(5000, 5000, 1, 0, (b"\0" + bytes(625)) * 5000))
    assert read_image(path).shape == (5000, 5000, 3)


def encoded(format: str) -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(file, format)
    return file.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")


@pytest.mark.parametrize("whole", [JPEG, PNG], ids=["jpeg", "png"])
@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 0.98))
def test_truncated_files(tmp_path_factory, whole, part):
    path = tmp_path_factory.mktemp("cut") / "cut.jpg"
    path.write_bytes(whole[: int(part * len(whole))])
    message = refusal(path)
    assert any(word in message for word in ("truncated", "damaged", "no picture", "empty"))


@settings(max_examples=150, deadline=None)
@given(
    whole=st.sampled_from(
        [JPEG, PNG, *map(encoded, ("TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000"))]
    ),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_files_are_read_or_refused(tmp_path_factory, whole, changes):
    damaged = bytearray(whole)
    for part, value in changes:
        damaged[int(part * len(damaged))] = value
    path = tmp_path_factory.mktemp("damaged") / "picture"
    path.write_bytes(damaged)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = read_image(path)
    except UserError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


# ------------------------------------------------------------------ what cameras and tools store


@pytest.mark.parametrize("name", ["a.gif", "a.avif", "a.jp2", "a.ppm", "a.jfif", "a.mpo", "a.jpe"])
def test_what_else_pillow_reads(tmp_path, name):
    try:
        path = save(tmp_path, Image.fromarray(RGB), name, quality=95)
    except (OSError, ValueError, KeyError):
        pytest.skip(f"this Pillow does not write {name}")
    image = read_image(path)
    assert image.shape == RGB.shape and np.abs(image.astype(int) - RGB).mean() < 8
    assert path.suffix in SUFFIXES


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["I;16", "I", "png"])
def test_fewer_bits_in_more(tmp_path, bits, kind):
    """White is white, however many bits the camera used."""
    values = np.linspace(0, 2**bits - 1, 120).round().astype(np.uint16).reshape(10, 12)
    grey = Image.fromarray(values if kind != "I" else values.astype(np.int32))
    image = read_image(save(tmp_path, grey, "deep.png" if kind == "png" else "deep.tif"))
    expected = np.round(values / (2**bits - 1) * 255).astype(int)
    assert np.abs(image[:, :, 0].astype(int) - expected).max() <= 1
    assert image.max() == 255 and image.min() == 0


@pytest.mark.parametrize("highest", [2**31 - 1, 2**20, 70_000])
def test_grey_of_32_bits(tmp_path, highest):
    values = np.array([[0, highest // 2, highest, -5]], np.int32)
    image = read_image(save(tmp_path, Image.fromarray(values), "deep.tif"))
    assert (
        image[0, 0, 0] == image[0, 3, 0] == 0 and (np.diff(image[0, :3, 0].astype(int)) >= 0).all()
    )


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9))
def test_eight_bits_keep_the_order(values):
    grey = np.array([values], np.int32)
    result = to_eight_bits(grey)[0].astype(int)
    assert (np.diff(result[np.argsort(values, kind="stable")]) >= 0).all()
    if max(values) < 256:
        np.testing.assert_array_equal(result, np.maximum(values, 0))


@pytest.mark.parametrize(
    "pixels", [np.zeros((3, 4)), np.full((2, 2), np.nan), np.ones((1, 1)) * 1e30]
)
def test_floating_point_pixels_are_named_as_such(tmp_path, pixels):
    message = refusal(save(tmp_path, Image.fromarray(pixels.astype(np.float32)), "float.tif"))
    assert "floating-point pixels" in message and "convert it to 8 bits" in message
    assert "damaged" not in message


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
def test_damaged_exif_data_makes_no_noise(tmp_path, exif):
    path = save(tmp_path, Image.fromarray(RGB), "a.jpg", exif=exif)
    program = "import sys\nfrom detector.datasets import read_image\nread_image(sys.argv[1])\n"
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "\ud800.png", "a\0b.png", "loop.png"])
def test_names_that_no_file_has(tmp_path, name):
    if name == "loop.png":
        (tmp_path / name).symlink_to(name)
    assert "cannot be read" in refusal(tmp_path / name)


def test_pictures_of_phones(tmp_path):
    """HEIC, with an orientation, where the extra is installed."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="pip install 'lighthead[heic]'")
    pillow_heif.register_heif_opener()
    path = tmp_path / "a.HEIC"
    shade = np.full((48, 64, 3), (200, 40, 90), np.uint8)
    Image.fromarray(shade).save(path, quality=90)
    assert read_size(path) == (64, 48)
    assert np.abs(read_image(path).astype(int) - shade).max() <= 6


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    monkeypatch.setattr("detector.datasets.images.formats", lambda: ("JPEG", "PNG"))
    with pytest.raises(UserError, match=r"pip install 'lighthead\[heic\]'"):
        read_image(path)
