"""Words and tables of an evaluation of scores, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aroface.evaluation.metrics.operating_points import FARS
from aroface.evaluation.scores import FEW, FNMRS, FPIRS, DecisionThreshold, SystemComparison, SystemVerdict
from aroface.humanize import listing, plural
from aroface.reporting.text import metric_name

MARK = "*"
FEW_NOTE = f"Fewer than {FEW} false matches, or false alarms of a search: rate and interval are unreliable."
"""Meaning of the mark."""
_NAMES = {
    "d_prime": "d′",
    "eer": "EER (%)",
    "auc": "AUC (%)",
    "fmr100": "FMR100: FNMR (%) at FMR ≤ 1 %",
    "fmr1000": "FMR1000: FNMR (%) at FMR ≤ 0.1 %",
    "zero_fmr": "ZeroFMR: FNMR (%) at FMR = 0",
    "rank1": "Rank 1 (%)",
    "rank5": "Rank 5 (%)",
    "rank10": "Rank 10 (%)",
    "tpir_at_fpir_1e-1": "TPIR (%) at FPIR = 10 %",
    "tpir_at_fpir_1e-2": "TPIR (%) at FPIR = 1 %",
    "tar_strict_at_far_1e-6": "TAR (%) at FAR = 0.0001 %",
}


def name_of(metric: str) -> str:
    """A metric in words, with its unit."""
    return _NAMES.get(metric) or metric_name(metric)[1]


def metric_cell(verdict: SystemVerdict, metric: str) -> str:
    """A value with its interval, marked where it rests on few false matches; empty where there is none."""
    if metric not in verdict.metrics:
        return ""
    times, digits = (1, 3) if metric == "d_prime" else (100, 2)
    mark = MARK if rests_on_few(verdict, metric) else ""
    value = f"{times * verdict.metrics[metric]:.{digits}f}{mark}"
    ends = verdict.intervals.get(metric)
    return value if ends is None else f"{value} [{times * ends[0]:.{digits}f}, {times * ends[1]:.{digits}f}]"


def rests_on_few(verdict: SystemVerdict, metric: str) -> bool:
    """Tell whether a rate's threshold rests on fewer than 30 false matches, or false alarms of a search."""
    if metric.startswith("tpir_at_fpir_"):
        unknown = verdict.counts["probes"] - verdict.counts["mated_probes"]
        return FPIRS[metric.removeprefix("tpir_at_fpir_")] * unknown < FEW
    targets = {**FNMRS, **{f"tar_strict_at_far_{name}": far for name, far in FARS.items()}}
    return metric in targets and targets[metric] * verdict.counts["impostors"] < FEW


