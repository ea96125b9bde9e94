from __future__ import annotations

import base64
import functools
import os
import pickle
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from aroface.datasets.formats.pair_people import read_pair_people
from aroface.datasets.formats.pairs import Pairs, read_pairs, write_pairs
from aroface.datasets.identity import data_hash
from aroface.datasets.info import describe
from aroface.errors import InputError
from decoded import decode_images

IMAGES = [b"\xff\xd8\xff\xe0one\n\0", b"\x89PNG\r\n\x1a\n two", b"\xff\xd8\xff '3\"", b"\xff\xd8\xff\x80"]
ARRAYS = [np.frombuffer(image, np.uint8).reshape(-1, 1) for image in IMAGES]
SAME = [True, False]

# Pickles of the same pairs, written by Python 2.7.18 with NumPy 1.16.6 and by Python 3.11 with NumPy 1.23.5.
GENUINE = dict(line.split() for line in Path(__file__).with_name("pair_pickles.txt").read_text().splitlines())


def read(folder: Path, data: bytes) -> Pairs:
    (folder / "lfw.bin").write_bytes(data)
    return read_pairs(folder / "lfw.bin")


@pytest.mark.parametrize("kind", GENUINE)
def test_files_of_older_pythons_are_read(tmp_path: Path, kind: str):
    pairs = read(tmp_path, base64.b64decode(GENUINE[kind]))
    assert pairs.images == IMAGES
    assert pairs.same.tolist() == SAME


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "content",
    [(IMAGES, SAME), [tuple(IMAGES), [1, 0]], (ARRAYS, list(np.array(SAME))), (IMAGES, np.array(SAME))],
    ids=["bytes", "integers", "arrays", "boolean array"],
)
def test_files_of_this_python_are_read(tmp_path: Path, protocol: int, content: object):
    pairs = read(tmp_path, pickle.dumps(content, protocol))
    assert pairs.images == IMAGES
    assert pairs.same.tolist() == SAME


INTEGERS = [f"{order}{kind}" for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1") for order in "<>"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", INTEGERS)
def test_numpys_integers_are_labels(tmp_path: Path, kind: str, protocol: int):
    labels = np.array([1, 0], kind)
    for same in (labels, [labels[0], labels[1]], [labels[0], False]):
        assert read(tmp_path, pickle.dumps((IMAGES, same), protocol)).same.tolist() == SAME


@pytest.mark.parametrize(
    "labels", [np.array([2, 0]), np.array([-1, 0], np.int8), np.array([1.0, 0.0]), np.array(["1", "0"])]
)
def test_other_labels_are_one_line(tmp_path: Path, labels: np.ndarray):
    for same in (labels, list(labels)):
        with pytest.raises(InputError, match=r"pair 0: the entry is|of something else than integers"):
            read(tmp_path, pickle.dumps((IMAGES, same)))


@pytest.mark.parametrize(
    "array",
    [
        b"cnumpy\ndtype\n(I7\ntR",
        b"cnumpy\ndtype\n(Vi8\ntR(I3\nV?\ntb",
        b"cnumpy\ndtype\n(Vi8\ntR",
    ],
)
def test_types_of_another_form_are_one_line(tmp_path: Path, array: bytes):
    labels = b"cnumpy.core.multiarray\nscalar\n(" + array + b"S'abc'\ntR"
    with pytest.raises(InputError, match=r"lfw\.bin: "):
        read(tmp_path, b"((l(" + labels + b"lt.")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><title>Sign in</title>", r"a web page \(Sign in\)"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS"),
    ],
)
def test_what_lies_in_place_of_a_pair_file_is_called_by_its_name(tmp_path: Path, content: bytes, words: str):
    with pytest.raises(InputError, match=words):
        read(tmp_path, content)


class Call:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def test_a_call_is_refused_by_name_and_not_made(tmp_path: Path):
    attack = pickle.dumps(([Call(os.system, f"touch {tmp_path}/executed"), *IMAGES], SAME))
    with pytest.raises(InputError, match=r"lfw\.bin: the pickle names the global posix\.system, refused"):
        read(tmp_path, attack)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cbuiltins\neval\n(V1\ntR.",
        b"cnumpy\nload\n(V/etc/passwd\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x01x\x85R.",
        b"(ios\nsystem\n.",
        b"\x80\x02caroface.datasets.safe_pickle\nloads\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.",
    ],
)
def test_other_globals_are_refused(tmp_path: Path, opcodes: bytes):
    with pytest.raises(InputError, match=r"names the global .* refused"):
        read(tmp_path, opcodes)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"",
        b"no pickle",
        pickle.dumps((IMAGES, SAME))[:-9],
        b"\x80\x02\x82\x01.",  # a class of copyreg's registry
        b"\x80\x02Nr" + struct.pack("<I", 1 << 31) + b".",  # a memo of 2**31 entries
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",  # a bytearray of a terabyte
        b"Pid\n.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"cnumpy\nndarray\n)\x81}(V__class__\nNsb.",
        b"c_codecs\nencode\nN}(V__defaults__\n)s\x86b.",
        b"0.",
    ],
)
def test_what_is_no_genuine_pickle_is_one_line(tmp_path: Path, opcodes: bytes):
    with pytest.raises(InputError, match=r"lfw\.bin: .*expected a pickle of \(2N JPEG or PNG images, N booleans\)"):
        read(tmp_path, opcodes)


TIMES = 1000
TEXT = b"X" + struct.pack("<I", 50_000) + b"\x7f" * 50_000 + b"q\x01"
CODE = b"X\x02\0\0\0u1"


