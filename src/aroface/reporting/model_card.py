"""Model cards: ``README.md`` of a folder for a model hub, of a run's checkpoint and its records.

Source of the front matter: Hugging Face's specification of model cards (``model-index`` of its evaluation results).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import yaml

from aroface.datasets.registry import Entry
from aroface.files import list_files, read_json
from aroface.reporting.records import RELEASED, load_records
from aroface.reporting.text import markdown_table, markdown_text, metric_name

OTHER_LICENCE = "other"

_TASKS = {"pairs": "face-verification", "ijb": "face-verification"}
_TASK = "face-identification"
_REFERENCES = """\
The run was trained or evaluated by a reproduction of

```bibtex
@inproceedings{saadabadi2024aroface,
  title     = {{ARoFace}: Alignment Robustness to Improve Low-Quality Face Recognition},
  author    = {Saadabadi, Mohammad Saeed Ebrahimi and Malakshan, Sahar Rahimi and Dabouei, Ali
               and Nasrabadi, Nasser M.},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2024}
}
```
"""
_LIMITS = """\
- It takes **crops aligned by five landmarks** (both eyes, nose, corners of the mouth) to {size}×{size} pixels, as
  insightface's `norm_crop` makes them; how much misaligned ones cost is measured by `aroface robustness`.
- Features are compared by their cosine. A threshold holds for the images that it was set on: set yours on your own.
- The values above are those of the named benchmarks. Nothing is said of other cameras, ages or groups of people: error
  rates of face recognition differ between groups, and no benchmark above measures yours.
- A network that recognises faces processes biometric data: the law of your country and the consent of the people shown
  decide whether you may use it.
"""


@dataclass(frozen=True, slots=True)
class MeasuredBenchmark:
    """One record of a run, as a card shows it.

    Attributes:
        name: Key of the benchmark.
        title: Printed name.
        protocol: Name of its protocol.
        metrics: Values as shares in [0, 1].
        ends: Lower and upper end of the 95 % interval of some of them, as the record has it.
    """

    name: str
    title: str
    protocol: str
    metrics: Mapping[str, float]
    ends: Mapping[str, Sequence[float]]


def measured_benchmarks(
    records: str | PathLike[str], checkpoint: Mapping[str, Any], titles: Mapping[str, str]
) -> tuple[list[MeasuredBenchmark], list[str]]:
    """Records of a run's weights, and the names of those of other weights under its name.

    Args:
        records: ``results/records``.
        checkpoint: Content of the run's ``checkpoint.json``.
        titles: Printed names of benchmarks by their keys.

    Raises:
        InputError: A record is malformed.
    """
    run, weights = checkpoint["run"], checkpoint["weights"]["sha256"]
    measured, others = [], []
    for record in load_records(records, {run}) if list_files(records, f"{run}/*.json") else ():
        if record.provenance["weights_sha256"] != weights:
            others.append(record.benchmark)
        elif record.metrics:
            title = titles.get(record.benchmark, record.benchmark)
            intervals = read_json(record.path)["intervals"]
            measured.append(
                MeasuredBenchmark(record.benchmark, title, record.protocol["name"], record.metrics, intervals)
            )
    return measured, others


def model_card(
    checkpoint: Mapping[str, Any],
    config: Mapping[str, Any],
    measured: Sequence[MeasuredBenchmark],
    training_set: Entry | None,
    licence: str = OTHER_LICENCE,
) -> str:
    """The text of a card.

    Args:
        checkpoint: Content of the run's ``checkpoint.json``.
        config: Content of ``config.json`` beside the card.
        measured: Records of the run.
        training_set: Entry of the registry; None for a set that is not registered.
        licence: Identifier of the licence of the weights, as the hub spells it.
    """
    experiment = checkpoint["experiment"]
    title = f"{experiment['method']} on {_set_name(checkpoint, training_set)}, {experiment['arch']}"
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(checkpoint, measured, licence), sort_keys=False, allow_unicode=True)}---",
        f"# {markdown_text(title)}",
        f"A network that maps an aligned face to {config['num_features']} features. Run `{checkpoint['run']}`.",
        "## Use",
        _use(config),
        "## Results",
        _results(measured),
        "## Training",
        "\n".join(_training(checkpoint, training_set)),
        "## Limits",
        _LIMITS.format(size=config["input_size"]),
        "## Citation",
        _REFERENCES,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _set_name(checkpoint: Mapping[str, Any], training_set: Entry | None) -> str:
    return training_set.title if training_set else str(checkpoint["data"]["name"])


def _front_matter(checkpoint: Mapping[str, Any], measured: Sequence[MeasuredBenchmark], licence: str) -> dict[str, Any]:
    named = {"license": licence}
    if licence == OTHER_LICENCE:
        named |= {"license_name": "terms-of-the-training-set", "license_link": "README.md"}
    results = [
        {
            "task": {"type": _TASKS.get(each.protocol, _TASK)},
            "dataset": {"name": each.title, "type": each.name},
            "metrics": [
                {"type": name, "name": metric_name(name)[0], "value": round(value, 6)}
                for name, value in each.metrics.items()
            ],
        }
        for each in measured
    ]
    index = {"model-index": [{"name": checkpoint["run"], "results": results}]} if results else {}
    tags = ["face-recognition", "pytorch", "aroface", str(checkpoint["experiment"]["arch"])]
    return {**named, "pipeline_tag": "image-feature-extraction", "tags": tags, **index}


def _use(config: Mapping[str, Any]) -> str:
    size = config["input_size"]
    return f"""\
