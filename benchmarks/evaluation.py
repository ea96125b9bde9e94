"""Evaluation against the usual scripts: TinyFace search at its real size, and ten-fold accuracy of 6,000 pairs.

The usual TinyFace script (AdaFace's, after Probabilistic Face Embeddings) keeps the whole matrix of scores and sorts
every row; the usual ten-fold accuracy (insightface's) loops over folds and thresholds. Both sides read the same
synthetic features and must find the same rates. Every measurement is a process of its own; rounds alternate between the
variants, and medians are printed.

    python benchmarks/evaluation.py [--rounds 2]
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

import numpy as np
from numpy.lib.format import open_memmap

from aroface.evaluation.identification import retrieve
from aroface.evaluation.verification import FOLDS, accuracy, fold_numbers, pair_distances

PROBES, MATES, DISTRACTORS, IDENTITIES = 3728, 4443, 153_428, 2569
PAIRS = 6000
DIMENSION = 512
RANKS = (1, 5, 20)
REPEATS = 20  # of the ten-fold accuracy, which is over in milliseconds
COSTS = {"seconds", "peak_mb"}

Measurement = dict[str, float]


def write_tinyface(folder: Path) -> None:
    """Probes and gallery of noisy identities, at which about half of the probes find a mate."""
    rng = np.random.default_rng(0)
    identities = rng.standard_normal((IDENTITIES, DIMENSION), dtype=np.float32)
    probe_labels = rng.integers(IDENTITIES, size=PROBES)
    mate_labels = np.arange(MATES) % IDENTITIES
    gallery = open_memmap(folder / "gallery.npy", "w+", np.float32, (MATES + DISTRACTORS, DIMENSION))
    gallery[:MATES] = identities[mate_labels] + rng.standard_normal((MATES, DIMENSION), dtype=np.float32)
    gallery[MATES:] = rng.standard_normal((DISTRACTORS, DIMENSION), dtype=np.float32)
    gallery.flush()
    noise = rng.standard_normal((PROBES, DIMENSION), dtype=np.float32)
    np.save(folder / "probes.npy", identities[probe_labels] + 3.5 * noise)
    np.save(folder / "probe_labels.npy", probe_labels)
    np.save(folder / "gallery_labels.npy", np.concatenate([mate_labels, np.full(DISTRACTORS, -100)]))


def write_pairs(folder: Path) -> None:
    rng = np.random.default_rng(1)
    same = np.tile(np.repeat([True, False], 300), FOLDS)
    first, other, noise = rng.standard_normal((3, PAIRS, DIMENSION), dtype=np.float32)
    np.save(folder / "first.npy", first)
    np.save(folder / "second.npy", np.where(same[:, None], 0.15 * first, 0) + other + 0.1 * noise)
    np.save(folder / "same.npy", same)


def usual_tinyface(folder: Path) -> dict[str, float]:
    probes, gallery = (normalised(np.load(folder / f"{name}.npy")) for name in ("probes", "gallery"))
    probe_labels, gallery_labels = (np.load(folder / f"{name}_labels.npy") for name in ("probe", "gallery"))
    scores = probes @ gallery.T
    labels = probe_labels[:, None] == gallery_labels[None, :]
    mated = labels.any(axis=1)
    mated_scores, mated_labels = scores[mated, :], labels[mated, :]
    order = np.argsort(mated_scores, axis=1)
    sorted_labels = np.ndarray(mated_labels.shape, dtype=bool)
    for row in range(len(sorted_labels)):
        sorted_labels[row, :] = mated_labels[row, order[row, :][::-1]]
    return {f"rank{rank}": float(sorted_labels[:, :rank].any(axis=1).mean()) for rank in RANKS}


def normalised(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def our_tinyface(folder: Path) -> dict[str, float]:
    found = retrieve(
        np.load(folder / "probes.npy"),
        np.load(folder / "probe_labels.npy"),
        np.load(folder / "gallery.npy", mmap_mode="r"),
        np.load(folder / "gallery_labels.npy"),
    )
    rates = {f"rank{rank}": float((found.ranks <= rank).mean()) for rank in RANKS}
    return {**rates, "map": float(found.average_precision.mean())}


def usual_ten_fold(distances: np.ndarray, same: np.ndarray) -> float:
    fold = fold_numbers(len(distances))
    thresholds = np.arange(0, 4, 0.01)
    accuracies = []
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        scores = [share_right(threshold, distances[train], same[train]) for threshold in thresholds]
        accuracies.append(share_right(thresholds[np.argmax(scores)], distances[test], same[test]))
    return float(np.mean(accuracies))


def share_right(threshold: float, distances: np.ndarray, same: np.ndarray) -> float:
    accepted = np.less(distances, threshold)
    right = np.sum(np.logical_and(accepted, same))
    rejected = np.sum(np.logical_and(np.logical_not(accepted), np.logical_not(same)))
    return float(right + rejected) / distances.size


def our_ten_fold(distances: np.ndarray, same: np.ndarray) -> float:
    return accuracy(distances, same)[0].item()


def measure(task: str, variant: str, folder: Path) -> Measurement:
    """What was found, in how many seconds, and this process's peak memory in MB."""
    if task == "tinyface":
        search = {"usual": usual_tinyface, "ours": our_tinyface}[variant]
        started = time.perf_counter()
        found = search(folder)
        seconds = time.perf_counter() - started
    else:
        same = np.load(folder / "same.npy")
        distances = pair_distances(np.load(folder / "first.npy"), np.load(folder / "second.npy"))
        ten_fold = {"usual": usual_ten_fold, "ours": our_ten_fold}[variant]
        started = time.perf_counter()
        for _ in range(REPEATS):
            found = {"accuracy": ten_fold(distances, same)}
        seconds = (time.perf_counter() - started) / REPEATS
    return {**found, "seconds": seconds, "peak_mb": peak_bytes() / 1e6}


def peak_bytes() -> int:
    """Most memory this program has occupied (Linux); ``ru_maxrss`` would count the parent's as well."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def run(task: str, variant: str, folder: Path) -> Measurement:
    command = [sys.executable, __file__, "--measure", task, variant, "--folder", str(folder)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def compare(task: str, folder: Path, rounds: int) -> None:
    results: dict[str, list[Measurement]] = {"usual": [], "ours": []}
    for _ in range(rounds):
        for variant, rows in results.items():
            rows.append(run(task, variant, folder))
    middle = {
        variant: {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        for variant, rows in results.items()
    }
    usual, ours = middle["usual"], middle["ours"]
    for name in usual.keys() - COSTS:
        assert abs(usual[name] - ours[name]) < 1e-9, f"{name}: {usual[name]} and {ours[name]}"
    print(f"{'variant':>8} {'seconds':>9} {'peak MB':>8}  found")
    for variant, row in middle.items():
        found = " ".join(f"{name} {row[name]:.4f}" for name in row if name not in COSTS)
        print(f"{variant:>8} {row['seconds']:9.4f} {row['peak_mb']:8.0f}  {found}")
    ratios = [usual[name] / ours[name] for name in ("seconds", "peak_mb")]
    print(f"{'ratio':>8} {ratios[0]:8.1f}x {ratios[1]:7.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--measure", nargs=2, metavar=("TASK", "VARIANT"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure, options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tinyface(folder)
        print(f"TinyFace: {PROBES} probes, {MATES} + {DISTRACTORS} gallery images, {DIMENSION} features")
        compare("tinyface", folder, options.rounds)
        write_pairs(folder)
        print(f"\nten-fold accuracy: {PAIRS} pairs")
        compare("ten-fold", folder, options.rounds)


if __name__ == "__main__":
    main()
