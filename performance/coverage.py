"""Coverage of every interval, size of every test and rate of every verdict that is printed, on models of known truth.

Each simulation of ``known_truth`` draws people, networks and seeds, and has the project's own functions measure them.
Monte Carlo standard errors stand beside the rates; ``!`` marks those out of their bounds by more than three of them. A
run that was ended goes on where it was; repetitions of other code or another seed are made anew.

    python performance/coverage.py --smoke                # ten minutes on two cores
    python performance/coverage.py                        # a night
    python performance/coverage.py --only IJB-like verdicts
    python performance/coverage.py --smoke --record       # writes what the documentation shows
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded: repetitions run side by side

from known_truth.record import RECORD, Kept, rng_of, write_record
from known_truth.registry import SIMULATIONS
from known_truth.rows import Observations, Row, Simulation, summarise
from known_truth.table import markdown

from aroface.progress import track


def repeated(name: str, seed: int, chunk: int, count: int) -> tuple[str, int, list[Observations]]:
    """Repetitions of one chunk."""
    simulation = SIMULATIONS[name]
    first = chunk * simulation.chunk
    return name, chunk, [simulation.repeat(rng_of(simulation, seed, first + number)) for number in range(count)]


def run(kept: Mapping[str, Kept], counts: Mapping[str, int], seed: int, processes: int | None, minutes: float) -> None:
    """Make what is missing, the chunks of all simulations in turn; begin none once the time is over."""
    ends = time.monotonic() + 60 * minutes
    missing = sorted(
        (chunk, name, size)
        for name, each in kept.items()
        for chunk, size in enumerate(sizes(counts[name], SIMULATIONS[name].chunk))
        if len(each.chunks().get(chunk, ())) < size
    )
    with ProcessPoolExecutor(processes) as pool:
        asked = [pool.submit(repeated, name, seed, chunk, size) for chunk, name, size in missing]
        for each in track(as_completed(asked), "chunks of repetitions", len(asked)):
            if each.cancelled():
                continue
            name, chunk, repetitions = each.result()
            kept[name].add(chunk, repetitions)
            if time.monotonic() > ends:
                pool.shutdown(wait=False, cancel_futures=True)


def sizes(count: int, chunk: int) -> list[int]:
    """Numbers of repetitions of each chunk."""
    whole, rest = divmod(count, chunk)
    return [chunk] * whole + [rest] * bool(rest)


def rows_of(simulation: Simulation, kept: Kept, count: int) -> list[Row]:
    """Rows of a simulation, of so many of its repetitions."""
    chunks = kept.chunks()
    repetitions = [each for chunk in sorted(chunks) for each in chunks[chunk]]
    return summarise(simulation, repetitions[:count])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few repetitions: Monte Carlo errors of 2 points")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(SIMULATIONS), help=", ".join(SIMULATIONS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin nothing after so long, and show what is there"
    )
    parser.add_argument("--state", type=Path, default=Path("results/coverage"), help="repetitions so far (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="record of this run")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}, which the documentation shows")
    arguments = parser.parse_args()
    if arguments.record and arguments.only:
        parser.error("--record is of all simulations")
    simulations = [SIMULATIONS[name] for name in arguments.only or SIMULATIONS]
    counts = {each.name: each.smoke if arguments.smoke else each.full for each in simulations}
    kept = {each.name: Kept(arguments.state, each, arguments.seed) for each in simulations}
    run(kept, counts, arguments.seed, arguments.processes, arguments.minutes)
    rows = [row for each in simulations for row in rows_of(each, kept[each.name], counts[each.name])]
    models = {each.name: each.model for each in simulations}
    print(markdown(rows, models))
    for path in [arguments.out] * bool(arguments.out) + [RECORD] * arguments.record:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, rows, models, seed=arguments.seed, mode="smoke" if arguments.smoke else "full")


if __name__ == "__main__":
    main()