@pytest.mark.parametrize(
    ("first", "each", "words"),
    [
        (TEXT, b"c_codecs\nencode\n(h\x01X\x06\0\0\0latin1tR", "unfolds to"),
        (TEXT, b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x01NK\x00h\x01tb", "unfolds to"),
        (TEXT, b"cnumpy._core.numeric\n_frombuffer\n(h\x01NK\x01tR", "unfolds to"),
        (TEXT, b"cnumpy\ndtype\n(h\x01tR", "no data type of NumPy"),
        (TEXT, b"cnumpy\ndtype\n(" + CODE + b"tR(K\x03h\x01tb", "no data type of NumPy"),
    ],
    ids=["encode", "setstate", "frombuffer", "code", "order"],
)
def test_one_text_that_is_used_over_and_over_is_refused(tmp_path: Path, first: bytes, each: bytes, words: str):
    with pytest.raises(InputError, match=rf"lfw\.bin: .*{words}.*; expected a pickle of"):
        read(tmp_path, b"\x80\x02" + first + b"0](" + each * TIMES + b"e.")


def test_an_image_that_is_named_over_and_over_is_held_once(tmp_path: Path):
    pairs = read(tmp_path, pickle.dumps(([bytearray(IMAGES[0])] * 2 * TIMES, [True] * TIMES), 5))
    assert len({id(image) for image in pairs.images}) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((IMAGES[:3], SAME), "3 images and 2 pairs; expected two images a pair"),
        (([], []), "0 images and 0 pairs"),
        (([*IMAGES[:3], b"GIF89a"], SAME), "image 3: the entry is no image"),
        (([*IMAGES[:3], None], SAME), "image 3: the entry is no image"),
        (([*ARRAYS[:3], np.zeros(4, np.float32)], SAME), "image 3: an array of something else than uint8"),
        ((IMAGES, [True, 2]), "pair 1: the entry is 2; expected true or false"),
        ((IMAGES, [True, "yes"]), "pair 1: the entry is 'yes'"),
        ((IMAGES, [True, 1 << 20_000]), "pair 1: the entry is an integer of 20001 bits"),
        ((IMAGES, [True, functools.reduce(lambda inner, _: (inner,), range(500), ())]), "the entry is of type tuple"),
        ((IMAGES, np.ones(2)), "something else than integers or bools"),
        ((IMAGES,), "holds something else"),
        ((5, SAME), "a int instead of a list"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: object, message: str):
    with pytest.raises(InputError, match=message):
        read(tmp_path, pickle.dumps(content))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"cfp\.bin: no such file"):
        read_pairs(tmp_path / "cfp.bin")


def test_what_is_written_is_read_by_us_and_by_the_usual_scripts(tmp_path: Path):
    write_pairs(tmp_path / "lfw.bin", Pairs(IMAGES, np.array(SAME)))
    assert read_pairs(tmp_path / "lfw.bin").images == IMAGES
    assert pickle.loads((tmp_path / "lfw.bin").read_bytes(), encoding="bytes") == (IMAGES, SAME)


def test_equal_pairs_give_equal_bytes_whichever_objects_hold_them(tmp_path: Path):
    shared = [IMAGES[0], IMAGES[1], IMAGES[0], IMAGES[2]]
    copies = [bytes(bytearray(image)) for image in shared]
    for name, images in (("shared", shared), ("copies", copies)):
        write_pairs(tmp_path / name, Pairs(images, np.array(SAME)))
    assert (tmp_path / "shared").read_bytes() == (tmp_path / "copies").read_bytes()


def test_writing_an_odd_number_of_images_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="3 images for 2 pairs"):
        write_pairs(tmp_path / "lfw.bin", Pairs(IMAGES[:3], np.array(SAME)))


def picture(size: int) -> np.ndarray:
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    return np.stack(
        [np.tile(ramp, (size, 1)), np.tile(ramp[:, None], (1, size)), np.full((size, size), 40, np.uint8)], 2
    )


def test_jpeg_and_png_decode_to_rgb():
    image = picture(112)
    png = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    jpeg = simplejpeg.encode_jpeg(image, 95)
    decoded = decode_images([png, jpeg])
    assert np.array_equal(decoded[0], image)
    assert np.array_equal(decoded[1], simplejpeg.decode_jpeg(jpeg))
    assert decoded.shape == (2, 112, 112, 3)


def test_squares_are_resized_and_others_refused():
    png = cv2.imencode(".png", picture(160)[:, :, ::-1])[1].tobytes()
    assert np.abs(decode_images([png])[0].astype(int) - picture(112)).max() <= 3
    oblong = cv2.imencode(".png", picture(160)[:120])[1].tobytes()
    with pytest.raises(InputError, match=r"image 1: .*160×120 pixels, a face crop is square"):
        decode_images([png, oblong])


def test_a_truncated_image_is_refused():
    with pytest.raises(InputError, match="image 0: cannot be decoded"):
        decode_images([simplejpeg.encode_jpeg(picture(112), 95)[:-300]])


@pytest.mark.parametrize("length", [200, 240, 255])
def test_a_file_of_the_longest_name_is_read(tmp_path, length):
    """What may lie beside it, a manifest and its people, can then not be there."""
    path = tmp_path / f"{'x' * (length - 4)}.bin"
    write_pairs(path, Pairs([simplejpeg.encode_jpeg(picture(112), 95)] * 4, np.array([True, False])))
    assert len(data_hash(path)) == 64
    assert describe(path)[0].split() == ["kind", "pairs"]
    assert read_pair_people(path, np.array([True, False])) is None
