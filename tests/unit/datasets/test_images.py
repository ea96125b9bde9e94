"""Sizes by the header: as the decoder has them for every format, and refused before a pixel is allocated."""

from __future__ import annotations

import io
import itertools
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from aroface.cli.main import main
from aroface.datasets import images as module
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.image_size import image_size
from aroface.datasets.images import CROP_PIXELS, allow_megapixels, decode, read_image
from aroface.datasets.loader import BatchLoader
from aroface.embedding.pairs import decode_numbers
from aroface.errors import InputError

FORMATS = [
    "jpg",
    "png",
    "bmp",
    "gif",
    "webp",
    "tif",
    "pbm",
    "pgm",
    "ppm",
    "pam",
    "pnm",
    "pfm",
    "sr",
    "ras",
    "hdr",
    "jp2",
    "avif",
]
SHAPES = [(1, 1), (37, 91), (200, 300)]
WRITTEN = [(ending, shape) for ending in FORMATS for shape in SHAPES if (ending, shape) != ("jp2", (1, 1))]
"""Formats and sizes that OpenCV writes."""


@pytest.fixture(autouse=True)
def as_ever() -> Iterator[None]:
    yield
    allow_megapixels(module.PHOTOGRAPH_MEGAPIXELS, "")


def encoded(ending: str, shape: tuple[int, int]) -> bytes:
    pixels = np.random.default_rng(shape[0]).integers(0, 255, (*shape, 3), np.uint8)
    image = pixels[..., 0] if ending in ("pbm", "pgm") else pixels
    done, data = cv2.imencode(f".{ending}", image.astype(np.float32) if ending in ("pfm", "hdr") else image)
    assert done
    return data.tobytes()


def pillows(kind: str, **options: object) -> bytes:
    """A variant of a format that OpenCV does not write."""
    content = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (37, 91, 3), np.uint8))
    if kind in ("P", "1", "CMYK"):
        image, kind = image.convert(kind), str(options.pop("to"))
    image.save(content, kind, **options)
    return content.getvalue()


