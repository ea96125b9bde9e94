"""Extras of the package: the line for a verb that needs a package which is not installed."""

from __future__ import annotations

from aroface.errors import InputError

PACKAGES = {
    "cv2": ("opencv-python-headless", "data"),
    "docx": ("python-docx", "paper"),
    "google": ("protobuf", "onnx"),
    "jinja2": ("jinja2", "paper"),
    "joblib": ("mtcnn", "mtcnn"),
    "jsonschema": ("jsonschema", "data"),
    "matplotlib": ("matplotlib", "paper"),
    "onnx": ("onnx", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "onnxscript": ("onnxscript", "onnx"),
    "openpyxl": ("openpyxl", "paper"),
    "pandas": ("pandas", "data"),
    "pdfminer": ("pdfminer.six", "paper"),
    "pyarrow": ("pyarrow", "hugging-face"),
    "requests": ("requests", "data"),
    "safetensors": ("safetensors", "data"),
    "simplejpeg": ("simplejpeg", "data"),
    "tensorboard": ("tensorboard", "workflow"),
    "threadpoolctl": ("threadpoolctl", "data"),
    "urllib3": ("urllib3", "data"),
    "yaml": ("pyyaml", "data"),
}
"""Distribution of each module that the package imports and the core does without, and the extra it is in."""

VERBS = {
    "archive": "paper",
    "claims": "paper",
    "compare": "paper",
    "crate": "paper",
    "document": "paper",
    "explain": "paper",
    "export": "paper",
    "figure": "paper",
    "mistakes": "paper",
    "quality": "paper",
    "report": "paper",
    "robustness": "paper",
    "table": "paper",
    "train": "workflow",
}
"""Extra of each verb that needs more than ``data``, which is part of every other extra."""


def missing_package(error: ModuleNotFoundError, verb: str) -> InputError | None:
    """Name the package that a verb needs, and the extra to install.

    Args:
        error: Error of the import.
        verb: Verb of the command line.

    Returns:
        The error to report; None for a module that is in no extra.
    """
    module = (error.name or "").partition(".")[0]
    if module not in PACKAGES:
        return None
    distribution, extra = PACKAGES[module]
    if extra == "data":
        extra = VERBS.get(verb, extra)
    return InputError(f"this needs the package {distribution}", remedy=f'pip install "aroface[{extra}]"')
