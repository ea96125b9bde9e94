"""The options on a detector of faces, and its opening: the same in every verb that takes one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from aroface.cli.arguments import Arguments, share

if TYPE_CHECKING:
    from aroface.faces.detection.detector import Detector

DETECTOR = "scrfd_2.5g"
"""Detector of verbs that cannot do without one."""


def add_detector(group: argparse._ActionsContainer, purpose: str = "", default: str | None = None) -> None:
    """Declare ``--detector`` and ``--threshold``.

    Args:
        group: Verb or group of options.
        purpose: Purpose of the detector in the help, with what happens without one.
        default: Detector where none is named; None for none.
    """
    words = [purpose, "registered, mtcnn, or an SCRFD file", "(%(default)s)" if default else ""]
    help_text = "; ".join(filter(None, words[:2])) + f" {words[2]}".rstrip()
    group.add_argument("--detector", default=default, metavar="NAME|FILE.onnx", help=help_text)
    help_text = "lowest score of a face (SCRFD 0.5, mtcnn 0.8)"
    group.add_argument("--threshold", type=share, metavar="SCORE", help=help_text)


def open_named_detector(options: Arguments, device: str | None = None) -> Detector | None:
    """Open the detector that the options name; None where they name none.

    Args:
        options: Options of the command line: of :func:`add_detector`, and on threads, time limit and registered files.
        device: Device of onnxruntime or torch; by default the GPU where it can be used.
    """
    if options.detector is None:
        return None
    from aroface.datasets.preparation.detectors import open_detector

    return open_detector(
        options.detector,
        options.data_dir,
        threshold=options.threshold,
        threads=options.threads,
        time_limit=options.time_limit,
        device=device,
    )
