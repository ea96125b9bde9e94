"""Sets of Hugging Face: Parquet or Arrow files with a column of images and one of labels.

Read by pyarrow, batch by batch; memory holds a row group of a Parquet file, or a batch of an Arrow file. The labels of
all rows are read first: texts become classes in natural order, and whole numbers stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroface.datasets.formats.arrow_files import batches_of, holds_images, open_arrow
from aroface.datasets.preparation.shards.base import (
    MOST_BYTES,
    LabelledImage,
    ShardedSet,
    ShardOptions,
    ShardSource,
    file_state,
    natural_order,
    natural_paths,
)
from aroface.errors import InputError, printable
from aroface.omissions import Omissions
from aroface.progress import track

_ENDINGS = frozenset({".parquet", ".arrow"})
_SPLIT = re.compile(r"(\w[\w.]*?)[-_]\d{5}(-of-\d{5})?")  # train-00000-of-00012, as push_to_hub names files
_TRAIN = "train"
_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "face", "picture")
_LABEL_NAMES = ("label", "labels", "identity", "identity_id", "id", "class", "cls", "target", "person", "subject")
_ROWS = 256
_LEVELS, _MOST_FOLDERS = 3, 100  # levels below a set's folder in which its files may lie, and folders of a level


class HuggingFaceShards(ShardSource):
    """A folder with Parquet or Arrow files, as downloaded or as ``save_to_disk`` writes it, or one of the files."""

    layout = "Parquet or Arrow files with columns of images and labels, as Hugging Face has them"
    has_columns = True

    def matches(self, source: Path) -> bool:
        """See :class:`ShardSource`."""
        return bool(_files(source))

    def open(self, source: Path, options: ShardOptions, omissions: Omissions) -> ShardedSet:
        """See :class:`ShardSource`."""
        return _ImageTable(_of_split(source, _files(source), options.split), options)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Names of the columns, and of the classes by number where the set has them."""

    image: str
    label: str
    names: list[str] | None


class _ImageTable(ShardedSet):
    def __init__(self, files: list[Path], options: ShardOptions) -> None:
        self.shards = files
        self._columns = _find_columns(files[0], options)
        self.key = [[file_state(file) for file in files], self._columns.image, self._columns.label]
        last, ascending, texts, numbers = -1, True, set[str](), False
        for label in self._labels():
            if isinstance(label, str):
                texts.add(label)
            else:
                numbers, ascending, last = True, ascending and label >= last, label
        if texts and numbers:
            raise InputError("labels are texts and numbers", file=files[0].parent, where=self._columns.label)
        self.people = natural_order(texts) if texts else self._columns.names
        self._classes = {name: label for label, name in enumerate(self.people or [])} if texts else {}
        self.classes = len(self.people) if self.people else None
        self.ascending = ascending if numbers else False
        if texts:
            labels = (self._classes[str(label)] for label in self._labels())
            self.ascending = _never_falls(labels)

    def read(self, number: int, omissions: Omissions) -> Iterator[LabelledImage]:
        """Rows of one file in its order."""
        file, columns = self.shards[number], self._columns
        for row, values in _rows(file, [columns.image, columns.label]):
            label = _label(values[columns.label], file, row)
            content = _content(values[columns.image], file, row)
            yield LabelledImage(self._classes[label] if isinstance(label, str) else label, content, f"row {row}")

    def _labels(self) -> Iterator[str | int]:
        for file in track(self.shards, "reading labels"):
            for row, values in _rows(file, [self._columns.label]):
                yield _label(values[self._columns.label], file, row)


def _never_falls(labels: Iterator[int]) -> bool:
    last = -1
    for label in labels:
        if label < last:
            return False
        last = label
    return True


def _files(source: Path) -> list[Path]:
    """Files of a set in natural order; of a cache of `datasets` without the copies that it made of them."""
    if source.is_file():
        return [source] if source.suffix in _ENDINGS else []
    if not source.is_dir():
        return []
    files, folders = [], [source]
    for _ in range(_LEVELS):
        entries = [path for folder in folders for path in folder.iterdir() if not path.name.startswith(".")]
        files += [path for path in entries if path.suffix in _ENDINGS and not path.name.startswith("cache-")]
        folders = [path for path in entries if path.is_dir()]
        if len(folders) > _MOST_FOLDERS:  # of people, with images in them
            break
    return natural_paths(files)


