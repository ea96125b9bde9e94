"""Folders that Hugging Face `datasets` saves (`save_to_disk`): rows of images and labels in Arrow files.

Layout: ``state.json`` names the Arrow files in their order; each is a stream of record batches. The files are mapped
into memory and never read whole: memory holds what lists of labels take, and one image at a time.

CVLface's evaluation toolkit consists of such folders. Each row has ``image`` and ``index``; rows of verification sets
have ``is_same`` as well, those of TinyFace ``path``; and ``metadata.pt`` beside the Arrow files has the templates of
IJB-B and IJB-C, or TinyFace's lists. Source: CVLface ``research/recognition/code/run_v1/evaluations``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.arrow_files import batches_of, holds_images, open_arrow
from aroface.datasets.formats.base import Findings, Pixels
from aroface.errors import InputError, printable
from aroface.faces.geometry import TEMPLATE_SIZE

STATE = "state.json"
METADATA = "metadata.pt"
LAYOUT = "a folder of CVLface's evaluation toolkit"
"""Layout in words, of all sets that are such folders."""
LAYOUT_FACT = "Arrow, as CVLface's toolkit has it"
"""Layout in a few words, among the facts of a set."""
IMAGE, INDEX = "image", "index"

_MOST_JSON = 1 << 24  # bytes of the description of a folder
_EXPECTED = "a folder that datasets.Dataset.save_to_disk has written"

Int64 = npt.NDArray[np.int64]


class ArrowFolder:
    """Rows of a folder, in the order of their column ``index``.

    Args:
        folder: Folder with ``state.json``.

    Raises:
        InputError: The folder is none of that kind, a file is missing or damaged, it lacks an image column, or the
            column ``index`` does not number the rows.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow as arrow

        self.folder = folder
        self._batches: list[Any] = []
        for name in data_files(folder):
            self._batches += _record_batches(folder / name)
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])
        if not self._batches or not self._starts[-1]:
            raise InputError("no rows", file=folder, expected=_EXPECTED)
        schema = self._batches[0].schema
        if any(not batch.schema.equals(schema) for batch in self._batches):
            raise InputError("its files have different columns", file=folder, expected=_EXPECTED)
        self.columns = frozenset(schema.names)
        kind = schema.field(IMAGE).type if IMAGE in self.columns else None
        if kind is None or not holds_images(kind):
            raise InputError(f"no column {IMAGE} of encoded images", file=folder, expected=_EXPECTED)
        self._nested = bool(arrow.types.is_struct(kind))
        self._order = self._rows_in_order()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def image(self, row: int) -> bytes:
        """Encoded image of a row.

        Raises:
            InputError: The row has no image.
        """
        index = int(self._order[row])
        batch = int(np.searchsorted(self._starts, index, side="right")) - 1
        column = self._batches[batch].column(IMAGE)
        values = column.field("bytes") if self._nested else column
        content = values[index - int(self._starts[batch])].as_py()
        if not content:
            raise InputError("no image in it", file=self.folder, where=self.where(row), expected="its bytes")
        return bytes(content)

    def where(self, row: int) -> str:
        """Name of a row in messages."""
        return f"row {row}"

    def values(self, column: str) -> list[Any]:
        """Values of a column, in the order of the rows.

        Raises:
            InputError: There is no such column.
        """
        if column not in self.columns:
            raise InputError(f"no column {column}", file=self.folder, expected=f"columns {IMAGE}, {INDEX}, {column}")
        stored = [value for batch in self._batches for value in batch.column(column).to_pylist()]
        return [stored[index] for index in self._order.tolist()]

    def _rows_in_order(self) -> Int64:
        if INDEX not in self.columns:
            return np.arange(len(self))
        stored = [value for batch in self._batches for value in batch.column(INDEX).to_pylist()]
        try:
            order = np.argsort(np.array(stored, np.int64), kind="stable")
            whole = np.array_equal(np.array(stored, np.int64)[order], np.arange(len(self)))
        except (TypeError, ValueError, OverflowError):
            whole = False
        if not whole:
            expected = f"each number from 0 to {len(self) - 1} once"
            raise InputError(f"the column {INDEX} does not number the rows", file=self.folder, expected=expected)
        return np.asarray(order)


def is_arrow_folder(folder: Path) -> bool:
    """Return whether a folder looks like one that `datasets` has saved."""
    return (folder / STATE).is_file()


def column_names(folder: Path) -> frozenset[str]:
    """Names of the columns, as the description of the folder has them; empty where it cannot be read."""
    try:
        described = json.loads(_text(folder / "dataset_info.json"))
        return frozenset(described["features"])
    except (InputError, ValueError, KeyError, TypeError, RecursionError):
        return frozenset()


