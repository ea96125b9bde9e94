"""Material of a report: from a plan and its products to the plain values that the reporting package shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from aroface.datasets.registry import REGISTRIES, Entry, read_all
from aroface.planning.config import DEFAULTS
from aroface.planning.data_sources import DataSource
from aroface.planning.forecast.costs import plan_costs
from aroface.planning.forecast.costs_text import headline, legend
from aroface.planning.paths import CLAIMS, SPECS
from aroface.planning.plan import Plan
from aroface.planning.products import Products, latest
from aroface.reporting.crate import Software
from aroface.reporting.html_report.dag import Step
from aroface.reporting.html_report.data import ReportedDataSet
from aroface.reporting.html_report.page import Material, Picture
from aroface.reporting.html_report.runs import ReportedRun
from aroface.reporting.records import RecordedExperiment
from aroface.reporting.tables.spec import Spec, read_spec


def report_material(products: Products, *, workflow: str, root: Path = Path()) -> Material:
    """Gather all that a report of a plan shows; nothing is read but registries, specifications and manifests' places.

    Args:
        products: Tables and figures, and the plan that they show.
        workflow: Command that makes the file whose name follows it.
        root: Folder of the repository.

    Raises:
        InputError: A registry or a specification is malformed.
    """
    plan = products.plan
    sources = tuple(read_spec(path) for path in sorted((root / SPECS).glob("*.yaml")))
    experiments = {run.experiment.key: run.experiment.described for run in plan.runs.values()}
    costs = plan_costs(plan, root=root)
    return Material(
        note=plan.values["note"],
        specs=tuple(_shown(products)),
        sources=sources,
        claims=root / CLAIMS,
        records=plan.results.records,
        results=plan.results.root,
        experiments=tuple(RecordedExperiment(**experiment) for experiment in experiments.values()),
        labels=plan.labels,
        runs=tuple(_runs(plan)),
        data=tuple(_data(plan, read_all(root / REGISTRIES))),
        pictures=tuple(Picture(path.stem, latest(path).with_suffix("")) for path in products.picture_files),
        document=next(iter(products.document_files), None),
        steps=tuple(_steps(products)),
        missing=tuple(plan.missing()),
        costs=(headline(costs), *legend(costs)) if costs.unfinished else (),
        workflow=workflow,
    )


def software(files: Sequence[Path], version: str, *, root: Path = Path()) -> Software:
    """The workflow as a crate names it.

    Args:
        files: Files of the configuration.
        version: Version of this package.
        root: Folder of the repository.
    """
    rules = sorted((root / "workflow" / "rules").glob("*.smk"))
    parts = tuple(dict.fromkeys([*rules, root / DEFAULTS, *files]))
    return Software(root / "Snakefile", parts, root / "CITATION.cff", root, version)


def _shown(products: Products) -> Iterator[Spec]:
    """The configuration's tables, and the authors' that none of them repeats: what the document consists of."""
    yield from products.tables.values()
    repeated = {spec.path for spec in products.tables.values()}
    yield from (spec for spec in products.reported.values() if spec.path not in repeated)


def _runs(plan: Plan) -> Iterator[ReportedRun]:
    for run in plan.runs.values():
        benchmarks = tuple(
            benchmark.name for benchmark in plan.benchmarks.values() if benchmark.evaluates(run.experiment)
        )
        yield ReportedRun(
            run.name,
            run.entry(),
            plan.results.run(run.name).path,
            plan.recipe_file(run.name),
            benchmarks,
            run.experiment.variant if run.experiment.label else "",
        )


def _data(plan: Plan, entries: dict[str, Entry]) -> Iterator[ReportedDataSet]:
    trained = {run.source.name: run.source for run in plan.runs.values() if run.source.kind != "checkpoint"}
    evaluated = {benchmark.source.name: benchmark.source for benchmark in plan.benchmarks.values()}
    for purpose, sources in (("training", trained), ("evaluation", evaluated)):
        for source in sources.values():
            yield _described(source, purpose, entries.get(source.name) if source.received else None)


def _described(source: DataSource, purpose: str, entry: Entry | None) -> ReportedDataSet:
    described = (source.name, source.label, source.kind, source.manifest_hash, source.manifest, purpose)
    if entry is None:
        return ReportedDataSet(*described, missing=source.missing)
    return ReportedDataSet(*described, entry.licence, entry.provider, entry.request, entry.citation, source.missing)


def _steps(products: Products) -> Iterator[Step]:
    """The rules of the workflow, those of one kind as one."""
    plan = products.plan
    made = []
    for verb in dict.fromkeys(making.verb for making in plan.sources.makings):
        files = [path for making in plan.sources.makings if making.verb == verb for path in making.manifests]
        made.append(Step(f"{verb} data", tuple(files)))
    if plan.sources.received:
        made.append(Step("verify data", tuple(source.manifest for source in plan.sources.received)))
    yield from made
    checkpoints = [(run, plan.results.run(run.name).checkpoint) for run in plan.runs.values()]
    trained = tuple(path for run, path in checkpoints if run.experiment.released is None)
    imported = tuple(path for run, path in checkpoints if run.experiment.released is not None)
    weights = [Step("train", trained, tuple(step.name for step in made))] if trained else []
    weights += [Step("import_released", imported)] if imported else []
    yield from weights
    pairs = [
        (run.name, benchmark.name)
        for run in plan.runs.values()
        for benchmark in plan.benchmarks.values()
        if benchmark.evaluates(run.experiment)
    ]
    records = [plan.results.record(run, name) for run, name in pairs]
    features = [plan.results.features(run, name).index for run, name in pairs]
    # Features may be deleted once they are evaluated.
    embedded = tuple(b if b.exists() else a for a, b in zip(features, records, strict=True))
    yield Step("embed", embedded, (*(step.name for step in weights), *(step.name for step in made)))
    yield Step("evaluate", tuple(records), ("embed",))
    yield from _reporting_steps(products)


def _reporting_steps(products: Products) -> Iterator[Step]:
    tables, pictures = tuple(products.table_files), tuple(products.picture_files)
    shown = [*([Step("tables", tables, ("evaluate",))] if tables else [])]
    shown += [Step("figures", pictures, ("evaluate",))] if pictures else []
    yield from shown
    names = tuple(step.name for step in shown) or ("evaluate",)
    if products.document_files:
        yield Step("document", tuple(products.document_files), names)
    yield Step("report", after=names)
