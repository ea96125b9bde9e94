"""Write the files of this folder with other programs; needs datasets, torch, av and OpenCV, and nothing of aroface."""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

import av
import cv2
import datasets
import numpy as np
import torch

TEMPLATE = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]


def face(person: int, image: int) -> bytes:
    """A JPEG of 112×112 pixels, the same for equal arguments."""
    rng = np.random.default_rng([person, image])
    small = np.random.default_rng(person).integers(40, 216, (7, 7, 3)) + rng.integers(-20, 20, (7, 7, 3))
    pixels = cv2.resize(small.clip(0, 255).astype(np.uint8), (112, 112), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def save(rows: dict, folder: Path) -> None:
    """A folder of rows with encoded images."""
    kinds = {"image": datasets.Image(), "index": datasets.Value("int64")}
    kinds |= {"is_same": datasets.Value("bool")} if "is_same" in rows else {}
    kinds |= {"path": datasets.Value("string")} if "path" in rows else {}
    images = [{"bytes": image, "path": None} for image in rows["image"]]
    datasets.Dataset.from_dict({**rows, "image": images}, features=datasets.Features(kinds)).save_to_disk(str(folder))


def toolkit(root: Path) -> None:
    """The folders of the evaluation toolkit."""
    same = [number % 2 == 0 for number in range(12)]
    images = [each for number in range(12) for each in (face(number, 0), face(number + (not same[number]), 1))]
    labels = [label for label in same for _ in range(2)]
    save({"image": images, "index": list(range(24)), "is_same": labels}, root / "lfw")

    people = [person for person in range(4) for _ in range(4)]  # two templates of two images each
    save({"image": [face(p, n) for n, p in enumerate(people)], "index": list(range(16))}, root / "IJBB_gt_aligned")
    templates = np.repeat(np.arange(8) + 100, 2)
    first, second = np.triu_indices(8, 1)
    metadata = {
        "templates": templates,
        "medias": np.arange(16) // 2 + 7,
        "faceness_scores": np.linspace(0.5, 0.9, 16),
        "p1": first + 100,
        "p2": second + 100,
        "label": (first // 2 == second // 2).astype(np.int64),
    }
    torch.save(metadata, root / "IJBB_gt_aligned" / "metadata.pt")

    gallery = [f"{person + 1}_{image}.jpg" for person in range(3) for image in (1, 2)]
    probes, others = [f"{person + 1}_9.jpg" for person in range(3)], [f"{number}.jpg" for number in range(1, 6)]
    listed = [*(f"Gallery_Match/{n}" for n in gallery), *(f"Probe/{n}" for n in probes)]
    listed += [f"Gallery_Distractor/{n}" for n in others]
    faces = [face(int(n.split("_")[0]), int(n[2])) for n in (*gallery, *probes)] + [face(50 + n, 0) for n in range(5)]
    order = list(range(len(listed)))[::-1]  # rows need not lie in the order of their numbers
    rows = {"image": [faces[n] for n in order], "index": order, "path": [listed[n] for n in order]}
    save(rows, root / "tinyface_aligned_pad_0.1")
    lists = {
        "image_paths": listed,
        "gallery_paths": [f"/somewhere/Gallery_Match/{name}" for name in gallery],
        "probe_paths": [f"/somewhere/Probe/{name}" for name in probes],
        "distractor_paths": [f"/somewhere/Gallery_Distractor/{name}" for name in others],
    }
    torch.save(lists, root / "tinyface_aligned_pad_0.1" / "metadata.pt")


def walk(path: Path) -> None:
    """A face of dots that goes from left to right."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"crf": "12", "g": "20"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(60):
            pixels = np.full((240, 320, 3), 90, np.uint8)
            for (x, y), colour in zip(TEMPLATE, COLOURS, strict=True):
                cv2.circle(pixels, (round(x + 3 * number), round(y + 60)), 5, colour, -1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        toolkit(Path(folder))
        with tarfile.open(out / "cvlface_toolkit.tar.xz", "w:xz") as packed:
            for each in sorted(Path(folder).iterdir()):
                packed.add(each, each.name)
    walk(out / "walk.mp4")
