"""The loader against the usual per-sample path: images a second, CPU time an image, memory.

The usual path is a torch DataLoader whose worker processes decode with PIL, flip, turn into a float tensor, normalise
and collate. Both read the same records and end with the same float32 batch. Every measurement is a process of its own;
rounds alternate between the variants, and medians are printed. Memory is the peak over all processes, shared pages
counted once, above what the process took before the first batch.

    python benchmarks/loader.py [--images 8192] [--rounds 5] [--workers 2 4]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from aroface.datasets.images import encode_jpeg
from aroface.datasets.loader import BatchLoader, to_network
from aroface.datasets.training_set import TrainingSet, write_training_set

BATCH = 128
VARIANTS = ("usual", "ours")


def jpegs(n: int) -> Iterator[tuple[int, bytes]]:
    """Pictures with detail on all scales; as JPEGs of quality 90 they take 5 to 10 kB, as face crops do."""
    rng = np.random.default_rng(0)
    for number in range(n):
        image = np.zeros((112, 112, 3), np.float32)
        for cells in (3, 7, 14, 28, 56):
            noise = rng.normal(0, 130 / cells**0.5, (cells, cells, 3)).astype(np.float32)
            image += cv2.resize(noise, (112, 112), interpolation=cv2.INTER_CUBIC)
        yield number * 100 // n, encode_jpeg(np.clip(image + 128, 0, 255).astype(np.uint8), 90)


class PerSample(Dataset[tuple[torch.Tensor, int]]):
    """One image at a time, as torchvision's transforms do it."""

    def __init__(self, training_set: TrainingSet) -> None:
        self.training_set = training_set

    def __len__(self) -> int:
        return len(self.training_set)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.open(io.BytesIO(self.training_set.jpeg(index))).convert("RGB")
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return tensor.sub_(0.5).div_(0.5), int(self.training_set.labels[index])


def usual(training_set: TrainingSet, workers: int) -> Iterable[torch.Tensor]:
    loader = DataLoader(PerSample(training_set), BATCH, shuffle=True, num_workers=workers, drop_last=True)
    return (images for images, _ in loader)


def ours(training_set: TrainingSet, workers: int) -> Iterable[torch.Tensor]:
    loader = BatchLoader(training_set, BATCH, seed=0, threads=workers)
    return (to_network(batch, "cpu", channels_last=True) for batch in loader.epoch(0))


def cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(variant: str, folder: Path, workers: int) -> dict[str, float]:
    """One epoch in this process; the workers are reaped before the CPU time is read."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    training_set = TrainingSet.open(folder)
    before = proportional_set(os.getpid())
    cpu, wall = cpu_seconds(), time.perf_counter()
    images = sum(len(batch) for batch in {"usual": usual, "ours": ours}[variant](training_set, workers))
    wall = time.perf_counter() - wall
    return {"images_per_s": images / wall, "cpu_us": (cpu_seconds() - cpu) / images * 1e6, "before": before}


def proportional_set(process: int) -> int:
    """Bytes that a process and its children occupy, shared pages counted once (Linux)."""
    total = 0
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return total
    return total + sum(proportional_set(int(child)) for child in children)


def run(variant: str, folder: Path, workers: int) -> dict[str, float]:
    """One measurement in a new process, its memory watched from here."""
    command = [sys.executable, __file__, "--measure", variant, "--folder", str(folder), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, proportional_set(process.pid))
        time.sleep(0.05)
    output, _ = process.communicate()
    result: dict[str, float] = json.loads(output)
    return {**result, "memory_mb": (peak - result.pop("before")) / 1e6}


def compare(folder: Path, workers: list[int], rounds: int) -> None:
    keys = [(count, variant) for count in workers for variant in VARIANTS]
    results: dict[tuple[int, str], list[dict[str, float]]] = {key: [] for key in keys}
    for _ in range(rounds):
        for count, variant in keys:
            results[count, variant].append(run(variant, folder, count))
    print(f"{'workers':>7} {'loader':>7} {'images/s':>10} {'CPU-us/image':>13} {'+MB':>8}")
    for count in workers:
        middle = {
            variant: {name: statistics.median(r[name] for r in results[count, variant]) for name in results[keys[0]][0]}
            for variant in VARIANTS
        }
        for variant, row in middle.items():
            print(f"{count:7} {variant:>7} {row['images_per_s']:10.0f} {row['cpu_us']:13.1f} {row['memory_mb']:8.0f}")
        one, other = middle["usual"], middle["ours"]
        ratios = (
            other["images_per_s"] / one["images_per_s"],
            one["cpu_us"] / other["cpu_us"],
            one["memory_mb"] / other["memory_mb"],
        )
        print(f"{count:7} {'ratio':>7} {ratios[0]:9.1f}x {ratios[1]:12.1f}x {ratios[2]:7.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--measure", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.folder, options.workers[0])))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_training_set(folder, jpegs(options.images), 100)
        size = (folder / "train.rec").stat().st_size / options.images
        print(f"{options.images} JPEGs of 112x112, {size / 1000:.1f} kB on average, batches of {BATCH}")
        compare(folder, options.workers, options.rounds)


if __name__ == "__main__":
    main()
