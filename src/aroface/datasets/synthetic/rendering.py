"""Synthetic faces drawn by many processes, as JPEGs, in order; the bytes do not depend on how many processes drew."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aroface.datasets.degradation import Integers, Treatment
from aroface.datasets.images import encode_jpeg
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.faces.synthetic import Identities, render, sample_nuisances

_CHUNK = 64  # images that share a random stream: another number gives other images
_WORTHWHILE = 1000  # images that take longer than the start of a process

Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class RenderingPlan:
    """Images to draw, one a row.

    Attributes:
        people: People of the set.
        rows: Person on each image, an index into ``people``, int64 (N,).
        treated: Flags of the images that are degraded, bool (N,).
        treatment: Degradation of these images.
        difficulty: Difficulty of the circumstances.
        jpeg_quality: JPEG quality of the result.
        stream: Key of the random stream, to which chunk numbers are appended.
    """

    people: Identities
    rows: Integers
    treated: npt.NDArray[np.bool_]
    treatment: Treatment
    difficulty: float
    jpeg_quality: int
    stream: tuple[int, ...]


def draw(plan: RenderingPlan, workers: int | None = None) -> Iterator[bytes]:
    """Draw the JPEGs of a plan, in its order, while they are taken.

    Args:
        plan: Images to draw.
        workers: Number of processes; by default one a core, but no more than have enough to do.
    """
    return draw_by(_draw_chunk, plan, workers)


def draw_by(
    draw_chunk: Callable[[RenderingPlan], list[Drawn]], plan: RenderingPlan, workers: int | None = None
) -> Iterator[Drawn]:
    """Results of ``draw_chunk`` for a plan, in its order, made while they are taken.

    Args:
        draw_chunk: Function from a part of the plan, with its own people and random stream, to one result a row;
            processes must be able to import it.
        plan: Images to draw.
        workers: Number of processes, as for `draw`.
    """
    chunks = _chunks(plan)
    wanted = min(os.cpu_count() or 1, len(plan.rows) // _WORTHWHILE) if workers is None else workers
    count = min(wanted, -(-len(plan.rows) // _CHUNK))
    if count <= 1:
        return chain.from_iterable(map(draw_chunk, chunks))
    return chain.from_iterable(_in_processes(draw_chunk, chunks, count))


def _chunks(plan: RenderingPlan) -> Iterator[RenderingPlan]:
    """The plan in parts, each with its own people and its own random stream."""
    for number, begin in enumerate(range(0, len(plan.rows), _CHUNK)):
        chunk = slice(begin, begin + _CHUNK)
        rows = plan.rows[chunk]
        yield dataclasses.replace(
            plan,
            people=plan.people[rows],
            rows=np.arange(len(rows)),
            treated=plan.treated[chunk],
            stream=(*plan.stream, number),
        )


def _in_processes(
    draw_chunk: Callable[[RenderingPlan], list[Drawn]], chunks: Iterable[RenderingPlan], workers: int
) -> Iterator[list[Drawn]]:
    """Results in order, with no more chunks begun than keep all workers busy."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        pending: deque[Future[list[Drawn]]] = deque()
        try:
            for chunk in chunks:
                pending.append(pool.submit(draw_chunk, chunk))
                if len(pending) >= 3 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _draw_chunk(plan: RenderingPlan) -> list[bytes]:
    # The circumstances come first in the stream: sets that differ in their treatment only show the same scenes.
    rng = np.random.default_rng(plan.stream)
    count = len(plan.rows)
    nuisances = sample_nuisances(count, rng, plan.difficulty)
    resolutions = np.where(plan.treated, plan.treatment.resolutions(count, rng), TEMPLATE_SIZE)
    errors = plan.treatment.errors(resolutions, rng)
    matrices = np.where(plan.treated[:, None, None], errors, np.eye(2, 3))
    # The threads of BLAS change the last bits of its sums, and on such small products they only wait for each other.
    with threadpool_limits(1, user_api="blas"):
        images, _ = render(plan.people[plan.rows], nuisances, matrices=matrices)
    plan.treatment.degrade(images, resolutions, rng)
    return [encode_jpeg(image, plan.jpeg_quality) for image in images]
