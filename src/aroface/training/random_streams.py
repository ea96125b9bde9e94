"""Random streams of a training: one for each purpose, step, process and micro-batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aroface.files import derive_seed


@dataclass(frozen=True, slots=True)
class RandomStreams:
    """Independent random streams, each a pure function of its purpose: nothing to save, nothing to restore.

    No stream depends on how much another has drawn. The purposes are hashed into the seeds: another word is another
    training.

    Attributes:
        seed: Seed of the run.
        rank: Rank of this process.
        device: Default device of the generators.
    """

    seed: int
    rank: int = 0
    device: torch.device | str = "cpu"

    def common_seed(self, purpose: str) -> int:
        """Return the seed of a draw that precedes all steps and is the same on every process."""
        return derive_seed(self.seed, purpose)

    def step_seed(self, purpose: str, step: int, micro_batch: int = 0) -> int:
        """Return the seed of a draw on this process.

        Args:
            purpose: Name of the draw.
            step: Number of the step, from 0.
            micro_batch: Number of the micro-batch within the step, from 0.
        """
        # Rank 0's first micro-batch adds nothing: the seeds from before there were others stay as they were.
        position = [self.rank, micro_batch] if self.rank or micro_batch else []
        return derive_seed(self.seed, purpose, step, *position)

    def generator(
        self, purpose: str, step: int, micro_batch: int = 0, *, device: torch.device | str | None = None
    ) -> torch.Generator:
        """Make a generator with :meth:`step_seed`, on another ``device`` than :attr:`device` if one is given."""
        return torch.Generator(device or self.device).manual_seed(self.step_seed(purpose, step, micro_batch))
