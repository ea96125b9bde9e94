"""Synthetic faces that one core renders and degrades in a second, and the memory that this takes.

``python performance/renderer.py`` prints JSON; everything runs on one thread. Rates are the median over the repeats of
images per second of CPU time; memory is the peak of what numpy allocates, less the images themselves.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from aroface.faces.degrade import downsample, surveillance
from aroface.faces.synthetic import render, sample_identities, sample_nuisances

BATCHES = (64, 512, 4096)


def rate(work: Callable[[], object], images: int, repeats: int) -> float:
    """Median images per second of CPU time."""
    work()
    rates = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        rates.append(images / (time.process_time() - start))
    return round(statistics.median(rates), 1)


def extra_memory(batch: int) -> float:
    """Peak MiB that rendering ``batch`` faces allocates beside the images it returns."""
    identities, nuisances = sample_identities(batch, 0), sample_nuisances(batch, np.random.default_rng(0))
    tracemalloc.start()
    images, _ = render(identities, nuisances)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round((peak - images.nbytes) / 2**20, 1)


@threadpool_limits.wrap(limits=1)
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    identities = sample_identities(options.images, 0)
    nuisances = sample_nuisances(options.images, np.random.default_rng(0))
    images, _ = render(identities, nuisances)
    resolution = np.random.default_rng(0).integers(14, 25, options.images)
    count, repeats = options.images, options.repeats
    report = {
        "images": count,
        "repeats": repeats,
        "render_per_s": rate(lambda: render(identities, nuisances), count, repeats),
        "identities_per_s": rate(lambda: sample_identities(20_000, 0), 20_000, repeats),
        "surveillance_per_s": rate(lambda: surveillance(images, resolution, np.random.default_rng(0)), count, repeats),
        "downsample_per_s": rate(lambda: downsample(images, resolution), count, repeats),
        "render_extra_mib_by_batch": {batch: extra_memory(batch) for batch in BATCHES},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
