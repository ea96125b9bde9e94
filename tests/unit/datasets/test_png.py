"""PNGs, whole and damaged: the same pixels, and no line of libpng's own."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from aroface.datasets.images import decode

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
PNG = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()
FIRST = 33
"""Place of the second chunk: the first is the header."""


def chunk(name: bytes, content: bytes, flaw: int = 0) -> bytes:
    checksum = zlib.crc32(name + content) ^ flaw
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


REMARKS = {
    "a profile that is none": chunk(b"iCCP", b"sRGB\0\0no profile"),
    "a text with another checksum": chunk(b"tEXt", b"a\0b", flaw=1),
    "no transparent colour": chunk(b"tRNS", b"\0", flaw=1),
    "no date": chunk(b"tIME", b"yesterday"),
}


@pytest.mark.parametrize("remark", REMARKS.values(), ids=REMARKS)
def test_remarks_change_no_pixel_and_print_nothing(capfd: pytest.CaptureFixture[str], remark: bytes):
    image = decode(PNG[:FIRST] + remark + PNG[FIRST:])
    np.testing.assert_array_equal(image, IMAGE)
    assert capfd.readouterr() == ("", "")


def test_damage_prints_nothing(capfd: pytest.CaptureFixture[str]):
    """A file cut anywhere, or with a bit changed anywhere behind its signature: an error, or a remark that is lost."""
    rng = np.random.default_rng(1)
    cut = [PNG[:length] for length in [*range(FIRST, FIRST + 20), *range(len(PNG) - 20, len(PNG))]]
    changed = []
    for place in [*range(8, FIRST + 16), *rng.integers(FIRST, len(PNG), 100), *range(len(PNG) - 12, len(PNG))]:
        data = bytearray(PNG)
        data[place] ^= 1 << rng.integers(8)
        changed.append(bytes(data))
    unknown = PNG[:FIRST] + chunk(b"ABCD", b"") + PNG[FIRST:]
    for data in [*cut, *changed, unknown]:
        with pytest.raises(ValueError, match=r"image|pixels"):
            decode(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", [cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED])
def test_other_kinds_keep_their_pixels(mode: int):
    """A grey image, and one with transparency, whose colours count."""
    pixels = IMAGE[..., 0] if mode == cv2.IMREAD_GRAYSCALE else np.dstack([IMAGE, IMAGE[..., :1]])
    data = cv2.imencode(".png", pixels)[1].tobytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode(data), expected)
