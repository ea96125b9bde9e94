"""The account of what a command leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from aroface.errors import InputError
from aroface.omissions import FIRST, KindSummary, Omissions, summary_lines


def test_counts_and_first_names_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    omissions = Omissions()
    omissions.extend("not an image", [Path(f"{number}.txt") for number in range(FIRST + 3)])
    omissions.add("no face\nfound", "b.jpg")
    assert len(omissions) == FIRST + 4
    assert omissions.summary()["not an image"] == {"count": 13, "first": [f"{number}.txt" for number in range(FIRST)]}
    omissions.tell()
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith("left out: 13, not an image: 0.txt, 1.txt") and error[0].endswith("… (3 more)")
    assert error[1] == "left out: 1, no face found: b.jpg"


def test_nothing_left_out_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    omissions = Omissions()
    omissions.tell()
    omissions.check(0, 0.0, file="faces")
    assert (capsys.readouterr().err, omissions.summary(), len(omissions)) == ("", {}, 0)


@pytest.mark.parametrize(("count", "total", "allowed", "passes"), [(1, 100, 0.01, True), (2, 100, 0.01, False)])
def test_share_above_the_allowed_one_is_an_error(count: int, total: int, allowed: float, passes: bool) -> None:
    omissions = Omissions()
    omissions.extend("not an image", map(str, range(count)))
    if passes:
        omissions.check(total, allowed, file="faces")
        return
    with pytest.raises(InputError, match=r"faces: 2 of 100 left out, .*not an image .*first: 0.*--max-left-out"):
        omissions.check(total, allowed, file="faces")


def test_what_is_taken_all_the_same_is_not_called_left_out() -> None:
    summary: dict[str, KindSummary] = {
        "several faces": {"count": 2, "first": ["a.jpg", "b.jpg"]},
        "not an image": {"count": 1, "first": ["c.txt"]},
    }
    lines = ["noted: 2, several faces: a.jpg, b.jpg", "left out: 1, not an image: c.txt"]
    assert summary_lines(summary, taken={"several faces"}) == lines


def test_messages_take_the_place_of_names() -> None:
    omissions = Omissions()
    omissions.extend("cannot be decoded", ["a.jpg", "b.jpg"])
    omissions.add("not an image", "c.txt")
    messages = {"cannot be decoded": ["faces/a.jpg: cut short", "faces/b.jpg: no image"]}
    assert summary_lines(omissions.summary(), reasons=messages) == [
        "left out: 2, cannot be decoded",
        "left out: faces/a.jpg: cut short",
        "left out: faces/b.jpg: no image",
        "left out: 1, not an image: c.txt",
    ]
