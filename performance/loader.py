"""The loader against the usual per-sample path: images a second, images a CPU second, memory.

    usual  a torch DataLoader whose worker processes read, decode with PIL, flip, do step by step what torchvision's
           ToTensor and Normalize do, and collate: float32 batches
    ours   the loader's threads and `to_network`: the same float32 batches
    uint8  the loader's threads alone, what a GPU is sent
    mxnet  MXNet's own read and decode, one image after the other, without batches; only where there is an environment
           with MXNet: $MXNET_PYTHON, or .venv-mxnet

All read the same records. Every measurement is a process of its own; rounds alternate between the variants, and medians
are printed. CPU time is that of all processes and threads. Memory is the peak over all processes, shared pages counted
once, above what the process took before the first batch.

    python performance/loader.py [--images 32768] [--rounds 5] [--workers 2 4]
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

from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.images import encode_jpeg
from aroface.datasets.loader import BatchLoader, to_network

BATCH = 128
VARIANTS = ("usual", "ours", "uint8")
MXNET_PYTHON = Path(os.environ.get("MXNET_PYTHON", ".venv-mxnet/bin/python"))
MXNET = """
import json, sys, time
from pathlib import Path
import mxnet as mx

folder = Path(sys.argv[1])
records = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "r")
header, _ = mx.recordio.unpack(records.read_idx(0))
keys = range(1, int(header.label[0]))
smaps = Path("/proc/self/smaps_rollup").read_text().split("\\n")
before = sum(int(line.split()[1]) * 1024 for line in smaps if line.startswith("Pss:"))
cpu, wall = time.process_time(), time.perf_counter()
for key in keys:
    _, jpeg = mx.recordio.unpack(records.read_idx(key))
    mx.image.imdecode(jpeg).asnumpy()
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"images_per_s": len(keys) / wall, "cpu_us": cpu / len(keys) * 1e6, "before": before}))
"""


def jpegs(n: int) -> Iterator[tuple[int, bytes]]:
    """Pictures with detail on all scales; as JPEGs of quality 90 they take 5 to 10 kB, as face crops do."""
    rng = np.random.default_rng(0)
    for number in range(n):
        image = np.zeros((112, 112, 3), np.float32)
        for cells in (3, 7, 14, 28, 56):
            noise = rng.normal(0, 130 / cells**0.5, (cells, cells, 3)).astype(np.float32)
            image += cv2.resize(noise, (112, 112), interpolation=cv2.INTER_CUBIC)
        yield number * 100 // n, encode_jpeg(np.clip(image + 128, 0, 255).astype(np.uint8), 90)


class PerSample(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One image at a time, by the operations of torchvision's transforms."""

    def __init__(self, training_set: TrainingSet) -> None:
        self.training_set = training_set

    def __len__(self) -> int:
        return len(self.training_set)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.open(io.BytesIO(self.training_set.jpeg(index))).convert("RGB")
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        label = torch.tensor(int(self.training_set.labels[index]))
        return normalise(to_tensor(image)), label


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def normalise(tensor: torch.Tensor) -> torch.Tensor:
    mean, sd = torch.tensor([0.5] * 3).view(-1, 1, 1), torch.tensor([0.5] * 3).view(-1, 1, 1)
    return tensor.clone().sub_(mean).div_(sd)


def usual(training_set: TrainingSet, workers: int) -> Iterable[torch.Tensor]:
    loader = DataLoader(PerSample(training_set), BATCH, shuffle=True, num_workers=workers, drop_last=True)
    return (images for images, _ in loader)


def ours(training_set: TrainingSet, workers: int) -> Iterable[torch.Tensor]:
    loader = BatchLoader(training_set, BATCH, seed=0, threads=workers)
    return (to_network(batch, "cpu", channels_last=True) for batch in loader.epoch(0))


def uint8(training_set: TrainingSet, workers: int) -> Iterable[torch.Tensor]:
    loader = BatchLoader(training_set, BATCH, seed=0, threads=workers)
    return (batch.images for batch in loader.epoch(0))


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
    batches = {"usual": usual, "ours": ours, "uint8": uint8}[variant](training_set, workers)
    images = sum(len(batch) for batch in batches)
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
    if variant == "mxnet":
        command = [str(MXNET_PYTHON), "-c", MXNET, str(folder)]
    else:
        command = [sys.executable, __file__, "--measure", variant, "--folder", str(folder), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, proportional_set(process.pid))
        time.sleep(0.05)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{variant} ended with status {process.returncode}")
    result: dict[str, float] = json.loads(output)
    return {**result, "memory_mb": (peak - result.pop("before")) / 1e6}


def compare(folder: Path, workers: list[int], rounds: int) -> None:
    keys = [(count, variant) for count in workers for variant in VARIANTS]
    if MXNET_PYTHON.exists():
        keys.append((1, "mxnet"))
    results: dict[tuple[int, str], list[dict[str, float]]] = {key: [] for key in keys}
    for _ in range(rounds):
        for count, variant in keys:
            results[count, variant].append(run(variant, folder, count))
    middle = {
        key: {name: statistics.median(r[name] for r in rows) for name in rows[0]} for key, rows in results.items()
    }
    print(f"{'workers':>7} {'loader':>7} {'images/s':>10} {'CPU-us/image':>13} {'images/CPU-s':>13} {'+MB':>6}")
    for (count, variant), row in middle.items():
        figures = row["images_per_s"], row["cpu_us"], 1e6 / row["cpu_us"], row["memory_mb"]
        print("{:7} {:>7} {:10.0f} {:13.1f} {:13.0f} {:6.0f}".format(count, variant, *figures))
    for count in workers:
        for variant in VARIANTS[1:]:
            print(f"{count} workers, {variant} against usual: {ratios(middle[count, 'usual'], middle[count, variant])}")


def ratios(usual: dict[str, float], other: dict[str, float]) -> str:
    speed = other["images_per_s"] / usual["images_per_s"]
    work, memory = (usual[name] / other[name] for name in ("cpu_us", "memory_mb"))
    return f"{speed:.1f}x the images/s, {work:.1f}x the images/CPU-s, 1/{memory:.1f} of the memory"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32768)
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
