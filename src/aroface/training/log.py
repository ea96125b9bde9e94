"""Log of a training: JSON lines, TensorBoard, a progress file and the terminal."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from aroface.faces.sheet import write_sheet
from aroface.files import make_folder, write_json, write_text
from aroface.progress import console
from aroface.results import LOG, PROGRESS
from aroface.training.step_report import StepReport

PROGRESS_EVERY_S = 1.0
LINE_EVERY_S = 15.0


class TrainingLog:
    """Log of one run, continued cleanly when the run is resumed.

    Args:
        run: Name of the run.
        run_dir: Folder that takes ``log.jsonl``, ``sheets/`` and ``tensorboard/``.
        state_dir: Folder that takes ``progress.json``, rewritten about once a second.
        epochs: Number of epochs of the whole training.
        steps: Number of steps of the whole training.
        start: First step of this process; entries at or after it are dropped from ``log.jsonl``.
    """

    def __init__(self, run: str, run_dir: Path, state_dir: Path, epochs: int, steps: int, start: int) -> None:
        self._run, self._epochs, self._steps, self._start = run, epochs, steps, start
        self._sheets = run_dir / "sheets"
        self._progress_file = state_dir / PROGRESS
        self._began = self._written = self._spoken = time.monotonic()
        make_folder(run_dir)
        path = run_dir / LOG
        kept = [line for line in whole_lines(path) if _kept(json.loads(line), start)]
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=start)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(run, total=steps, completed=start, state="")
        self._bar.start()

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """Write one line to ``log.jsonl`` and its numbers to TensorBoard."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                self._board.add_scalar(name, value, step)

    def sheet(self, report: StepReport) -> None:
        """Write a contact sheet of clean and warped images, also to TensorBoard; nothing if none was warped."""
        sheet = report.sheet()
        if sheet is not None:
            write_sheet(self._sheets / f"step_{report.step:08d}.png", sheet)
            self._board.add_image("clean above warped", sheet, report.step, dataformats="HWC")

    def tick(self, step: int, epoch: int, loss: float, images_per_s: float) -> None:
        """Update the terminal and ``progress.json``, at most about once a second."""
        now = time.monotonic()
        done = step + 1
        if now - self._written < PROGRESS_EVERY_S and done < self._steps:
            return
        self._written = now
        eta = (now - self._began) / max(1, done - self._start) * (self._steps - done)
        state = f"epoch {epoch + 1}/{self._epochs}  loss {loss:.3f}  {images_per_s:,.0f} images/s"
        self._bar.update(self._task, completed=done, state=state)
        if self._bar.disable and (now - self._spoken >= LINE_EVERY_S or done == self._steps):
            self._spoken = now
            console.print(f"{self._run}  step {done}/{self._steps}  {state}  {eta:.0f} s left", soft_wrap=True)
        progress = {
            "run": self._run,
            "epoch": epoch + 1,
            "epochs": self._epochs,
            "step": done,
            "steps": self._steps,
            "loss": loss if math.isfinite(loss) else None,
            "images_per_s": round(images_per_s, 1),
            "eta_s": round(eta, 1),
        }
        write_json(self._progress_file, progress)

    def alive(self) -> None:
        """Touch ``progress.json`` as a sign of life for its watch while no step is done."""
        with suppress(OSError):
            os.utime(self._progress_file)

    def close(self) -> None:
        """Flush and close everything."""
        self._bar.stop()
        self._board.close()
        self._file.close()


def _kept(line: dict[str, Any], start: int) -> bool:
    """Tell whether a line was written before the state of step ``start``: a validation after that step is repeated."""
    return bool(line["step"] < start - 1 or (line["step"] == start - 1 and "loss" in line))


def whole_lines(path: Path) -> list[str]:
    """Read the complete lines of a log, without a last one that a kill cut short."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