def data_files(folder: Path) -> list[str]:
    """Names of the Arrow files in their order.

    Raises:
        InputError: The description is missing or malformed, or the folder has an index beside its rows.
    """
    try:
        state = json.loads(_text(folder / STATE))
        names = [entry["filename"] for entry in state["_data_files"]]
        indexed = any(state.get(name) for name in ("_indices_files", "_indices_data_files"))
        right = bool(names) and all(isinstance(name, str) and Path(name).name == name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        right, names, indexed = False, [], False
    if not right:
        raise InputError("names no Arrow files", file=folder / STATE, expected=_EXPECTED)
    if indexed:
        what = "the rows are a selection of those on disk"
        raise InputError(what, file=folder / STATE, remedy="save it again after Dataset.flatten_indices()")
    return names


def read_metadata(folder: Path, wanted: Iterable[str]) -> dict[str, Any]:
    """Content of ``metadata.pt``: lists and arrays by name. Nothing in it is executed.

    Args:
        folder: Folder of the set.
        wanted: Names that have to be there.

    Raises:
        InputError: The file is missing, damaged, holds anything but numbers, text, arrays and tensors, or lacks a name.
    """
    import torch

    path = folder / METADATA
    if not path.is_file():
        raise InputError("no such file", file=path)
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever unpickling makes of a damaged file
        what = f"cannot be read ({printable(str(error), 200)})"
        raise InputError(what, file=path, expected="lists, arrays and tensors that torch.save has written") from None
    if not isinstance(content, Mapping):
        raise InputError(f"holds a {type(content).__name__}", file=path, expected="a dict of lists and arrays")
    absent = [name for name in wanted if name not in content]
    if absent:
        raise InputError(f"lacks {', '.join(absent)}", file=path, expected=", ".join(wanted))
    return {name: content[name] for name in wanted}


def numbers(value: Any, name: str, path: Path, dtype: type = np.int64) -> npt.NDArray[Any]:
    """A list, array or tensor as an array (N,).

    Raises:
        InputError: It has other dimensions, or holds what is no number of this type.
    """
    try:
        array = np.asarray(value)
        converted: npt.NDArray[Any] = array.astype(dtype)
        right = (
            array.ndim == 1 and array.dtype.kind in "biuf" and bool((converted == array).all() or dtype is np.float32)
        )
    except (TypeError, ValueError, OverflowError, RuntimeError):
        right = False
    if not right or not np.isfinite(converted).all():
        raise InputError(f"{name} is no list of numbers", file=path, expected="one number an image or pair")
    return np.asarray(converted)


def check_rows(findings: Findings, rows: ArrowFolder, threads: int) -> None:
    """Check the images of all rows, see :func:`aroface.datasets.formats.image_checks.check_images`."""
    from aroface.datasets.formats.image_checks import check_images

    check_images(findings, len(rows), rows.image, lambda data, row: row_face(rows, row, data=data), threads)


def row_face(rows: ArrowFolder, row: int, size: int = TEMPLATE_SIZE, data: bytes | None = None) -> Pixels:
    """Aligned face of a row as a network gets it, uint8 (size, size, 3), RGB.

    Raises:
        InputError: The image is damaged, too large or not square.
    """
    from aroface.datasets.formats.image_checks import square_face
    from aroface.datasets.images import CROP_PIXELS

    content = rows.image(row) if data is None else data
    return square_face(content, rows.folder, rows.where(row), size, CROP_PIXELS)


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_JSON).decode()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    except ValueError:
        raise InputError("is no text", file=path, expected=_EXPECTED) from None


def _record_batches(path: Path) -> list[Any]:
    """Batches of an Arrow file, whose columns refer to the mapped file."""
    import pyarrow as arrow

    if not path.is_file():
        raise InputError("no such file", file=path, expected=f"as {STATE} names it")
    try:
        batches = list(batches_of(open_arrow(arrow.memory_map(str(path)))))
        for batch in batches:
            batch.validate(full=True)  # offsets of a damaged file would lead out of it
            if not all(batch.schema.names):  # or they are no text, which is an error as well
                raise ValueError("a column without a name")
    except (arrow.ArrowException, OSError, ValueError) as error:
        what = f"cannot be read ({printable(str(error), 200)})"
        raise InputError(what, file=path, expected="an Arrow stream", remedy="download or unpack it again") from None
    return batches


def _numpy_globals() -> list[Any]:
    """Globals of pickled NumPy arrays, under their old and new names."""
    import _codecs

    reconstruct, scalar = np._core.multiarray._reconstruct, np._core.multiarray.scalar  # type: ignore[attr-defined]
    dtypes = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]
    return [
        reconstruct,
        scalar,
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (scalar, "numpy.core.multiarray.scalar"),
        np.ndarray,
        np.dtype,
        *dtypes,
        _codecs.encode,
    ]
