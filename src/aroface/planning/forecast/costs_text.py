"""The costs of a plan in words: a table for people, JSON for machines, a line for the start of a workflow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from aroface.humanize import bytes_text, hours_text, number_text, plural
from aroface.planning.forecast.costs import USABLE, Costs, Training, scaling_differs
from aroface.training.lr_schedule import linear_scaling

_ROOM = 160  # characters; the table takes what it needs of them, about 120, and no line of it is cut

_UNKNOWN = "–"
_LEGEND = {
    "rate": "rate: from images/s measured on such a device (throughput.yaml), times the adversary's factor",
    "estimate": "estimate: from multiply-adds and an assumed speed (throughput.yaml), times the adversary's factor",
    "measured": "measured: what the finished runs took",
}


def print_table(costs: Costs) -> None:
    """Print what every experiment costs, the totals and what is to be noted."""
    console = Console(highlight=False)
    console = Console(width=max(console.width, _ROOM), highlight=False)
    if not costs.trainings:
        console.print("nothing is trained: all weights are released ones")
        return
    for line in _table(costs), *legend(costs), *notes(costs), headline(costs):
        console.print(line, soft_wrap=isinstance(line, str), markup=False)


def _table(costs: Costs) -> Table:
    """A row for each experiment, and the totals."""
    device = "GPU" if costs.device.is_gpu else "CPU"
    hours, runs = sum(training.total_hours for training in costs.trainings), len(_runs(costs))
    columns = {
        "experiment": "total",
        "done": f"{runs - len(costs.unfinished)}/{runs}",
        "epochs × images": "",
        "images": _images(costs),
        "steps": "",
        "images/s": "",
        "a run": "",
        f"{device} time": hours_text(hours),
        "basis": "",
        "memory": "",
        "disk": bytes_text(costs.disk),
    }
    drawn = Table(box=SIMPLE_HEAD, show_footer=True, show_edge=False, pad_edge=False, collapse_padding=True)
    for name, footer in columns.items():
        drawn.add_column(name, footer, justify="left" if name in ("experiment", "basis") else "right", no_wrap=True)
    for training in costs.trainings:
        drawn.add_row(*_row(costs, training))
    return drawn


def legend(costs: Costs) -> list[str]:
    """Explanations of the words in the column ``basis``, of those that occur."""
    origins = {word for training in costs.trainings for word in _origins(training)}
    return [line for word, line in _LEGEND.items() if word in origins]


def notes(costs: Costs) -> list[str]:
    """Notes beside the numbers: insufficient memory, learning rates, benchmarks that are not counted."""
    return [*_memory_notes(costs), *_rate_notes(costs), *_unknown_notes(costs)]


def headline(costs: Costs, runs: Iterable[str] | None = None) -> str:
    """One line: what ``runs``, by default all that are unfinished, cost."""
    chosen = costs.unfinished if runs is None else list(runs)
    if not chosen:
        return "nothing to train: all runs are finished"
    by_run = costs.training_of
    unknown = sum(by_run[run].hours is None for run in chosen)
    disk = sum(by_run[run].disk / len(by_run[run].runs) for run in chosen)
    hours = costs.hours_of(chosen)
    amount = f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}"
    amount = f"{amount} GPU-hours" if costs.device.is_gpu else f"{hours_text(hours)} of CPU time"
    some = f", without {unknown} whose images are not counted yet" if unknown else ""
    return (
        f"to train: {plural(len(chosen), 'run')} on {_device(costs)}: about {amount}{some}, the longest "
        f"{hours_text(costs.longest(chosen))}; {bytes_text(disk)} of disk"
    )


def as_json(costs: Costs, missing: Iterable[str]) -> dict[str, Any]:
    """All numbers, without rounding: hours are of devices unless they say wall, sizes are bytes."""
    device = costs.device
    return {
        "device": {
            "type": device.key,
            "assumed": device.assumed,
            "count": max(_device_counts(costs), default=0),
            "memory": device.memory,
        },
        "experiments": [_entry(training) for training in costs.trainings],
        "totals": {
            "runs": len(_runs(costs)),
            "unfinished": len(costs.unfinished),
            "device_hours_to_do": costs.hours_of(costs.unfinished),
            "device_hours_done": costs.hours_done,
            "longest_wall_hours": costs.longest(costs.unfinished),
            "disk": costs.disk,
        },
        "budget_gpu_hours": costs.budget,
        "over_budget": costs.over_budget(costs.unfinished),
        "uncounted_benchmarks": list(costs.uncounted),
        "missing": list(missing),
    }


def _known(text_of: Callable[[Any], str], value: float | None) -> str:
    """Text of a value; a dash where it is unknown."""
    return _UNKNOWN if value is None else text_of(value)


def _row(costs: Costs, each: Training) -> tuple[str, ...]:
    recipe, device = each.recipe, costs.device
    whole = None if each.images is None else recipe["epochs"] * each.images
    finished = len(each.done) == len(each.runs)
    per_s = whole / each.total_hours * len(each.runs) / 3600 if finished and whole and each.total_hours else None
    rate = _UNKNOWN if each.images_per_s is None else f"{per_s or each.images_per_s:,.0f}"
    tight = each.memory is not None and device.memory is not None and each.memory > device.memory
    return (
        " ".join(each.experiment.key),
        f"{len(each.done)}/{len(each.runs)}",
        f"{recipe['epochs']} × {_known(number_text, each.images)}",
        _known(number_text, whole),
        _known("{:,}".format, each.steps),
        rate,
        _known(hours_text, _mean_hours(each) / each.devices if finished else each.wall_hours),
        _known(hours_text, None if each.hours is None and not each.done else each.total_hours),
        " + ".join(_origins(each)) or _UNKNOWN,
        f"{'! ' if tight else ''}{_known(bytes_text, each.memory)}",
        _known(bytes_text, each.disk),
    )


def _origins(each: Training) -> list[str]:
    """Origins of the hours of an experiment, for the column ``basis``."""
    origins = ["measured"] if each.done else []
    if len(each.done) < len(each.runs) and each.hours is not None:
        origins.append("rate" if each.measured else "estimate")
    return origins


def _mean_hours(each: Training) -> float:
    return each.total_hours / len(each.runs)


def _runs(costs: Costs) -> list[str]:
    return [run for training in costs.trainings for run in training.runs]


def _images(costs: Costs) -> str:
    """Images of all runs of all experiments."""
    return number_text(
        sum(len(training.runs) * training.recipe["epochs"] * (training.images or 0) for training in costs.trainings)
    )


def _device(costs: Costs) -> str:
    device = costs.device
    if not device.is_gpu:
        threads = {training.recipe["cpu_threads"] for training in costs.trainings}
        return f"the CPU ({plural(threads.pop(), 'thread')} each)" if len(threads) == 1 else "the CPU"
    counts = " or ".join(map(str, _device_counts(costs)))
    return f"{counts} × {device.label} each{' (assumed: training.gpu_type is not set)' if device.assumed else ''}"


def _device_counts(costs: Costs) -> list[int]:
    """Numbers of devices that trainings have, each once."""
    return sorted({training.devices for training in costs.trainings})


def _memory_notes(costs: Costs) -> Iterator[str]:
    device = costs.device
    needed: dict[int | None, list[Training]] = {}
    for training in costs.trainings:
        if device.memory is not None and training.memory is not None and training.memory > device.memory:
            needed.setdefault(training.fits_on, []).append(training)
    for number, trainings in needed.items():
        room = f"{100 * USABLE:g} % of the GPU's {bytes_text(device.memory / USABLE)}" if device.memory else ""
        note = f"! memory: {plural(len(trainings), 'experiment')} above {room}"
        enough = f"{number} GPUs a training are enough" if number else "64 GPUs a training are not enough"
        yield f"{note}; {enough} (resources: {{train: {{gpus: …}}}})"


def _rate_notes(costs: Costs) -> Iterator[str]:
    differing = {
        (training.recipe["optimiser"]["lr"], training.recipe["batch_size"]): None
        for training in costs.trainings
        if scaling_differs(training.recipe)
    }
    if not differing:
        rates = {training.recipe["optimiser"]["lr"]: training.recipe["batch_size"] for training in costs.trainings}
        yield (
            "learning rate: "
            + ", ".join(f"{lr:g} at batch {batch:,}" for lr, batch in rates.items())
            + " = 0.1 · batch / 1024"
        )
    for lr, batch in differing:
        yield f"learning rate: {lr:g} at batch {batch:,}, where 0.1 · batch / 1024 = {linear_scaling(batch):g}"


def _unknown_notes(costs: Costs) -> Iterator[str]:
    unknown = sum(training.images is None for training in costs.trainings)
    if unknown:
        yield f"not counted: {plural(unknown, 'experiment')} whose training set is still to be made"
    if costs.uncounted:
        yield f"not counted: features of {', '.join(costs.uncounted)}, whose images nobody has counted yet"


def _entry(each: Training) -> dict[str, Any]:
    recipe = each.recipe
    runs = {run: {"finished": hours is not None, "device_hours": hours} for run, hours in each.runs.items()}
    return {
        **each.experiment.described,
        "runs": runs,
        "epochs": recipe["epochs"],
        "images_per_epoch": each.images,
        "images": None if each.images is None else recipe["epochs"] * each.images,
        "steps": each.steps,
        "batch_size": recipe["batch_size"],
        "lr": recipe["optimiser"]["lr"],
        "lr_linear_scaling": linear_scaling(recipe["batch_size"]),
        "images_per_s_per_device": each.images_per_s,
        "basis": _origins(each),
        "device_hours_per_run": each.hours,
        "wall_hours_per_run": each.wall_hours,
        "devices_per_run": each.devices,
        "memory_per_device": each.memory,
        "fits_on": each.fits_on,
        "weights": each.weights,
        "state": each.state,
        "features": each.features,
        "records": each.records,
        "disk_of_all_runs": each.disk,
    }
