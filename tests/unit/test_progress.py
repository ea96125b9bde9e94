"""Progress where there is no terminal: a line now and then."""

from __future__ import annotations

import pytest

from aroface import progress
from aroface.progress import track, track_bytes


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_lines_come_now_and_then_with_the_time_left(clock, capsys):
    for _ in track(range(1000), "embed lfw"):
        clock.now += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 16
    assert lines[0] == "embed lfw: 60 of 1,000 (6%), 0:15:40 left"
    assert lines[-1] == "embed lfw: 960 of 1,000 (96%), 0:00:40 left"


def test_short_work_is_silent(clock, capsys):
    assert list(track([1, 2, 3], "short")) == [1, 2, 3]
    with track_bytes("fetch", 100) as move:
        move(100)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("total", "line"), [(None, "packing: 1"), (4, "packing: 1 of 4 (25%), 0:03:20 left")])
def test_the_total_may_be_unknown(clock, capsys, total, line):
    items = track(iter(range(2)), "packing", total)
    next(items)
    clock.now += 3200 / 48
    next(items)
    assert capsys.readouterr().err.splitlines() == [line]


def test_bytes_count_from_what_was_ready(clock, capsys):
    with track_bytes("fetch x", 4_000_000, 1_000_000) as move:
        clock.now += 100
        move(1_000_000)
        move(1_000_000)
    assert capsys.readouterr().err.splitlines() == ["fetch x: 2.00 MB of 4.00 MB (50%), 0:03:20 left"]


def test_an_error_passes_through(clock):
    def failing():
        yield 1
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        list(track(failing(), "fails"))