With PyTorch and safetensors alone; `network.py` lies beside this card, and all of them in the working directory:

```python
import torch
from network import load_network

network = load_network(".")
crops = torch.zeros(2, {size}, {size}, 3, dtype=torch.uint8)  # yours: RGB, aligned
with torch.inference_mode():
    features = network(network.normalise(crops))
similarity = torch.nn.functional.cosine_similarity(features[0], features[1], dim=0)
```

With the package `aroface` this folder is a run: `aroface embed PHOTOGRAPHS --model FOLDER --out faces.csv`,
`aroface evaluate --model FOLDER --benchmark lfw.bin`, `aroface model export FOLDER --format onnx --out model.onnx`."""


def _results(measured: Sequence[MeasuredBenchmark]) -> str:
    if not measured:
        return "Not measured on any benchmark."
    rows = [
        (each.title, metric_name(name)[0], f"{100 * value:.2f}", _interval(each.ends.get(name)))
        for each in measured
        for name, value in each.metrics.items()
    ]
    heads = ("benchmark", "metric", "value (%)", "95 % interval over people")
    return markdown_table(heads, rows, right=(2,))


def _interval(ends: Sequence[float] | None) -> str:
    return f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f}" if ends else ""


def _training(checkpoint: Mapping[str, Any], training_set: Entry | None) -> Iterator[str]:
    if training_set is None:
        name = markdown_text(checkpoint["data"]["name"])
        yield f"- Training set: {name}, which is not registered: state its terms here."
    else:
        yield f"- Training set: {training_set.title} by {training_set.provider} ({training_set.request})."
        yield f"- **Terms of the training set: {training_set.licence}.** Weights may be bound by them."
        yield f"- {markdown_text(training_set.citation)}."
    if checkpoint["source"] == RELEASED:
        released = checkpoint["released"]
        yield f"- Weights that others released: `{released['file']}`, sha256 `{released['sha256']}`."
        return
    progress = checkpoint.get("progress", {})
    steps = f", {progress['epochs']} epochs of {progress['images'] // progress['epochs']:,} images" if progress else ""
    seed, recipe = checkpoint["experiment"]["seed"], checkpoint["recipe_hash"]
    yield f"- Seed {seed}{steps}; recipe `{recipe}` in `checkpoint.json`."
    yield f"- sha256 of the weights: `{checkpoint['weights']['sha256']}`."
