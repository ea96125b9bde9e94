"""Evaluation of a model on labelled pairs against the bare forward passes, and against a plain loop of onnxruntime.

The model is a MobileFaceNet as an ONNX file, of the size of InsightFace's w600k_mbf, and the pairs are drawn faces. The
plain loop decodes one image after the other and embeds them in batches, as scripts that come with models do; the bare
passes get decoded images. Each is timed in a process of its own, rounds alternate, and medians are printed: of the time
on the clock, and of the CPU's time of all threads, which depends less on what else the machine does.

    python performance/verification.py [--pairs 1000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch

from aroface.datasets.formats.pairs import Pairs, read_pairs, write_pairs
from aroface.datasets.images import encode_jpeg
from aroface.embedding.external_model import open_model
from aroface.evaluation.external_model import evaluate_model
from aroface.faces.synthetic import render, sample_identities, sample_nuisances
from aroface.models.export import export_model
from aroface.models.import_released import import_checkpoint
from aroface.models.registry import build

BATCH = 16
VARIANTS = ("bare passes", "plain loop", "aroface evaluate")


def prepare(folder: Path, pairs: int) -> None:
    """Write the model and the pairs, of at most 200 different people."""
    torch.manual_seed(0)
    torch.save(build("mbf").state_dict(), folder / "mbf.pt")
    run = import_checkpoint(folder / "mbf.pt", folder / "run").parent
    export_model(run, folder / "mbf.onnx", "onnx")
    people = np.random.default_rng(0).integers(min(pairs, 200), size=(pairs, 2))
    people[::2, 1] = people[::2, 0]
    identities = sample_identities(int(people.max()) + 1, 0)
    images, _ = render(identities[people.ravel()], sample_nuisances(2 * pairs, np.random.default_rng(1)))
    write_pairs(folder / "pairs.bin", Pairs([encode_jpeg(image, 90) for image in images], np.arange(pairs) % 2 == 0))


def session_of(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(folder / "mbf.onnx", providers=["CPUExecutionProvider"])


def embed(session: onnxruntime.InferenceSession, batch: np.ndarray) -> np.ndarray:
    """Features of images (N, 3, H, W) and their mirror images."""
    return session.run(None, {"images": batch})[0] + session.run(None, {"images": batch[..., ::-1].copy()})[0]


def decoded(data: bytes) -> np.ndarray:
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return ((image.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(begin: tuple[float, float]) -> tuple[float, float]:
    clock, cpu = clocks()
    return clock - begin[0], cpu - begin[1]


def measure(variant: str, folder: Path) -> tuple[float, float]:
    """Seconds on the clock and of the CPU of one variant; opening the model does not count."""
    encoded = read_pairs(folder / "pairs.bin").images
    if variant == "aroface evaluate":
        model = open_model(folder / "mbf.onnx", device="cpu")
        begin = clocks()
        for _, record in evaluate_model(model, {"pairs": folder / "pairs.bin"}, batch_size=BATCH):
            assert isinstance(record, dict), record
        return since(begin)
    session = session_of(folder)
    bare = variant == "bare passes"
    images = np.stack([decoded(data) for data in encoded]) if bare else None
    embed(session, np.zeros((BATCH, 3, 112, 112), np.float32))
    begin = clocks()
    for start in range(0, len(encoded), BATCH):
        chunk = range(start, min(start + BATCH, len(encoded)))
        embed(session, images[chunk] if images is not None else np.stack([decoded(encoded[i]) for i in chunk]))
    return since(begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.pairs)
        seconds: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
        for _ in range(options.rounds):
            for variant in VARIANTS:
                command = [sys.executable, __file__, "--measure", variant, "--folder", folder]
                seconds[variant].append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
        medians = {variant: [*map(statistics.median, zip(*times, strict=True))] for variant, times in seconds.items()}
        bare = medians["bare passes"]
        print(f"{'':18} {'clock':>8} {'of bare':>8} {'CPU':>8} {'of bare':>8}")
        for variant, (clock, cpu) in medians.items():
            print(f"{variant:18} {clock:6.1f} s {clock / bare[0]:7.2f}x {cpu:6.1f} s {cpu / bare[1]:7.2f}x")


if __name__ == "__main__":
    main()
