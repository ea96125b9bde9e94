"""Execution options: how a run is executed, not what it trains.

They affect results at most through the order of floating-point sums and the batches that batch norm sees. Command line
and workflow take names, defaults and help texts from here; nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from aroface.datasets.corrupt_images import OnCorrupt
from aroface.errors import InputError

if TYPE_CHECKING:
    from torch import nn

Validate = Callable[["nn.Module"], dict[str, float]]
"""From the backbone, in evaluation mode, to accuracies and the like, larger being better, by name."""

DEVICES, STATE_AND_LOG, READING = "devices", "state and log", "reading"
"""Groups of options in the help text."""

KEPT_STATES = 2
"""Number of saved states that are kept by default: the newest can be damaged."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Stop of a training on a signal; its state is saved."""


def _option(group: str, help_: str, metavar: str | None = None) -> dict[str, str | None]:
    return {"group": group, "help": help_, "metavar": metavar}


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """Options of a run's execution.

    A field's metadata holds its ``group``, ``help`` and ``metavar`` on the command line, where its name has dashes.

    Attributes:
        device: Device to compute on, ``cpu`` or ``cuda``.
        save_every: Number of steps between two saved states.
        keep: Number of saved states that are kept.
        log_every: Number of steps between two lines of the log.
        sheet_every: Number of steps between two contact sheets of clean and warped images.
        check_every: Number of steps between two comparisons of the processes' weights.
        validate_every: Number of epochs between two validations.
        micro_batch: Largest number of images of one forward pass on a device; larger shares of the batch use gradient
            accumulation, where batch norm and the adversary see one micro-batch at a time. None for no limit.
        compile: True if the backbone goes through ``torch.compile``.
        checkpoint_activations: True if residual blocks are recomputed in the backward pass: half the memory for a third
            more arithmetic.
        loader_threads: Number of threads that decode images.
        reader: Reader of the records, see `TrainingSet.open`.
        on_corrupt: Reaction to an image that cannot be used, see `BatchLoader`.
        max_corrupt_fraction: Largest share of images that may be skipped.

    Raises:
        InputError: Options that exclude each other.
    """

    device: str = "cpu"
    save_every: int = field(default=500, metadata=_option(STATE_AND_LOG, "between two saved states", "STEPS"))
    keep: int = field(default=KEPT_STATES, metadata=_option(STATE_AND_LOG, "number of saved states that are kept", "N"))
    log_every: int = field(default=50, metadata=_option(STATE_AND_LOG, "between two lines of the log", "STEPS"))
    sheet_every: int = field(default=5000, metadata=_option(STATE_AND_LOG, "between two contact sheets", "STEPS"))
    check_every: int = field(
        default=500,
        metadata=_option(STATE_AND_LOG, "between two comparisons of the processes' weights", "STEPS"),
    )
    validate_every: int = field(default=1, metadata=_option(STATE_AND_LOG, "between two validations", "EPOCHS"))
    micro_batch: int | None = field(
        default=None,
        metadata=_option(
            DEVICES,
            "largest number of images in one forward pass on a device; a larger share of the batch is split, "
            "with gradient accumulation (default: no limit)",
            "IMAGES",
        ),
    )
    compile: bool = field(default=False, metadata=_option(DEVICES, "compile the backbone with torch.compile"))
    checkpoint_activations: bool = field(
        default=False,
        metadata=_option(DEVICES, "recompute activations: half the memory for a third more arithmetic"),
    )
    loader_threads: int = field(default=2, metadata=_option(READING, "number of threads that decode images", "N"))
    reader: Literal["native", "mxnet"] = field(default="native", metadata=_option(READING, "reader of the records"))
    on_corrupt: OnCorrupt = field(
        default="error",
        metadata=_option(READING, "at an image that cannot be used: stop, or take the next one and list it"),
    )
    max_corrupt_fraction: float = field(
        default=0.001, metadata=_option(READING, "largest share of images that may be skipped", "SHARE")
    )

    def __post_init__(self) -> None:
        if self.compile and self.checkpoint_activations:
            raise InputError(
                "compile and checkpoint_activations together",
                expected="one of them",
                remedy="torch.compile cannot follow a recomputation that leaves batch norm's statistics alone",
            )


def option_string(name: str) -> str:
    """Return a field's name as the command line spells it: ``--save-every`` for ``save_every``."""
    return f"--{name.replace('_', '-')}"


def command_line(values: Mapping[str, Any]) -> list[str]:
    """Return the arguments of ``aroface train`` for the execution options among some values.

    Args:
        values: Values by name, those of other names left aside; a value of None or False is not passed on.
    """
    arguments: list[str] = []
    known = {option.name for option in fields(ExecutionOptions)}
    for name, value in values.items():
        if name in known and value is not None and value is not False:
            arguments += [option_string(name)] if value is True else [option_string(name), str(value)]
    return arguments
