"""Registry of the kinds of sets in shards."""

from __future__ import annotations

from pathlib import Path

from aroface.datasets.preparation.shards.base import ShardSource
from aroface.datasets.preparation.shards.hugging_face import HuggingFaceShards
from aroface.datasets.preparation.shards.lmdb_file import LmdbFile
from aroface.datasets.preparation.shards.webdataset import WebDatasetShards
from aroface.datasets.preparation.shards.zip_shards import ZipShards

SOURCES: list[ShardSource] = [
    ZipShards(),
    HuggingFaceShards(),
    WebDatasetShards(),
    LmdbFile(),
]
"""Kinds in the order in which they are tried."""


def shard_source(source: Path) -> ShardSource | None:
    """Kind of a set in shards; None if a path is of no such kind."""
    return next((one for one in SOURCES if one.matches(source)), None)
