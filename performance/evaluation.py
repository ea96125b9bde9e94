"""Evaluation against the usual scripts: IJB-C and TinyFace at their real sizes, and ten-fold accuracy of 6,000 pairs.

The usual IJB script (insightface's) pools template by template, fetches two features for each pair and sorts all
scores; the usual TinyFace script (AdaFace's, after Probabilistic Face Embeddings) keeps the whole matrix of scores and
sorts every row; the usual ten-fold accuracy (insightface's) loops over folds and thresholds. Both sides read the same
synthetic features and must find the same rates. Every measurement is a process of its own; rounds alternate between the
variants, and medians are printed. The task ``ijbc-intervals`` measures both protocols of IJB-C by the program alone,
with and without the metrics of the jackknife over people that the intervals rest on.

    python performance/evaluation.py [--rounds 2] [--tasks ijbc-1:1 ijbc-1:N ijbc-intervals tinyface ten-fold]
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from sklearn.metrics import roc_curve
from sklearn.preprocessing import normalize

from aroface.evaluation.metrics.identification import retrieve
from aroface.evaluation.metrics.open_set import Groups, rates, search
from aroface.evaluation.metrics.operating_curves import tar_far, tpir_fpir
from aroface.evaluation.metrics.operating_points import FARS
from aroface.evaluation.metrics.pair_scores import pair_scores
from aroface.evaluation.metrics.template_pooling import PooledTemplates, pool
from aroface.evaluation.metrics.verification import FOLDS, accuracy, fold_numbers, pair_distances
from aroface.evaluation.protocols.ijb import (
    TemplatePeople,
    measure_search,
    measure_verification,
    verification_metrics,
)
from aroface.evaluation.statistics.jackknife import groups_of

PROBES, MATES, DISTRACTORS, IDENTITIES = 3728, 4443, 153_428, 2569
PAIRS = 6000
GALLERIES, IJB_PROBES, IJB_IMAGES = (1772, 1759), 19_593, 469_375
IJB_GENUINE, IJB_PAIRS = 19_557, 15_658_489
DIMENSION = 512
RANKS = (1, 5, 20)
REPEATS = 20  # of the ten-fold accuracy, which is over in milliseconds
COSTS = {"seconds", "peak_mb"}
TOLERANCES = {"ijbc-1:1": 2 / IJB_GENUINE, "ijbc-1:N": 2 / IJB_PROBES}
"""The usual scripts compute these scores in float64, ours are in float32: at a threshold a pair may change sides."""

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


def write_ijbc(folder: Path) -> None:
    """Images of noisy templates, template by template; the pairs join templates of the galleries with all probes."""
    rng = np.random.default_rng(2)
    enrolled = sum(GALLERIES)
    subjects = np.concatenate([np.arange(enrolled), np.arange(IJB_PROBES) % enrolled])
    templates = np.sort(np.concatenate([np.arange(len(subjects)), rng.integers(len(subjects), size=rest(subjects))]))
    identities = rng.standard_normal((enrolled, DIMENSION), dtype=np.float32)
    noise = rng.uniform(1.2, 2.4, (len(subjects), 1)).astype(np.float32)
    noisy = identities[subjects] + noise * rng.standard_normal((len(subjects), DIMENSION), dtype=np.float32)
    features = open_memmap(folder / "images.npy", "w+", np.float32, (IJB_IMAGES, DIMENSION))
    for start in range(0, IJB_IMAGES, 20_000):
        block = noisy[templates[start : start + 20_000]]
        features[start : start + 20_000] = block + rng.standard_normal(block.shape, dtype=np.float32)
    features.flush()
    np.save(folder / "templates.npy", templates)
    np.save(folder / "media.npy", templates * 8 + rng.integers(8, size=IJB_IMAGES))
    np.save(folder / "scores.npy", rng.uniform(0.5, 1, IJB_IMAGES).astype(np.float32))
    np.save(folder / "subjects.npy", subjects)
    genuine = enrolled + np.arange(IJB_GENUINE)
    first, second = rng.integers(enrolled, size=IJB_PAIRS), enrolled + rng.integers(IJB_PROBES, size=IJB_PAIRS)
    first[subjects[second] == first] = (first[subjects[second] == first] + 1) % enrolled
    first[:IJB_GENUINE], second[:IJB_GENUINE] = subjects[genuine], genuine
    order = np.lexsort((second, first))
    np.save(folder / "pairs.npy", np.stack([first[order], second[order]], axis=1).astype(np.int32))
    np.save(folder / "labels.npy", order < IJB_GENUINE)


def rest(subjects: np.ndarray) -> int:
    """Images beyond the first one of each template."""
    return IJB_IMAGES - len(subjects)


def usual_templates(folder: Path, wanted: np.ndarray) -> np.ndarray:
    images, templates, media = (np.load(folder / f"{name}.npy") for name in ("images", "templates", "media"))
    images = images * np.load(folder / "scores.npy")[:, np.newaxis]
    pooled = np.zeros((len(wanted), images.shape[1]))
    for number, template in enumerate(wanted):
        rows = np.where(templates == template)[0]
        features, of = images[rows], media[rows]
        means = []
        for medium, count in zip(*np.unique(of, return_counts=True), strict=True):
            chosen = features[np.where(of == medium)[0]]
            means.append(chosen if count == 1 else np.mean(chosen, axis=0, keepdims=True))
        pooled[number] = np.sum(np.array(means), axis=0)
    return normalize(pooled)


def usual_ijbc_pairs(folder: Path) -> dict[str, float]:
    pairs, labels = np.load(folder / "pairs.npy"), np.load(folder / "labels.npy")
    unique = np.unique(np.load(folder / "templates.npy"))
    templates = usual_templates(folder, unique)
    row_of = np.zeros(max(unique) + 1, dtype=int)
    for number, template in enumerate(unique):
        row_of[template] = number
    scores = np.zeros(len(pairs))
    for start in range(0, len(pairs), 100_000):
        first, second = (templates[row_of[pairs[start : start + 100_000, side]]] for side in (0, 1))
        scores[start : start + 100_000] = np.sum(first * second, -1)
    fpr, tpr, _ = roc_curve(labels, scores)
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    nearest = {name: min(zip(abs(fpr - far), range(len(fpr)), strict=True))[1] for name, far in FARS.items()}
    return {f"tar_at_far_{name}": float(tpr[index]) for name, index in nearest.items()}


def our_ijbc_pairs(folder: Path) -> dict[str, float]:
    templates = our_templates(folder)
    pairs, labels = np.load(folder / "pairs.npy"), np.load(folder / "labels.npy")
    scores = pair_scores(templates.vectors, templates.rows(pairs[:, 0]), templates.rows(pairs[:, 1]))
    return verification_metrics(scores, labels)


def our_templates(folder: Path) -> PooledTemplates:
    images = np.load(folder / "images.npy", mmap_mode="r")
    lists = [np.load(folder / f"{name}.npy") for name in ("templates", "media", "scores")]
    return pool(images, *lists, norm_weighting=True)


def usual_ijbc_search(folder: Path) -> dict[str, float]:
    subjects, enrolled = np.load(folder / "subjects.npy"), sum(GALLERIES)
    templates = usual_templates(folder, np.arange(enrolled + IJB_PROBES))
    gallery, probes = templates[:enrolled], templates[enrolled:]
    mates = [int(np.where(subjects[:enrolled] == one)[0][0]) for one in subjects[enrolled:]]
    similarity = np.dot(probes, gallery.T)
    order = np.argsort(-similarity)
    metrics = {
        f"rank{rank}": sum(mate in row[:rank] for mate, row in zip(mates, order, strict=True)) / len(probes)
        for rank in (1, 5, 10)
    }
    genuine = []
    for row, mate in enumerate(mates):
        genuine.append(similarity[row, mate])
        similarity[row, mate] = -2
    wanted = {name: math.ceil(len(probes) * fpir) for name, fpir in (("1e-2", 0.01), ("1e-1", 0.1))}
    best = heapq.nlargest(max(wanted.values()), similarity[np.where(similarity > -2)])
    for name, number in wanted.items():
        metrics[f"tpir_legacy_at_fpir_{name}"] = float(np.sum(np.array(genuine) > best[number - 1]) / len(probes))
    return metrics


def our_ijbc_search(folder: Path) -> dict[str, float]:
    subjects, (one, other) = np.load(folder / "subjects.npy"), GALLERIES
    spans = [slice(0, one), slice(one, one + other), slice(one + other, None)]
    vectors = our_templates(folder).vectors
    first, second, probes = ((vectors[span], subjects[span]) for span in spans)
    return rates(search(*probes, [first, second]))


def ijbc_evaluation(folder: Path, *, intervals: bool) -> dict[str, float]:
    """Both protocols of IJB-C as a record has them, with or without what their intervals rest on."""
    subjects, templates = np.load(folder / "subjects.npy"), our_templates(folder)
    pairs, labels = np.load(folder / "pairs.npy"), np.load(folder / "labels.npy")
    first, second = templates.rows(pairs[:, 0]), templates.rows(pairs[:, 1])
    scores = pair_scores(templates.vectors, first, second)
    curve, (one, other) = tar_far(scores[labels], scores[~labels]), GALLERIES
    spans = [slice(0, one), slice(one, one + other), slice(one + other, None)]
    *galleries, (probes, people) = ((templates.vectors[span], subjects[span]) for span in spans)
    units = sum(GALLERIES)
    groups = groups_of(np.arange(units) >= one)[subjects]
    if not intervals:
        results = search(probes, people, galleries)
        metrics = verification_metrics(scores, labels) | rates(results)
    else:
        known = TemplatePeople(subjects, groups.astype(np.uint8), units)
        results = search(probes, people, galleries, groups=Groups(groups[spans[2]], groups[: one + other]))
        measured = [measure_verification(scores, first, second, labels, known), measure_search(results, people, units)]
        metrics = {name: value for each in measured for name, value in each.values.items()}
        assert all(low <= metrics[name] <= high for each in measured for name, (low, high) in each.intervals().items())
    tpir_fpir(results)
    return {name: value for name, value in metrics.items() if name in ("tar_at_far_1e-4", "rank1")} | {
        "curve": float(curve["tar"][-1])
    }


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
    retrieval = retrieve(
        np.load(folder / "probes.npy"),
        np.load(folder / "probe_labels.npy"),
        np.load(folder / "gallery.npy", mmap_mode="r"),
        np.load(folder / "gallery_labels.npy"),
    )
    rates = {f"rank{rank}": float((retrieval.ranks <= rank).mean()) for rank in RANKS}
    return {**rates, "map": float(retrieval.average_precision.mean())}


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


WHOLE: dict[str, dict[str, Callable[[Path], dict[str, float]]]] = {
    "ijbc-1:1": {"usual": usual_ijbc_pairs, "ours": our_ijbc_pairs},
    "ijbc-1:N": {"usual": usual_ijbc_search, "ours": our_ijbc_search},
    "ijbc-intervals": {
        "usual": partial(ijbc_evaluation, intervals=True),
        "ours": partial(ijbc_evaluation, intervals=False),
    },
    "tinyface": {"usual": usual_tinyface, "ours": our_tinyface},
}


def measure(task: str, variant: str, folder: Path) -> Measurement:
    """Results, the seconds that they took, and this process's peak memory in MB."""
    if task in WHOLE:
        started = time.perf_counter()
        results = WHOLE[task][variant](folder)
        seconds = time.perf_counter() - started
    else:
        same = np.load(folder / "same.npy")
        distances = pair_distances(np.load(folder / "first.npy"), np.load(folder / "second.npy"))
        ten_fold = {"usual": usual_ten_fold, "ours": our_ten_fold}[variant]
        started = time.perf_counter()
        for _ in range(REPEATS):
            results = {"accuracy": ten_fold(distances, same)}
        seconds = (time.perf_counter() - started) / REPEATS
    return {**results, "seconds": seconds, "peak_mb": peak_bytes() / 1e6}


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
        assert abs(usual[name] - ours[name]) <= TOLERANCES.get(task, 1e-9), f"{name}: {usual[name]} and {ours[name]}"
    names = {"usual": "with", "ours": "without"} if task == "ijbc-intervals" else {}
    print(f"{'variant':>8} {'seconds':>9} {'peak MB':>8}  found")
    for variant, row in middle.items():
        metrics = " ".join(f"{name} {row[name]:.4f}" for name in row if name not in COSTS)
        print(f"{names.get(variant, variant):>8} {row['seconds']:9.4f} {row['peak_mb']:8.0f}  {metrics}")
    ratios = [usual[name] / ours[name] for name in ("seconds", "peak_mb")]
    print(f"{'ratio':>8} {ratios[0]:8.1f}x {ratios[1]:7.1f}x")


TASKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "ijbc-1:1": (write_ijbc, f"{IJB_IMAGES} images, {IJB_PAIRS} pairs of templates, {DIMENSION} features"),
    "ijbc-1:N": (write_ijbc, f"{IJB_IMAGES} images, {IJB_PROBES} probes, {sum(GALLERIES)} templates in the galleries"),
    "ijbc-intervals": (write_ijbc, f"{IJB_PAIRS} pairs and {IJB_PROBES} probes with intervals, and without"),
    "tinyface": (write_tinyface, f"{PROBES} probes, {MATES} + {DISTRACTORS} gallery images, {DIMENSION} features"),
    "ten-fold": (write_pairs, f"accuracy of {PAIRS} pairs"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--measure", nargs=2, metavar=("TASK", "VARIANT"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure, options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        written = None
        for task in options.tasks:
            write, title = TASKS[task]
            if write is not written:
                write(Path(name))
                written = write
            print(f"\n{task}: {title}", flush=True)
            compare(task, Path(name), options.rounds)


if __name__ == "__main__":
    main()
