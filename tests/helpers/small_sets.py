"""A rendered set of every kind, as small as it can be."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from generated_sets import generate_ijb, generate_ijbs, generate_pairs, generate_tinyface, generate_training

SPECS = {
    "training": {"identities": 3, "images_per_identity": 4},
    "pairs": {"identities": 4, "pairs": 12, "folds": 2},
    "tinyface": {"identities": 3, "gallery_per_identity": 1, "probes_per_identity": 2, "distractors": 2},
    "ijb": {"identities": 3, "templates_per_identity": 2, "images_per_template": [2, 2], "pairs": 6, "distractors": 1},
    "ijbs": {"subjects": 3, "stills_per_subject": 1, "videos_per_subject": 1, "frames_per_video": [2, 2]},
}
MAKERS = {
    "training": generate_training,
    "pairs": generate_pairs,
    "tinyface": generate_tinyface,
    "ijb": generate_ijb,
    "ijbs": generate_ijbs,
}
PLACES = {kind: "pairs.bin" if kind == "pairs" else kind for kind in SPECS}


def make_sets(root: Path) -> dict[str, Path]:
    """Render one set of each kind, with seed 1; returns where each lies."""
    for kind, place in PLACES.items():
        MAKERS[kind](SPECS[kind], 1, root / place, workers=1)
    return {kind: root / place for kind, place in PLACES.items()}


CONFIG: dict[str, Any] = {
    "recipe": "tiny",
    "seeds": [0],
    "experiments": [{"method": "arcface", "dataset": "faces"}],
    "data": {
        "faces": {"seed": 1, "generate": {"training": {"identities": 12, "images_per_identity": 6}}},
        "clean": {"seed": 2, "generate": {"pairs": {"identities": 10, "pairs": 80}}},
    },
    "benchmarks": [{"name": "pairs_clean", "data": "clean"}],
    "tables": [],
}
"""The smallest configuration of rendered faces."""


def archive(path: Path, members: dict[str, bytes]) -> Path:
    """A zip or compressed tar archive of these members, by the suffix of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, data in members.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as packed_tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed_tar.addfile(info, io.BytesIO(data))
    return path
