"""The classifier against the usual way to write one: peak memory above the weights, and time of a step.

A step is forward, backward and optimiser on one batch. Each measurement has a process of its own; rounds alternate
between the variants, so that a busy machine is unfair to none; medians are printed. The usual way normalises the whole
weight and leaves logits, softmax and momentum to torch; with a sample rate it does so for the sampled rows, whose
weights and momentum it copies out and in again. Memory is the largest resident set less the one with weights alone; it
is also given in multiples of the weights' size, where gradient and momentum are one each.

    python performance/head.py
    python performance/head.py --classes 617970 --rates 1.0 --batch 512 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build
from aroface.training.row_sgd import RowSGD

SIZE, SCALE, MARGIN = 512, 64.0, 0.4
LR, MOMENTUM, DECAY = 0.1, 0.9, 5e-4
VARIANTS = ("ours", "usual")
Step = Callable[[Tensor, Tensor], None]


def ours(classes: int, rate: float) -> Step:
    classifier = Classifier(classes, SIZE, build("cosface", s=SCALE, m=MARGIN), seed=0, sample_rate=rate)
    optimiser = RowSGD(classifier.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)

    def step(embeddings: Tensor, labels: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        classifier.choose(labels)
        classifier(embeddings, labels).backward()
        optimiser.step()

    return step


def usual_loss(embeddings: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    logits = F.linear(F.normalize(embeddings), F.normalize(weight)).clamp(-1, 1)
    samples = torch.arange(len(labels))
    logits[samples, labels] = logits[samples, labels] - MARGIN
    return F.cross_entropy(SCALE * logits, labels)


def usual(classes: int, rate: float) -> Step:
    weight = nn.Parameter(torch.empty(classes, SIZE).normal_(0, 0.01))
    if rate == 1:
        optimiser = torch.optim.SGD([weight], lr=LR, momentum=MOMENTUM, weight_decay=DECAY)

        def step(embeddings: Tensor, labels: Tensor) -> None:
            optimiser.zero_grad(set_to_none=True)
            usual_loss(embeddings, weight, labels).backward()
            optimiser.step()

        return step
    momentum = torch.zeros_like(weight)

    def sampled_step(embeddings: Tensor, labels: Tensor) -> None:
        draws = torch.rand(classes)
        draws[labels] = 2.0
        rows = draws.topk(int(rate * classes)).indices.sort().values
        sampled = nn.Parameter(weight.detach()[rows])
        optimiser = torch.optim.SGD([sampled], lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
        optimiser.state[sampled]["momentum_buffer"] = momentum[rows]
        usual_loss(embeddings, sampled, torch.searchsorted(rows, labels)).backward()
        optimiser.step()
        with torch.no_grad():
            weight[rows] = sampled
            momentum[rows] = optimiser.state[sampled]["momentum_buffer"]

    return sampled_step


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(variant: str, classes: int, rate: float, batch: int, steps: int) -> dict[str, float]:
    """Seconds of a step, and the bytes that steps need above the weights."""
    make = {"ours": ours, "usual": usual}[variant]
    torch.manual_seed(0)
    embeddings = torch.randn(batch, SIZE, requires_grad=True)
    make(2 * batch, rate)(embeddings, torch.arange(batch))  # what torch itself loads and allocates once
    step = make(classes, rate)
    before, taken = resident(), []
    for _ in range(1 + steps):
        labels = torch.randint(classes, (batch,))
        began = time.perf_counter()
        step(embeddings, labels)
        taken.append(time.perf_counter() - began)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": statistics.median(taken[1:]), "bytes": peak - before}  # the first step allocates momentum


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[10_000, 100_000, 617_970])
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 0.3])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3, help="steps of each process that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each variant")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", choices=VARIANTS, help="measure one variant in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.one:
        torch.set_num_threads(arguments.threads)
        classes, rate = arguments.classes[0], arguments.rates[0]
        print(json.dumps(measure(arguments.one, classes, rate, arguments.batch, arguments.steps)))
        return
    print(
        f"batch {arguments.batch}, {SIZE} features, {arguments.threads} threads; medians of {arguments.rounds} rounds"
    )
    print(
        f"{'classes':>9}{'rate':>6}  {'variant':<9}{'MB above weights':>18}{'× weights':>11}{'s/step':>9}{'ratio':>7}"
    )
    for classes in arguments.classes:
        for rate in arguments.rates:
            results: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
            for _ in range(arguments.rounds):
                for variant in VARIANTS:
                    results[variant].append(alone(variant, classes, rate, arguments))
            report(classes, rate, results)


def alone(variant: str, classes: int, rate: float, arguments: argparse.Namespace) -> dict[str, float]:
    """`measure` in a process of its own."""
    options = {"one": variant, "classes": classes, "rates": rate}
    options |= {key: getattr(arguments, key) for key in ("batch", "steps", "threads")}
    command = [sys.executable, __file__, *(f"--{key}={value}" for key, value in options.items())]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def report(classes: int, rate: float, found: dict[str, list[dict[str, float]]]) -> None:
    weights = 4 * classes * SIZE
    middle = {
        variant: {key: statistics.median(each[key] for each in all_) for key in ("bytes", "seconds")}
        for variant, all_ in found.items()
    }
    for variant, values in middle.items():
        print(
            f"{classes:>9,}{rate:>6}  {variant:<9}{values['bytes'] / 1e6:>18,.0f}{values['bytes'] / weights:>11.2f}"
            f"{values['seconds']:>9.3f}{values['seconds'] / middle['usual']['seconds']:>7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
