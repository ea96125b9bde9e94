"""Indexed record files read by MXNet itself: to compare with, not to train fast with."""

from __future__ import annotations

import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.indexed_records import ListedLabels, RecordFile, Rows
from aroface.datasets.formats.recordio import ImageRecord
from aroface.errors import InputError

ENVIRONMENT = "workflow/envs/mxnet.txt"
"""The packages that MXNet works with, to be installed in an environment of their own."""


class MXNetRecordFile(RecordFile):
    """A `RecordFile` of which every record is fetched by ``mxnet.recordio.MXIndexedRecordIO``.

    MXNet moves one position from record to record, so threads wait for each other; forked workers have one each.

    Args:
        rec: Path of the record file.
        idx: Path of its index.
        listed: Reader of the list of images, see `RecordFile`.

    Raises:
        InputError: As `RecordFile`, or MXNet cannot be imported.
    """

    def __init__(self, rec: Path, idx: Path, listed: ListedLabels | None = None) -> None:
        self._mxnet = _recordio()
        self._lock = threading.Lock()
        self._reader: Any = None
        super().__init__(rec, idx, listed)

    def __reduce__(self) -> tuple[type[MXNetRecordFile], tuple[Path, Path]]:
        return MXNetRecordFile, (self.path, self._idx)

    def _load(self, key: int, offset: int, extent: int) -> ImageRecord:
        with self._lock:
            try:
                if self._reader is None:
                    self._reader = self._mxnet.MXIndexedRecordIO(str(self._idx), str(self.path), "r")
                self._reader.idx.setdefault(key, offset)  # of a header record that the index leaves out
                header, content = self._mxnet.unpack(self._reader.read_idx(key))
            except Exception as error:  # MXNet has many
                lines = str(error).strip().splitlines()
                raise InputError(
                    f"MXNet cannot read it ({lines[-1] if lines else type(error).__name__})",
                    file=self.path,
                    where=f"record {key} (byte {offset})",
                ) from None
        labels = (header.label,) if header.flag == 0 else header.label.tolist()
        return ImageRecord(tuple(float(label) for label in labels), bytes(content))

    def _labels_at(self, rows: Rows, count: int) -> npt.NDArray[np.float32]:
        labels = np.full((len(rows), count), np.nan, np.float32)
        for number, row in enumerate(
            zip(rows.keys.tolist(), rows.offsets.tolist(), rows.extents.tolist(), strict=True)
        ):
            row_labels = self._load(*row).labels[:count]
            labels[number, : len(row_labels)] = row_labels
        return labels


def _recordio() -> ModuleType:
    try:
        return import_module("mxnet.recordio")
    except Exception as error:  # with a numpy that is too new it is an AttributeError
        raise InputError(
            f"MXNet cannot be imported ({error})",
            remedy=f"install {ENVIRONMENT} in an environment of its own, or choose the native reader",
        ) from None
