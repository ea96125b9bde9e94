"""Write hugging_face.tar.xz beside this file: one small set as `datasets` 5.2.0 writes it in its several ways.

python -m pip install datasets==5.2.0 pillow numpy && python make_hugging_face.py
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

LABELS = [2, 0, 0, 1, 2, 3]
NAMES = ["zoe", "anna", "bob", "carl"]


def jpeg(number: int) -> bytes:
    coarse = np.random.default_rng(number).integers(0, 256, (3, 3, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((112, 112)).save(file, "JPEG", quality=50)
    return file.getvalue()


def main() -> None:
    images = [{"bytes": jpeg(number), "path": f"{number}.jpg"} for number in range(len(LABELS))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = datasets.Dataset.from_dict({"image": images, "label": LABELS}, features=features)
    named = datasets.Dataset.from_dict(
        {"jpg": images, "identity": [f"person {label * 5}" for label in LABELS], "score": [0.5] * len(LABELS)},
        features=datasets.Features(
            {"jpg": datasets.Image(), "identity": datasets.Value("string"), "score": datasets.Value("float32")}
        ),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hub/data").mkdir(parents=True)
        for part in range(2):
            rows.shard(2, part, contiguous=True).to_parquet(folder / f"hub/data/train-{part:05}-of-00002.parquet")
        rows.select([0]).to_parquet(folder / "hub/data/test-00000-of-00001.parquet")
        rows.save_to_disk(folder / "disk", num_shards=2)
        datasets.DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(folder / "splits")
        named.to_parquet(folder / "named.parquet")
        with tarfile.open(Path(__file__).with_name("hugging_face.tar.xz"), "w:xz") as packed:
            for path in sorted(folder.iterdir()):
                packed.add(path, path.name)


if __name__ == "__main__":
    main()