def metrics_table(verdicts: Sequence[SystemVerdict]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of metrics, a column for each system."""
    metrics = list(dict.fromkeys(metric for verdict in verdicts for metric in verdict.metrics))
    rows = [[name_of(metric), *(metric_cell(verdict, metric) for verdict in verdicts)] for metric in metrics]
    return ["metric", *(verdict.name for verdict in verdicts)], rows


def thresholds_table(verdicts: Sequence[SystemVerdict]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of thresholds."""
    heads = ["system", "wished FMR", "accept", "95 % interval", "rests on", "FMR there", "FNMR there"]
    return heads, [_threshold_row(verdict, each) for verdict in verdicts for each in verdict.thresholds]


def _threshold_row(verdict: SystemVerdict, threshold: DecisionThreshold) -> list[str]:
    low, high = (f"{end:.6g}" if math.isfinite(end) else "not bounded" for end in (threshold.low, threshold.high))
    rests = f"{threshold.accepted:,} of {plural(threshold.impostors, 'impostor')}"
    mark = MARK if threshold.few else ""
    if threshold.effective < 0.95 * threshold.impostors:
        rests += f", worth {threshold.effective:,.0f} independent ones"
    return [
        verdict.name,
        f"{100 * threshold.wished:g} %",
        f"{'≤' if verdict.scores.is_distance else '≥'} {threshold.threshold:.6g}{mark}",
        f"{low} to {high}",
        rests,
        _rate(threshold.fmr, threshold.fmr_interval),
        _rate(threshold.fnmr, threshold.fnmr_interval),
    ]


def _rate(value: float, ends: tuple[float, float]) -> str:
    interval = f" [{100 * ends[0]:.3g}, {100 * ends[1]:.3g}]" if all(map(math.isfinite, ends)) else ""
    return f"{100 * value:.3g}{interval} %"


def comparisons_table(rows: Sequence[SystemComparison]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of paired comparisons."""
    heads = ["metric", "A", "B", "A", "B", "B − A, points", "95 % interval", "p", "p (Holm)"]
    cells = []
    for each in rows:
        row = each.row
        low, high = (f"{100 * end:+.2f}" if math.isfinite(end) else "none" for end in row.interval)
        cells.append(
            [
                name_of(row.metric).split(":")[0].removesuffix(" (%)"),
                each.first,
                each.second,
                f"{100 * row.first:.2f}",
                f"{100 * row.second:.2f}",
                f"{100 * row.difference:+.2f}",
                f"[{low}, {high}]",
                _probability(row.p_value),
                _probability(row.adjusted),
            ]
        )
    return heads, cells


def _probability(value: float) -> str:
    if not math.isfinite(value):
        return "none"
    return f"{value:.4f}" if value >= 1e-4 else "<0.0001"


def verdict_lines(verdicts: Sequence[SystemVerdict]) -> list[tuple[str, str]]:
    """Findings in sentences: counts, the threshold of each system, and warnings."""
    first = verdicts[0]
    lines = [("Comparisons", _counts(first))]
    for verdict in verdicts:
        lines += [(verdict.name, _threshold_words(verdict, threshold)) for threshold in verdict.thresholds]
    lines += [("Warning", text) for text in warnings(verdicts)]
    return lines


def _counts(verdict: SystemVerdict) -> str:
    counts = verdict.counts
    words = [f"{counts['genuine']:,} genuine", f"{counts['impostors']:,} impostor comparisons"]
    people = f" of {plural(counts['people'], 'person').replace('persons', 'people')}" if "people" in counts else ""
    search = ""
    if "probes" in counts:
        search = (
            f"; a search of {plural(counts['probes'], 'probe')}, {counts['mated_probes']:,} with a mate, among up to "
            f"{plural(counts['references'], 'reference')}"
        )
    unit = (
        "Intervals are over draws of people."
        if verdict.unit == "people"
        else "Intervals are over draws of comparisons, since the file names no people: too narrow where people recur."
    )
    return f"{listing(words)}{people}{search}. {unit}"


def _threshold_words(verdict: SystemVerdict, threshold: DecisionThreshold) -> str:
    side = "at most" if verdict.scores.is_distance else "at least"
    return (
        f"Accept {'distances' if verdict.scores.is_distance else 'scores'} of {side} {threshold.threshold:.6g} for an "
        f"FMR of {100 * threshold.wished:g} %: it rests on {threshold.accepted:,} of "
        f"{plural(threshold.impostors, 'impostor comparison')}, and {_rate(threshold.fnmr, threshold.fnmr_interval)} "
        "of genuine ones are rejected."
    )


def warnings(verdicts: Sequence[SystemVerdict]) -> list[str]:
    """Sentences on what the comparisons cannot show."""
    lines = []
    for verdict in verdicts:
        if verdict.reversed:
            remedy = "are they similarities?" if verdict.scores.is_distance else "are they distances (--distance)?"
            lines.append(f"{verdict.name}: impostors score better than genuine comparisons; {remedy}")
        for each in verdict.thresholds:
            if each.few:
                needed = math.ceil(FEW / each.wished)
                lines.append(
                    f"{verdict.name}: the threshold for an FMR of {100 * each.wished:g} % rests on "
                    f"{plural(each.accepted, 'false match').replace('matchs', 'matches')}; {needed:,} impostor "
                    f"comparisons would give {FEW}"
                )
    return lines


def reading(verdicts: Sequence[SystemVerdict]) -> list[tuple[str, str]]:
    """Method of the verdict, and the meaning of its marks."""
    notes = [
        ("FMR, FNMR", "Shares of impostor comparisons accepted and of genuine ones rejected (ISO/IEC 19795-1)."),
        (
            "Threshold",
            "The lowest score with at most the wished FMR on these impostors. Its interval holds the threshold of "
            "that FMR on all impostors, by order statistics; where people recur, impostors count as fewer independent "
            "ones. FMR and FNMR there are of this threshold as it is.",
        ),
        (MARK, FEW_NOTE),
        ("DET", "Thin lines rest on fewer than 30 false matches; bars are 95 % intervals of the FNMR."),
    ]
    if len(verdicts) > 1:
        text = (
            "Tests are paired. Holm's method counts all pairs of systems by one metric: choose the metric beforehand."
        )
        notes.append(("p (Holm)", text))
    return notes
