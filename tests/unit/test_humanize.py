"""Numbers, sizes, times and lists have one form each."""

import pytest

from aroface.humanize import (
    bytes_text,
    clock_text,
    days_text,
    hours_text,
    listing,
    number_text,
    one_of,
    plural,
    seconds_text,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (seconds_text(0.42), "0.4 s"),
        (seconds_text(45), "45 s"),
        (seconds_text(60), "1 min"),
        (seconds_text(3600), "1.0 h"),
        (hours_text(0.0005), "1.8 s"),
        (hours_text(0.5), "30 min"),
        (hours_text(9.94), "9.9 h"),
        (hours_text(1234.4), "1,234 h"),
        (days_text(95), "95 h"),
        (days_text(100), "4.2 days"),
        (days_text(96_000), "4,000 days"),
        (clock_text(300), "0:05:00"),
        (bytes_text(300), "300 B"),
        (bytes_text(3_450_000), "3.45 MB"),
        (bytes_text(9_996_000_000), "10.0 GB"),
        (bytes_text(117_600_000_000), "118 GB"),
        (bytes_text(1_234_000_000_000_000), "1,234 TB"),
        (number_text(64), "64"),
        (number_text(5_822_653), "5.82 M"),
        (plural(1, "run"), "1 run"),
        (plural(1144, "run"), "1,144 runs"),
        (listing(["a"]), "a"),
        (listing(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_form_of_a_quantity(text: str, expected: str):
    assert text == expected


def test_many_names_are_told_by_those_most_alike():
    assert one_of(["a", "b"], "c") == "one of a, b"
    names = [f"method_{number}" for number in range(300)]
    line = one_of(names, "methd_212")
    assert line.startswith("one of 300, such as method_212, ")
    assert len(line) < 200
    assert len(one_of(names, "x" * 100_000)) < 200
