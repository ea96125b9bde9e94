"""How a training is carried out, as against what is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from aroface.datasets.corrupt_images import OnCorrupt
from aroface.errors import InputError

Validate = Callable[[nn.Module], dict[str, float]]
"""From the backbone, in evaluation mode, to accuracies and the like, larger being better, by name."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal asked the training to stop; its state is saved."""


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """How a training is carried out; it decides the order of floating-point sums at most, and what batch norm sees.

    Attributes:
        device: ``cpu`` or ``cuda``.
        save_every: steps between two saved states.
        keep: saved states that stay.
        log_every: steps between two lines of the log.
        sheet_every: steps between two contact sheets of clean and warped images.
        check_every: steps between two comparisons of the processes' weights.
        validate_every: epochs between two validations.
        micro_batch: most images of one forward pass on a device, whose gradients then add up; None for all. Batch norm
            and the adversary see one part at a time.
        compile: whether ``torch.compile`` makes the backbone faster.
        checkpoint_activations: whether residual blocks are computed again for the gradient instead of remembered: half
            the memory and a third more arithmetic.
        loader_threads: threads that decode images.
        reader: of the records, see `TrainingSet.open`.
        on_corrupt: what to do about an image that cannot be used, see `BatchLoader`.
        max_corrupt_fraction: of images that may be skipped.

    Raises:
        InputError: options that exclude each other.
    """

    device: str = "cpu"
    save_every: int = 500
    keep: int = 2
    log_every: int = 50
    sheet_every: int = 5000
    check_every: int = 500
    validate_every: int = 1
    micro_batch: int | None = None
    compile: bool = False
    checkpoint_activations: bool = False
    loader_threads: int = 2
    reader: Literal["native", "mxnet"] = "native"
    on_corrupt: OnCorrupt = "error"
    max_corrupt_fraction: float = 0.001

    def __post_init__(self) -> None:
        if self.compile and self.checkpoint_activations:
            raise InputError(
                "compile and checkpoint_activations together",
                expected="one of them",
                remedy="torch.compile cannot follow a recomputation that leaves batch norm's statistics alone",
            )
