"""The backbone of a run for other programs: state dicts, ONNX, and programs of torch.export."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from aroface.errors import InputError
from aroface.files import atomic_path
from aroface.models.checkpoint import StateDict, read_weights, save_weights
from aroface.models.run_folder import load_backbone
from aroface.models.unpickle import read_torch_file

Format = Literal["safetensors", "pt", "onnx", "torch-export"]
FORMATS: tuple[Format, ...] = get_args(Format)
_SUFFIXES: dict[Format, str] = {"safetensors": "safetensors", "pt": "pt", "onnx": "onnx", "torch-export": "pt2"}

TOLERANCE = 1e-4
"""Largest difference from the network that an exported program may show, relative to the largest value."""

INPUT, OUTPUT = "images", "embeddings"
PIXELS = "pixels"
"""Input of a program that has the preprocessing inside: uint8 (N, S, S, 3), RGB."""
_BATCHES = (1, 3)  # that are compared; neither is the one that is traced
_TRACED = 2
_DESCRIPTION = "aroface.json"
_AS_THEY_ARE = {"mean": 0.0, "std": 1.0}  # pixels of a program that has the preprocessing inside


class Normalised(nn.Module):
    """A backbone whose embeddings have unit length."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, embedding_size)."""
        return nn.functional.normalize(self.backbone(images))


