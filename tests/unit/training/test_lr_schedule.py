import pytest

from aroface.training.lr_schedule import adversary_strength, learning_rate, linear_scaling
from aroface.training.recipe import LearningRateSchedule

PER_EPOCH = 10


def test_polynomial_falls_linearly_to_zero_after_the_last_step():
    schedule = LearningRateSchedule("polynomial")
    rates = [learning_rate(schedule, 0.2, step, 40, PER_EPOCH) for step in range(41)]
    assert rates[0] == 0.2
    assert rates[20] == pytest.approx(0.1)
    assert rates[40] == 0


def test_polynomial_power_and_warmup():
    schedule = LearningRateSchedule("polynomial", power=2, warmup_epochs=1)
    rates = [learning_rate(schedule, 1.0, step, 30, PER_EPOCH) for step in range(30)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[20] == pytest.approx(0.25)


def test_step_divides_at_each_milestone_as_adaface_does():
    schedule = LearningRateSchedule("step", milestones=(12, 20, 24), factor=0.1)
    steps = 26 * PER_EPOCH
    rates = [learning_rate(schedule, 0.1, epoch * PER_EPOCH, steps, PER_EPOCH) for epoch in (0, 11, 12, 19, 20, 24, 25)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.0001, 0.0001])


def test_strength_rises_linearly_then_stays():
    assert [adversary_strength(2, step, PER_EPOCH) for step in (0, 10, 20, 30)] == [0, 0.5, 1, 1]
    assert adversary_strength(0, 0, PER_EPOCH) == 1


def test_linear_scaling_gives_the_learning_rates_of_both_of_the_authors_batches():
    assert [linear_scaling(batch) for batch in (2048, 1024, 512)] == pytest.approx([0.2, 0.1, 0.05])
