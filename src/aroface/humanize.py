"""Numbers, sizes, times and lists as people read them: one form everywhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

_MOST_NAMES = 40  # that one line lists
_LONGEST_NAME = 100  # characters that likeness is told from
_SHOWN = 5


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 run``, ``1,144 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listing(words: Sequence[str]) -> str:
    """Words as a sentence has them: ``a, b and c``."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def one_of(known: Collection[str], name: str) -> str:
    """Expected names: ``one of a, b``; where there are many, those most alike.

    Args:
        known: Names that there are.
        name: Name that is none of them.
    """
    if len(known) <= _MOST_NAMES:
        return f"one of {', '.join(known)}"
    near = get_close_matches(name[:_LONGEST_NAME], known, _SHOWN, cutoff=0.0)
    return f"one of {len(known):,}, such as {', '.join(near)}"


def seconds_text(seconds: float) -> str:
    """A duration in the unit that suits it: ``0.4 s``, ``45 s``, ``30 min``, ``9.9 h``, ``1,234 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"


def hours_text(hours: float) -> str:
    """A duration given in hours, as :func:`seconds_text` writes it."""
    return seconds_text(3600 * hours)


def days_text(hours: float) -> str:
    """A time on the clock, given in hours; from four days on in days."""
    return hours_text(hours) if hours < 96 else f"{hours / 24:.1f} days" if hours < 960 else f"{hours / 24:,.0f} days"


def clock_text(seconds: float) -> str:
    """A duration as a clock shows it: ``0:05:00`` is five minutes."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def bytes_text(size: float) -> str:
    """A size in decimal units with three digits: ``300 B``, ``3.45 MB``, ``118 GB``."""
    return _scaled(size, ("B", "kB", "MB", "GB", "TB"))


def number_text(number: float) -> str:
    """A count with three digits: ``64``, ``5.82 M``."""
    return _scaled(number, ("", "k", "M", "G", "T")).strip()


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    digits = 0 if power == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f} {units[power]}"
