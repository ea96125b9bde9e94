"""Stands in for the ``aroface`` command: writes what the workflow waits for, and a line on what it was asked.

``STANDIN_FAILS`` makes verbs fail: their names, with a part of the command line each if not always, by semicolons.
``STANDIN_WAITS`` makes trainings wait, until there is a file of that name or they are interrupted. ``STANDIN_HOLDS``
names a verb, with a part of the command line, that makes a file ``held`` and waits for a file ``go``.
``STANDIN_RENDERS`` makes records of made-up numbers, and has them rendered by the command itself.
"""

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path

RENDERING = ("table", "figure", "document", "compare", "claims", "report")


def main() -> int:
    """Do as asked at once."""
    words = sys.argv[1:]
    with open("calls.txt", "a") as file:
        file.write(" ".join(words) + "\n")
    for told in os.environ.get("STANDIN_FAILS", "").split(";"):
        verb, _, part = told.partition(" ")
        if words[0] == verb and part in " ".join(words):
            print(f"{verb} was told to fail")
            return 1
    hold(words)
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, nargs="+", default=[None])
    for option in ("run-dir", "state-dir", "format", "manifest"):
        parser.add_argument(f"--{option}", type=Path)
    options, _ = parser.parse_known_args(words)
    options.out, *others = options.out
    if os.environ.get("STANDIN_RENDERS") and words[0] in RENDERING:
        return importlib.import_module("aroface.cli.main").main(words)
    if os.environ.get("STANDIN_RENDERS") and words[0] == "evaluate":
        evaluate(options.out)
    elif words[0] == "train":
        train(options.run_dir, options.state_dir)
    elif words[0] == "model":
        for name in ("model.safetensors", "checkpoint.json"):
            write(options.out / name)
    elif options.manifest is not None:
        write(options.manifest)
    elif words[:2] == ["data", "fetch"]:
        print("fetched")
    elif words[0] == "data":
        write(options.out.with_name("pairs.bin.manifest.json") if options.out.suffix else options.out / "manifest.json")
    elif words[0] == "embed":
        made_of = {"checkpoint": {"weights_sha256": options.run_dir.name}, "benchmark_manifest_hash": options.out.name}
        write(options.out / "index.json", {**made_of, "protocol": {"name": "any", "options": {}}})
    elif words[0] == "evaluate":
        protocol = {"tinyface": "tinyface", "fae": "sensitivity"}.get(options.out.stem, "pairs")
        version = importlib.import_module("aroface.result_versions").PROTOCOLS[protocol]
        made_of = {"weights_sha256": options.out.parent.name, "benchmark_manifest_hash": options.out.stem}
        write(options.out, {"provenance": made_of, "protocol": {"name": "any", "options": {}, "version": version}})
    elif words[0] == "figure":
        for suffix in (".tex", ".pdf", ".png"):
            write(Path(f"{options.out}{suffix}"))
    elif options.out is None:
        print(f"the table {words[1]}")
    else:
        for path in (options.out, *others):
            write(path)
    return 0


def hold(words: list[str]) -> None:
    """Wait if these words were told to."""
    verb, _, part = os.environ.get("STANDIN_HOLDS", "").partition(" ")
    if words[0] != verb or part not in " ".join(words):
        return
    Path("held").touch()
    while not Path("go").exists():
        time.sleep(0.05)


def train(run_dir: Path, state_dir: Path) -> None:
    """Say how far the training is, and end it unless it was told to wait."""
    progress = {"run": run_dir.name, "epoch": 1, "epochs": 2, "step": 3, "steps": 8}
    write(state_dir / "progress.json", {**progress, "loss": 12.25, "images_per_s": 640.0, "eta_s": 75.0})
    if os.environ.get("STANDIN_WAITS"):
        try:
            for _ in range(6000):
                if Path(os.environ["STANDIN_WAITS"]).exists():
                    break
                time.sleep(0.1)
        except KeyboardInterrupt:
            time.sleep(1)
            write(state_dir / "saved")
            sys.exit(75)
    write(run_dir / "model.safetensors")
    weights = {"file": "model.safetensors", "sha256": run_dir.name}
    environment = {"git_commit": None}
    write(run_dir / "checkpoint.json", {"weights": weights, "source": "trained", "environment": environment})


def evaluate(out: Path) -> None:
    """A record of made-up numbers, the same for all seeds but the last digit."""
    made_up_records = importlib.import_module("made_up_records")
    method, dataset, arch, seed, _ = out.parent.name.split("-")
    value = 0.8 + int(seed[1:]) / 1000
    metrics = dict.fromkeys(("accuracy", "tar_strict_at_far_1e-2", "rank1", "rank5", "rank20", "map"), value)
    protocol = {"tinyface": "tinyface", "fae": "sensitivity"}.get(out.stem, "pairs")
    series = made_up_records.sweep(value, 0.05) if protocol == "sensitivity" else ()
    place = {"dataset": dataset, "arch": arch, "seed": int(seed[1:]), "benchmark": out.stem, "run": out.parent.name}
    made_up_records.write_record(out.parents[1], method, metrics, protocol=protocol, series=series, **place)


def write(path: Path, content: object = None) -> None:
    """Write something whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content or str(path)))
    temporary.replace(path)


sys.exit(main())
