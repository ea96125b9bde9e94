"""Stands in for the ``aroface`` command: writes what the workflow waits for, and a line on what it was asked.

``STANDIN_FAILS`` makes the verb of that name fail, ``STANDIN_WAITS`` makes trainings wait to be interrupted.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Do as asked at once."""
    words = sys.argv[1:]
    with open("calls.txt", "a") as file:
        file.write(" ".join(words) + "\n")
    if words[0] == os.environ.get("STANDIN_FAILS"):
        print(f"{words[0]} was told to fail")
        return 1
    parser = argparse.ArgumentParser()
    for option in ("out", "run-dir", "state-dir", "format", "manifest"):
        parser.add_argument(f"--{option}", type=Path)
    options, _ = parser.parse_known_args(words)
    if words[0] == "train":
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
        write(options.out / "index.json")
    elif words[0] == "figure":
        for suffix in (".tex", ".pdf", ".png"):
            write(options.out.with_suffix(suffix))
    elif options.out is None:
        print(f"the table {words[1]}")
    else:
        write(options.out)
    return 0


def train(run_dir: Path, state_dir: Path) -> None:
    """Say how far the training is, and end it unless it was told to wait."""
    progress = {"run": run_dir.name, "epoch": 1, "epochs": 2, "step": 3, "steps": 8}
    write(state_dir / "progress.json", {**progress, "loss": 12.25, "images_per_s": 640.0, "eta_s": 75.0})
    if os.environ.get("STANDIN_WAITS"):
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            time.sleep(1)
            write(state_dir / "saved")
            sys.exit(75)
    write(run_dir / "model.safetensors")
    write(run_dir / "checkpoint.json")


def write(path: Path, content: object = None) -> None:
    """Write something whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content or str(path)))
    temporary.replace(path)


sys.exit(main())
