"""Content of a deposit: all files of a plan that hold no image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aroface.planning.products import Products
from aroface.planning.report_material import report_material, software
from aroface.reporting.deposit import DepositContent, chosen_weights
from aroface.results import PROGRAM


def deposit_content(
    products: Products,
    files: Sequence[Path],
    version: str,
    *,
    workflow: str,
    weights: Iterable[str] = (),
    root: Path = Path(),
) -> DepositContent:
    """Gather what a deposit of a plan holds.

    Args:
        products: Tables and figures, and the plan that they show.
        files: Files of the configuration.
        version: Version of this package.
        workflow: Command that makes the file whose name follows it.
        weights: Names of the runs whose weights go along, or ``all``.
        root: Folder of the repository.

    Raises:
        InputError: A run is unknown or not finished, or a registry or specification is malformed.
    """
    plan = products.plan
    finished = [name for name in plan.runs if plan.results.run(name).checkpoint.exists()]
    chosen = chosen_weights(weights, finished)
    beside = {plan.results.run(run).path / PROGRAM: f"Program of {run}, without its weights" for run in sorted(chosen)}
    return DepositContent(
        report_material(products, workflow=workflow, root=root),
        software(files, version, root=root),
        {**dict(_further(products)), **beside},
        chosen,
    )


def _further(products: Products) -> Iterator[tuple[Path, str]]:
    """Files that the crate of the results does not name, with what they are."""
    plan = products.plan
    yield plan.runs_file, "List of the runs"
    for source in plan.sources.received:
        yield plan.results.known_hash(source.name), f"Hash of {source.label}"
    for making in plan.sources.makings:
        yield making.spec_file, f"Specification of {making.name}"
    for benchmark in plan.benchmarks.values():
        yield benchmark.file, f"Specification of the benchmark {benchmark.name}"
    for run in plan.runs:
        yield plan.results.run(run).history, f"Course of the training of {run}"
    for path in products.verdict_files:
        yield path, "Comparison with what the authors report"
