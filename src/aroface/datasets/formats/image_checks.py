"""Images of a set as a network gets them, and checks of all of them; shared by the formats.

An image that is given to a network comes from one of the functions here, so that what verifying a set passes no later
step refuses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aroface.datasets.formats.base import Findings
from aroface.datasets.images import Pixels, decode, resize_square
from aroface.datasets.manifest import files_under
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import refuse_special
from aroface.omissions import KindSummary, Omissions
from aroface.progress import track

_CHUNK = 256  # images of one task
_DIGEST = 16  # bytes of an image's hash: 12.7 million images take 203 MB
_SAMPLES = 14  # pixels along an image's shorter side in which its colours are seen
_GREY = 1.0  # grey levels by which the channels differ at least in an image with colours


def read_file(file: Path) -> bytes:
    """Content of an image file.

    Raises:
        InputError: The file is missing.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", file=file) from None


def decoded(data: bytes, file: Path, where: str | None, max_pixels: int | None = None) -> Pixels:
    """Pixels of an encoded image, uint8 (H, W, 3), RGB.

    Args:
        data: Encoded image.
        file: Path of its file, for the message.
        where: Name of the image within the file, for the message; None where the file is the image.
        max_pixels: Largest number of pixels; None for the limit of image files.

    Raises:
        InputError: The image is damaged or too large.
    """
    try:
        return decode(data, max_pixels)
    except ValueError as error:
        what = "cannot be decoded" if where else "cannot be read as an image"
        raise InputError(f"{what} ({error})", file=file, where=where) from None


def square_face(data: bytes, file: Path, where: str | None, size: int, max_pixels: int | None = None) -> Pixels:
    """Aligned face at ``size`` × ``size`` pixels, uint8 (size, size, 3), RGB; for the arguments see `decoded`.

    Raises:
        InputError: The image is damaged, too large or not square.
    """
    image = decoded(data, file, where, max_pixels)
    try:
        return resize_square(image, size)
    except ValueError as error:
        remedy = "align the images first: these are not face crops"
        raise InputError(str(error), file=file, where=where, remedy=remedy) from None


def stored_face(data: bytes, file: Path, size: int) -> Pixels:
    """Aligned face that is a file of its own, as a network gets it, uint8 (size, size, 3), RGB.

    Raises:
        InputError: The image is damaged or not square.
    """
    return square_face(data, file, None, size)


def check_labels(findings: Findings, check: Callable[[], None]) -> None:
    """Note whether the labels allow the metrics of the protocol, by the check that embedding makes as well."""
    try:
        check()
    except InputError as error:
        findings.failed["labels"] = str(error)
    else:
        findings.noted["labels"] = "allow the metrics of the protocol"


def part_files(folder: Path, part: str) -> list[str]:
    """Relative names of the files of one part of a set: the file itself, or all files below a folder.

    Raises:
        InputError: The part is missing, or holds what is neither file nor folder.
    """
    path = folder / part
    if path.is_dir():
        names = [f"{part}/{name}" for name in files_under(path)]
        for name in names:
            refuse_special(folder / name, "an image, or a link to one")
        return names
    if not path.is_file():
        raise InputError("no such file", file=path)
    return [part]


def unlisted(data: Path, folders: Iterable[str], used: Iterable[Path]) -> dict[str, KindSummary]:
    """Summary of the files in some folders of a set that no list names."""
    known = {path.relative_to(data).as_posix() for path in used}
    omissions = Omissions()
    for folder in folders:
        omissions.extend("named by no list", (name for name in part_files(data, folder) if name not in known))
    return omissions.summary()


def check_files(findings: Findings, files: Sequence[Path], threads: int) -> None:
    """Check aligned faces that are files of their own; see `check_images`."""

    def face(image: bytes, number: int) -> Pixels:
        return stored_face(image, files[number], TEMPLATE_SIZE)

    check_images(findings, len(files), lambda number: read_file(files[number]), face, threads)