VARIANTS: dict[str, Callable[[], bytes]] = {
    "progressive JPEG": lambda: pillows("JPEG", progressive=True),
    "JPEG of inks": lambda: pillows("CMYK", to="JPEG"),
    "JPEG with comments": lambda: pillows("JPEG", comment=b"\xff\xc0" * 300, exif=b"Exif\0\0" + b"\xff\xc0" * 999),
    "lossy WebP": lambda: pillows("WEBP", quality=50),
    "lossless WebP": lambda: pillows("WEBP", lossless=True),
    "extended WebP": lambda: pillows("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "palette PNG": lambda: pillows("P", to="PNG"),
    "palette GIF": lambda: pillows("P", to="GIF"),
    "palette BMP": lambda: pillows("P", to="BMP"),
    "compressed TIFF": lambda: pillows("TIFF", compression="tiff_lzw"),
    "big TIFF": lambda: pillows("TIFF", big_tiff=True),
    "JPEG 2000": lambda: pillows("JPEG2000", num_resolutions=1),
    "PNM with comments": lambda: b"P6 # 9 9\n#\n 91\t37 # 1\n255\n" + bytes(91 * 37 * 3),
}


@pytest.mark.parametrize(("ending", "shape"), WRITTEN)
def test_the_size_is_the_decoders(ending: str, shape: tuple[int, int]) -> None:
    data = encoded(ending, shape)
    assert image_size(data) == (shape[1], shape[0])
    assert decode(data).shape == (*shape, 3)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_size_is_the_decoders_for_variants(name: str) -> None:
    data = VARIANTS[name]()
    assert image_size(data) == (91, 37)
    if name != "JPEG of inks":
        assert decode(data).shape == (37, 91, 3)


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG of some hundred bytes that claims this size."""
    data = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8), 50)
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def png_of(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)


def tiff_of(order: str, *entries: tuple[int, int, int]) -> bytes:
    packed = b"".join(struct.pack(f"{order}HHII", *tag, 1, value) for *tag, value in entries)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IH", 8, len(entries)) + packed + bytes(4)


HUGE: dict[str, bytes] = {
    "JPEG": jpeg_of(65_500, 65_500),
    "JPEG, wide": jpeg_of(65_500, 2_000),
    "PNG": png_of(20_000, 20_000),
    "PNG, absurd": png_of(2**32 - 1, 2**32 - 1),
    "BMP": b"BM" + bytes(12) + struct.pack("<Iii", 40, 20_000, -20_000),
    "BMP of OS/2": b"BM" + bytes(12) + struct.pack("<IHH", 12, 60_000, 60_000),
    "GIF": b"GIF89a" + struct.pack("<HH", 60_000, 60_000),
    "WebP": b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\xff" * 6,
    "WebP, lossless": b"RIFF\0\0\0\0WEBPVP8L" + bytes(4) + b"\x2f" + b"\xff" * 4,
    "TIFF": tiff_of("<", (256, 4, 20_000), (257, 4, 20_000)),
    "TIFF, other order": tiff_of(">", (256, 4, 20_000), (257, 4, 20_000)),
    "TIFF, tile": tiff_of("<", (256, 4, 20), (257, 4, 20), (322, 4, 20_000), (323, 4, 20_000)),
    "TIFF, twice": tiff_of("<", (256, 4, 20), (257, 4, 20), (256, 4, 20_000), (257, 4, 20_000)),
    "PNM": b"P6\n20000 20000\n255\n",
    "PNM, absurd": b"P5\n9999999999 9999999999\n255\n",
    "PNM, comment in a number": b"P5 20000#20000 \n5 255\n",
    "PAM, twice": b"P7\nWIDTH 20000\nHEIGHT 20000\nDEPTH 3\nWIDTH 2\nHEIGHT 2\nENDHDR\n",
    "PAM": b"P7\nWIDTH 20000\nHEIGHT 20000\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
    "PFM": b"PF\n20000 20000\n-1\n",
    "Sun raster": b"\x59\xa6\x6a\x95" + struct.pack(">II", 20_000, 20_000),
    "Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 20000\n",
    "JPEG 2000": b"\xff\x4f\xff\x51\0\x2f\0\0" + struct.pack(">8I", 20_000, 20_000, 0, 0, 20_000, 20_000, 0, 0),
    "AVIF": b"\0\0\0\x1cftypavif" + bytes(20) + b"ispe" + struct.pack(">III", 0, 20_000, 20_000),
}


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*_: object) -> None:
        raise AssertionError("a decoder was asked")

    monkeypatch.setattr(module.simplejpeg, "decode_jpeg", allocate)
    monkeypatch.setattr(module.cv2, "imdecode", allocate)


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("name", HUGE)
def test_huge_images_are_refused_by_their_header(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(HUGE[name])
    refused = r"/a: cannot be read as an image \((\d+×\d+ pixels, more than 100 megapixels\)|the image's header is)"
    with pytest.raises(InputError, match=refused):
        read_image(tmp_path / "a")
    for end in range(len(HUGE[name])):
        with pytest.raises(ValueError):
            decode(HUGE[name][:end])


def test_the_limit_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("png", (200, 300)))
    allow_megapixels(0.0599)
    with pytest.raises(InputError, match=r"300×200 pixels, more than 0.0599 megapixels: see --max-megapixels\)$"):
        read_image(tmp_path / "a.png")
    allow_megapixels(0.06)
    assert read_image(tmp_path / "a.png").shape == (200, 300, 3)


def test_no_header_ends_in_anything_but_one_kind_of_error() -> None:
    chance = random.Random(0)
    starts = [encoded(ending, (37, 91)) for ending in FORMATS] + [make() for make in VARIANTS.values()]
    starts += HUGE.values()
    for data, _ in itertools.product(starts, range(30)):
        bad = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            bad[chance.randrange(min(len(bad), chance.choice((40, 400, 100_000))))] = chance.randrange(256)
        bad = bad[: chance.choice((len(bad), chance.randrange(len(bad) + 1)))]
        try:
            image = decode(bytes(bad), 1_000_000)
        except ValueError as error:
            assert str(error)
        else:
            assert image.ndim == 3
            assert image.size <= 3_000_000


def face(seed: int) -> bytes:
    image = np.full((112, 112, 3), seed % 200, np.uint8)
    return bytes(simplejpeg.encode_jpeg(image, 90))


@pytest.mark.parametrize("name", ["JPEG", "JPEG, wide"])
def test_a_huge_record_is_a_corrupt_one(name: str, tmp_path: Path) -> None:
    items = [(number // 4, HUGE[name] if number == 5 else face(number)) for number in range(8)]
    write_training_set(tmp_path / "set", items, 2)
    loader = BatchLoader(
        TrainingSet.open(tmp_path / "set"), 4, seed=0, on_corrupt="skip", max_corrupt_fraction=0.2, threads=1
    )
    for epoch in range(2):
        list(loader.epoch(epoch))
    assert [corrupt.position for corrupt in loader.corrupt] == [5]
    assert "65500" in loader.corrupt[0].reason


def test_a_huge_record_is_told_by_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [(number // 4, HUGE["JPEG"] if number == 5 else face(number)) for number in range(8)]
    write_training_set(tmp_path / "set", items, 2)
    words = ["data", "verify", str(tmp_path / "set"), "--manifest", str(tmp_path / "manifest.json"), "--threads", "1"]
    assert main(words) == 2
    assert "65500×65500 pixels, more than 16 megapixels" in capsys.readouterr().out
    assert main([*words, "--max-corrupt-fraction", "0.2"]) == 0


@pytest.mark.usefixtures("no_decoder")
def test_a_huge_image_of_a_pair_is_named(tmp_path: Path) -> None:
    pairs = Pairs([face(0), HUGE["PNG"]], np.array([True]))
    write_pairs(tmp_path / "lfw.bin", pairs)
    with pytest.raises(InputError, match=r"lfw.bin: image 1: .*20000×20000 pixels, more than 16 megapixels"):
        decode_numbers(pairs, tmp_path / "lfw.bin", [1], 112)


def test_crops_and_photographs(no_decoder: None) -> None:
    data = png_of(5_000, 5_000)
    with pytest.raises(ValueError, match="more than 16 megapixels"):
        decode(data, CROP_PIXELS)
    with pytest.raises(AssertionError, match="a decoder was asked"):
        decode(data)
