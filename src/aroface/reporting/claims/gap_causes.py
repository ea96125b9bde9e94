"""Causes of different numbers of one network in two laboratories, the likeliest first, for each protocol.

The causes are those that public threads on the field's repositories ended in; each names them.
"""

from __future__ import annotations

from aroface.reporting.records import Record

Hint = tuple[tuple[str, ...], str, tuple[str, ...]]

HINTS: tuple[Hint, ...] = (
    (
        ("tinyface",),
        "alignment of the faces: it alone moved rank 1 from 46 to 72 in a public report; the authors' line of work "
        "takes the crops aligned_pad_0.1_pad_high (AdaFace #92 and #172, ARoFace #7)",
        ("alignment",),
    ),
    (
        ("ijb",),
        "alignment of the crops: five points onto insightface's template; crops from elsewhere cost points "
        "(CurricularFace #24)",
        ("alignment",),
    ),
    (
        ("ijb",),
        "weights within a template: scripts switch the feature's norm and the detector's score on and off "
        "without a word",
        ("norm_weighting", "detector_weighting"),
    ),
    (("ijbs",), "frames and stills: which box they are cut by and how they are aligned", ("alignment",)),
    ((), "order of the colours: a network for BGR that is given RGB loses points and says nothing", ("color",)),
    ((), "the mirrored image: whether its feature is added, and before or after normalising", ("flip", "fusion")),
)
"""Protocols that a cause is of (none: all), the cause, and the options of a record that tell of it."""


def causes(record: Record) -> tuple[str, ...]:
    """The likely causes of a large gap, each with what the record says of it."""
    options = record.protocol["options"]
    explanations = []
    for protocols, text, keys in HINTS:
        if protocols and record.protocol["name"] not in protocols:
            continue
        told = ", ".join(f"{key} {_text(options[key])}" for key in keys if key in options)
        explanations.append(f"{text}; here: {told}" if told else text)
    return tuple(explanations)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