def check_photographs(findings: Findings, files: Sequence[Path], threads: int) -> None:
    """Check images of any size that are files of their own, from which faces are cut; see `check_images`."""

    def pixels(image: bytes, number: int) -> Pixels:
        return decoded(image, files[number], None)

    check_images(findings, len(files), lambda number: read_file(files[number]), pixels, threads)


@dataclass(slots=True)
class _Chunk:
    """Findings about a chunk of images.

    Attributes:
        digests: Hashes of those that could be read, one after the other.
        warmth: Red − blue in grey levels, averaged over an image, summed over those with colours.
        coloured: Number of these.
        grey: Number of those without.
        wrong: Error messages, image by image.
    """

    digests: bytes = b""
    warmth: float = 0.0
    coloured: int = 0
    grey: int = 0
    wrong: list[str] = field(default_factory=list)


def check_images(
    findings: Findings,
    count: int,
    read: Callable[[int], bytes],
    face: Callable[[bytes, int], Pixels],
    threads: int,
) -> None:
    """Decode all images as a network gets them, in threads; find copies, and whether red and blue are exchanged.

    Args:
        findings: Findings to which the results are added.
        count: Number of images.
        read: Function from the number of an image to its bytes.
        face: Function from bytes and number to the image as it is used.
        threads: Number of decoder threads.
    """

    def check_chunk(begin: int) -> _Chunk:
        chunk = _Chunk()
        for number in range(begin, min(begin + _CHUNK, count)):
            try:
                data = read(number)
                chunk.digests += hashlib.blake2b(data, digest_size=_DIGEST).digest()
                image = face(data, number)
            except InputError as error:
                chunk.wrong.append(str(error))
                continue
            warmth = _warmth(image)
            if warmth is None:
                chunk.grey += 1
            else:
                chunk.warmth += warmth
                chunk.coloured += 1
        return chunk

    begins = range(0, count, _CHUNK)
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        chunks = list(track(pool.map(check_chunk, begins), "decoding", total=len(begins)))
    findings.corrupt += [line for chunk in chunks for line in chunk.wrong]
    findings.noted["duplicates"] = _duplicates(b"".join(chunk.digests for chunk in chunks))
    warmth = sum(chunk.warmth for chunk in chunks)
    coloured, grey = (sum(chunk.coloured for chunk in chunks), sum(chunk.grey for chunk in chunks))
    findings.noted["colours"] = _colours(warmth / max(coloured, 1), coloured, grey)


def _duplicates(joined: bytes) -> str:
    """Number, in words, of the images that are copies of others, among those that could be read."""
    if not joined:
        return "no image could be read"
    digests = np.frombuffer(joined, f"V{_DIGEST}")
    copies = len(digests) - len(np.unique(digests))
    return f"{copies:,} images are copies of others" if copies else "no image occurs twice"


def _warmth(image: Pixels) -> float | None:
    """Red − blue in grey levels, averaged over an image; None for a grey one."""
    step = max(min(image.shape[:2]) // _SAMPLES, 1)
    pixels = image[::step, ::step].astype(np.float64)
    difference = pixels[..., 0] - pixels[..., 2]
    if max(np.abs(difference).mean(), np.abs(pixels[..., 0] - pixels[..., 1]).mean()) < _GREY:
        return None
    return float(difference.mean())


def _colours(warmth: float, coloured: int, grey: int) -> str:
    """Order of the channels, in words: skin is redder than blue in any light that faces are photographed in."""
    if not coloured:
        return (
            "all images are grey: the order of the channels makes no difference" if grey else "no image could be read"
        )
    among = f" in the {coloured:,} images with colours ({grey:,} are grey)" if grey else ""
    if warmth < 0:
        return f"red is {-warmth:.1f} grey levels below blue on average{among}: are the channels exchanged (BGR)?"
    return f"red is {warmth:.1f} grey levels above blue on average{among}, as faces in RGB are"