class Preprocessed(nn.Module):
    """A backbone that takes pixels as image libraries give them.

    Args:
        backbone: Network that takes normalised images (N, 3, S, S).
        mean: Value subtracted from pixel values in 0..255.
        std: Divisor of the differences.
    """

    def __init__(self, backbone: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.backbone, self.mean, self.std = backbone, mean, std

    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 (N, S, S, 3), RGB, to (N, embedding_size)."""
        embeddings: Tensor = self.backbone((pixels.float().permute(0, 3, 1, 2) - self.mean) / self.std)
        return embeddings


def export_model(
    run_dir: str | PathLike[str],
    out: str | PathLike[str],
    form: Format,
    *,
    normalised: bool = False,
    with_preprocessing: bool = False,
) -> Path:
    """Write the backbone of a finished run as one file, and read it back before it gets its name.

    State dicts (``safetensors``, and ``pt`` for ``torch.load(..., weights_only=True)``) have insightface's parameter
    names and must hold the same tensors. Programs (``onnx``, ``torch-export``) take any number of images and must
    compute what the network computes, to :data:`TOLERANCE`.

    Args:
        run_dir: ``results/runs/{run}``.
        out: Path of the file.
        form: Format, one of :data:`FORMATS`.
        normalised: Flag of a program whose embeddings have unit length; a state dict cannot tell.
        with_preprocessing: Flag of a program that takes pixels as they are, uint8 (N, S, S, 3), RGB.

    Raises:
        InputError: No such run, a folder at ``out``, the suffix of another format, or what was written is not the
            network; then what stood at ``out`` is left alone.
    """
    if form not in FORMATS:
        raise InputError(f"unknown format {form!r}", expected=f"one of {', '.join(FORMATS)}")
    if normalised and form in ("safetensors", "pt"):
        remedy = "export as onnx or torch-export, or normalise after the network"
        raise InputError("weights alone cannot say that embeddings are normalised", where=form, remedy=remedy)
    if with_preprocessing and form in ("safetensors", "pt"):
        raise InputError("weights alone hold no preprocessing", where=form, remedy="export as onnx or torch-export")
    if Path(out).is_dir():
        what, remedy = "a folder", f"name a file in it, such as {Path(out) / f'model.{_SUFFIXES[form]}'}"
        raise InputError(what, file=out, where="--out", expected="the file to write", remedy=remedy)
    suffix = Path(out).suffix[1:].lower()
    if suffix in _SUFFIXES.values() and suffix != _SUFFIXES[form]:
        raise InputError(
            f"the name of another format than {form}", file=out, expected=f"a name such as model.{_SUFFIXES[form]}"
        )
    backbone, checkpoint = load_backbone(run_dir)
    backbone.requires_grad_(False)
    described = {
        "run": checkpoint["run"],
        "arch": checkpoint["experiment"]["arch"],
        "input": {**checkpoint["input"], **(_AS_THEY_ARE if with_preprocessing else {})},
        "normalised": normalised,
        **({"preprocessing": True} if with_preprocessing else {}),
    }
    size = checkpoint["input"]["size"]
    with atomic_path(out) as temporary:
        if form in ("safetensors", "pt"):
            read = (_write_safetensors if form == "safetensors" else _write_pt)(temporary, backbone, described)
            _check_tensors(read, backbone.state_dict(), out)
        else:
            model: nn.Module = Normalised(backbone).eval() if normalised else backbone
            if with_preprocessing:
                model = Preprocessed(model, checkpoint["input"]["mean"], checkpoint["input"]["std"]).eval()
            draw = _pixels if with_preprocessing else _images
            write = _write_onnx if form == "onnx" else _write_program
            with _quiet():
                run = write(temporary, model, draw(_TRACED, size), described)
            _check_program(run, model, partial(draw, size=size), run_dir, out)
    return Path(out)


def _write_safetensors(path: Path, model: nn.Module, described: dict[str, Any]) -> StateDict:
    save_weights(path, model, {"run": described["run"], "arch": described["arch"]})
    return read_weights(path)[0]


def _write_pt(path: Path, model: nn.Module, described: dict[str, Any]) -> StateDict:
    buffer = io.BytesIO()  # torch reports a full disk in words of its own
    torch.save(dict(model.state_dict()), buffer)
    path.write_bytes(buffer.getbuffer())
    read: StateDict = read_torch_file(path)
    return read


def _write_onnx(path: Path, model: nn.Module, example: Tensor, described: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    import onnxruntime
    import onnxscript  # noqa: F401 - what torch's exporter needs

    batch = torch.export.Dim("batch")
    input_name = PIXELS if "preprocessing" in described else INPUT
    program = torch.onnx.export(
        model,
        (example,),
        input_names=[input_name],
        output_names=[OUTPUT],
        dynamic_shapes=({0: batch},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None, "the exporter returns a program unless it is given a file"
    program.model.metadata_props.update({f"aroface.{key}": json.dumps(value) for key, value in described.items()})
    program.save(path, external_data=False)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {input_name: images.numpy()})[0])


def _write_program(
    path: Path, model: nn.Module, example: Tensor, described: dict[str, Any]
) -> Callable[[Tensor], Tensor]:
    program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={_DESCRIPTION: json.dumps(described)})
    path.write_bytes(buffer.getbuffer())
    run: Callable[[Tensor], Tensor] = torch.export.load(io.BytesIO(path.read_bytes())).module()
    return run


def _check_tensors(state: StateDict, expected: StateDict, out: str | PathLike[str]) -> None:
    same = state.keys() == expected.keys() and all(torch.equal(value, state[name]) for name, value in expected.items())
    if not same:
        raise InputError("the file does not hold the weights that were written; nothing is left of it", file=out)


def _check_program(
    run: Callable[[Tensor], Tensor],
    model: nn.Module,
    draw: Callable[[int], Tensor],
    run_dir: str | PathLike[str],
    out: str | PathLike[str],
) -> None:
    """Compare a program with the network it was made from, on random images in batches of other sizes than traced."""
    for batch in _BATCHES:
        images = draw(batch)
        with torch.inference_mode():
            expected = model(images)
            if not bool(expected.isfinite().all()):
                raise InputError(
                    "its embeddings of random images are not finite: nothing to compare with", file=run_dir
                )
            embeddings = run(images)
        difference = float((embeddings - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE:  # NaN is no match either
            raise InputError(
                f"the exported program differs from the network by {difference:.1e} of the largest value",
                file=out,
                expected=f"at most {TOLERANCE:.0e}",
                remedy="nothing is left of it: export as pt or safetensors",
            )


def _images(count: int, size: int) -> Tensor:
    """Random images (N, 3, S, S) in [-1, 1]."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count)) * 2 - 1


def _pixels(count: int, size: int) -> Tensor:
    """Random images, uint8 (N, S, S, 3)."""
    generator = torch.Generator().manual_seed(count)
    return torch.randint(256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks on missing packages and their own future from the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
