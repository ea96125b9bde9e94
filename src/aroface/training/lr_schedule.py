"""Learning rate and adversary strength as pure functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

from aroface.training.recipe import LearningRateSchedule

REFERENCE_LR, REFERENCE_BATCH = 0.1, 1024


def linear_scaling(batch_size: int) -> float:
    """Return the learning rate that ARoFace's authors recommend for a total batch: 0.1 · batch / 1024."""
    return REFERENCE_LR * batch_size / REFERENCE_BATCH


def learning_rate(schedule: LearningRateSchedule, base: float, step: int, steps: int, steps_per_epoch: int) -> float:
    """Return the learning rate of step ``step`` (from 0) out of ``steps``.

    ``polynomial`` falls from ``base`` to 0 over the steps after the warm-up (insightface arcface_torch's
    ``PolyScheduler``); ``step`` multiplies by ``factor`` at each milestone epoch (AdaFace's recipe).
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return base * (step + 1) / warmup
    if schedule.kind == "polynomial":
        return float(base * (1 - (step - warmup) / max(1, steps - warmup)) ** schedule.power)
    passed = sum(step >= milestone * steps_per_epoch for milestone in schedule.milestones)
    return float(base * schedule.factor**passed)


def adversary_strength(warmup_epochs: float, step: int, steps_per_epoch: int) -> float:
    """Return the multiplier in [0, 1] of the adversary's displacements: linear over ``warmup_epochs``, then 1."""
    warmup = warmup_epochs * steps_per_epoch
    return 1.0 if step >= warmup else step / warmup