def _of_split(source: Path, files: list[Path], split: str | None) -> list[Path]:
    """Files of a split, named by the folder that ``save_to_disk`` makes or by the beginning of a file's name."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        folders = file.relative_to(source).parts[:-1] if source.is_dir() else ()
        match = _SPLIT.fullmatch(file.stem)
        inside = [name for name in folders if name != "data"]
        name = inside[-1] if inside else match[1] if match and match[1] != "data" else ""
        splits.setdefault(name, []).append(file)
    if split is None and (len(splits) == 1 or _TRAIN in splits):
        return splits.get(_TRAIN, files)
    if split is None or split not in splits:
        known = ", ".join(sorted(filter(None, splits))) or "none, all files are one set"
        what = f"no split {split!r}" if split is not None else f"{len(splits)} splits"
        raise InputError(what, file=source, expected=f"one of {known}", remedy="choose one by --split")
    return splits[split]


def _find_columns(file: Path, options: ShardOptions) -> _Columns:
    schema = _schema(file)
    try:
        types = {field.name: field.type for field in schema}
        images = [name for name, kind in types.items() if holds_images(kind)]
        labels = [name for name, kind in types.items() if _holds_labels(kind)]
    except ValueError as error:  # a name that is not UTF-8
        raise _unreadable(file, error) from None
    features = _features(schema)
    kinds = {name: feature.get("_type") for name, feature in features.items()}
    image = _choose(file, "image", images, options.image_column, kinds, "Image", _IMAGE_NAMES)
    label = _choose(file, "label", labels, options.label_column, kinds, "ClassLabel", _LABEL_NAMES)
    names = features.get(label, {}).get("names")
    whole = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return _Columns(image, label, names if whole and names else None)


def _choose(
    file: Path,
    what: str,
    fitting: Sequence[str],
    chosen: str | None,
    kinds: dict[str, Any],
    kind: str,
    usual: Sequence[str],
) -> str:
    """Name of a column: the chosen one, else the only one of the feature, of a usual name, or of the type."""
    if chosen is not None:
        if chosen not in fitting:
            expected = f"one of {', '.join(fitting) or 'none: no column can hold it'}"
            raise InputError(f"no column {chosen!r} of {what}s", file=file, expected=expected)
        return chosen
    by_feature = [name for name in fitting if kinds.get(name) == kind]
    by_name = [name for usual_name in usual for name in fitting if name.lower() == usual_name]
    for candidates in (by_feature, by_name[:1], fitting):
        if len(candidates) == 1:
            return candidates[0]
    what_is = f"{len(fitting)} columns may be the {what}" if fitting else f"no column can be the {what}"
    remedy = f"choose one by --{what}-column" if fitting else None
    raise InputError(what_is, file=file, expected=f"one of {', '.join(fitting)}" if fitting else None, remedy=remedy)


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Features that `datasets` writes beside the schema; empty where it wrote none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _holds_labels(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _holds_labels(kind.value_type)
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def _label(value: Any, file: Path, row: int) -> str | int:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and value >= 0:
        return value
    raise InputError(f"the label is {value!r:.40}", file=file, where=f"row {row}", expected="a class from 0, or a name")


def _content(value: Any, file: Path, row: int) -> bytes:
    where = f"row {row}"
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes) or not content:
        path = value.get("path") if isinstance(value, dict) else None
        what = f"the image is a path, {printable(str(path), 80)!r}, and no bytes" if path else "no image"
        raise InputError(what, file=file, where=where, expected="encoded images within the file")
    if len(content) > MOST_BYTES:
        raise InputError(
            f"an image of {len(content):,} bytes", file=file, where=where, expected=f"at most {MOST_BYTES:,}"
        )
    return content


def _schema(file: Path) -> Any:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        if file.suffix == ".parquet":
            return parquet.read_schema(file)
        with arrow.memory_map(str(file)) as source, open_arrow(source) as reader:
            return reader.schema
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise _unreadable(file, error) from None


def _rows(file: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a file, numbered from 0, with some of the columns."""
    import pyarrow as arrow

    row = 0
    try:
        for batch in _batches(file, columns):
            for values in batch.select(columns).to_pylist():
                yield row, values
                row += 1
    except (arrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise _unreadable(file, error) from None


def _batches(file: Path, columns: list[str]) -> Iterator[Any]:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    if file.suffix == ".parquet":
        with parquet.ParquetFile(file, memory_map=True) as table:
            yield from table.iter_batches(_ROWS, columns=columns)
        return
    with arrow.memory_map(str(file)) as source, open_arrow(source) as reader:
        for batch in batches_of(reader):
            chosen = batch.select(columns)
            chosen.validate(full=True)  # offsets of a damaged file would lead out of it
            yield from (chosen.slice(begin, _ROWS) for begin in range(0, chosen.num_rows, _ROWS))


def _unreadable(file: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError("no such file", file=file)
    what = f"cannot be read ({printable(str(error), 200)})"
    return InputError(what, file=file, expected="a Parquet or Arrow file", remedy="download it again")
