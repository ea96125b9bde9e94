"""Partial FC (An et al., arXiv 2203.15565): the classifier of training, sharded over ranks, with sampled classes.

Each rank holds some of the classes' weights and sees the features of all ranks. The ranks exchange features, labels and
a few numbers for each sample, never weights or logits.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aroface.distributed import collectives
from aroface.distributed.sharding import shard
from aroface.errors import InputError
from aroface.files import derive_seed
from aroface.heads.base import Head
from aroface.heads.chunked_logits import branches, target_cosines
from aroface.heads.pair_terms.base import MoreNegatives, PairLoss, PairTerm

INITIAL_SD = 0.01
"""Standard deviation of the initial weights, as in insightface's ``arcface_torch``."""

_BLOCK = 1024
"""Number of classes whose initial weights are drawn together."""


class Classifier(nn.Module):
    """Classifier over this rank's classes, ``shard(num_classes, rank, world_size)``; over all without a process group.

    Args:
        num_classes: Number of identities in the training set, at least 2 and one for each rank.
        embedding_size: Number of features per face, D.
        head: Margin function, which becomes a submodule.
        seed: Seed of the initial weights, which do not depend on the number of ranks.
        sample_rate: Share of this rank's classes that take part in a step, in (0, 1]; see :meth:`choose`.
        device: Device of the weights.
        initial: Initial weights. ``normal``: draws from N(0, 0.01), as in insightface's ``arcface_torch``, of length
            0.23 in 512 dimensions; ``unit``: directions of uniform draws from [-1, 1], of length 1, as in AdaFace's.
            The shorter a class's weight, the further a step turns it.
        dtype: Type to which the cosines are rounded, as autocast would do; None for float32.
        pairs: Term of the batch's pairs beside the classes, in float32, which becomes a submodule; None for none.

    The state belongs to the rank: its rows of the weights, and the head's running statistics, which differ between
    ranks where they are those of a rank's own samples.

    Attributes:
        weight: Weights (R, D) of the classes ``rows``, not normalised.
        rows: Range of the classes that this rank holds.

    Raises:
        InputError: Too few classes, a sample rate out of its range, or a pair term that the head cannot take.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        head: Head,
        *,
        seed: int,
        sample_rate: float = 1.0,
        device: torch.device | str | None = None,
        initial: Literal["normal", "unit"] = "normal",
        dtype: torch.dtype | None = None,
        pairs: PairTerm | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise InputError(f"{num_classes} classes", expected="at least 2")
        if not 0 < sample_rate <= 1:
            raise InputError(f"sample_rate is {sample_rate}", expected="0 < sample_rate <= 1")
        self.num_classes = num_classes
        self.sample_rate = sample_rate
        self.rows = shard(num_classes, collectives.rank(), collectives.world_size())
        self.weight = nn.Parameter(_initial_weights(self.rows, embedding_size, seed, device, initial))
        self._dtype = dtype
        self.head = head.to(self.weight.device)
        self.head.start(num_classes, sample_rate)
        self.pairs = pairs
        if isinstance(pairs, MoreNegatives) and head.reduction != "log_sum_exp":
            what = f"{type(pairs).__name__} beside {type(head).__name__}, which is no softmax"
            raise InputError(what, where="pairs", expected="a head with a log-sum-exp over the classes")
        self._chosen: Tensor | None = None

    @torch.no_grad()
    def choose(self, labels: Tensor, generator: torch.Generator | None = None) -> None:
        """Sample the classes that take part from now on; with a sample rate of 1 all do, and nothing is done.

        All classes of the ranks' ``labels`` take part, and others at random until ``int(sample_rate * R)`` of this
        rank's R classes do (at least one; more where the labels' are more). Call it on all ranks, before the forward
        pass.

        Args:
            labels: Labels int64 (n,) of this rank's images; n is the same on all ranks.
            generator: Source of the draw, on any device; None for torch's global one.

        Raises:
            InputError: See :meth:`forward`.
        """
        if self.sample_rate == 1:
            return
        labels = labels.to(self.weight.device)
        self._check(labels)
        places = collectives.gather(labels) - self.rows.start
        chosen = torch.unique(places[(places >= 0) & (places < len(self.rows))])
        wanted = max(1, int(self.sample_rate * len(self.rows)))
        if wanted > len(chosen):
            draws = torch.rand(len(self.rows), generator=generator, device=generator.device if generator else None)
            draws = draws.to(self.weight.device)
            draws[chosen] = 2.0
            chosen = draws.topk(wanted).indices.sort().values
        self._chosen = chosen

    def forward(self, embeddings: Tensor, labels: Tensor, **options: Any) -> Tensor:
        """Compute the mean of :meth:`losses`, which takes these options, a float32 scalar, the same on all ranks."""
        return self.losses(embeddings, labels, **options).mean()

    def losses(
        self,
        embeddings: Tensor,
        labels: Tensor,
        *,
        update_statistics: bool = True,
        weight_gradient: bool = True,
        checked: bool = True,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the loss of each sample of all ranks, float32 (B,), the same on all ranks.

        The gradient of a function of them towards weights and learned scalars is that of this function, on each rank.
        Its gradient towards the embeddings is multiplied by the number of ranks, so that DistributedDataParallel, which
        averages over the ranks, arrives at that of this function.

        Args:
            embeddings: Embeddings (b, D), not normalised; b is the same on all ranks.
            labels: Labels int64 (b,), in [0, num_classes).
            update_statistics: True if running statistics of the head move; not so in the adversary's pass, of which the
                pair term is no part unless its options say so.
            weight_gradient: True if weights and learned scalars may get a gradient; False saves its computation.
            checked: True if sizes and labels are compared between the ranks first, which waits for the device.
            generator: Source of the head's random draws.

        Raises:
            InputError: Batches of different sizes or a label out of range on any rank; every rank raises it.
            ValueError: Labels of a wrong shape or type, or not among those that :meth:`choose` was given.
        """
        if labels.shape != embeddings.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(f"labels are {labels.dtype} {(*labels.shape,)}; expected int64 ({len(embeddings)},)")
        with torch.autocast(embeddings.device.type, enabled=False):
            if checked:
                self._check(labels)
            embeddings = embeddings.float()
            units = F.normalize(embeddings)
            labels = collectives.gather(labels)
            pairs = self.pairs if update_statistics or (self.pairs and self.pairs.options.in_attack) else None
            if isinstance(pairs, PairLoss) and pairs.options.class_weight == 0:
                term: Tensor = pairs.options.weight * pairs(collectives.gather_own(units), labels)
                return term.expand(len(labels))
            terms, penalty = self._sample_terms(embeddings, generator, update_statistics)
            features = collectives.gather_features(units)
            target, others = self._class_branches(features, labels, update_statistics, weight_gradient)
            if isinstance(pairs, MoreNegatives):
                joined = pairs(collectives.own_part(features, units), labels, self.head.s)
                others = torch.logaddexp(others, joined)
            losses = self.head.loss(self.head.target(target, terms), others) + penalty
            if isinstance(pairs, PairLoss):
                term = pairs(collectives.own_part(features, units), labels)
                losses = pairs.options.class_weight * losses + pairs.options.weight * term
            return losses

    def _class_branches(
        self, features: Tensor, labels: Tensor, update_statistics: bool, weight_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        """Compute the target cosines (B,) and the reduced logits (B,) of the other classes of all ranks."""
        columns = self._columns(labels)
        weight = self.weight if weight_gradient else self.weight.detach()
        with torch.no_grad():
            target = collectives.sum_over_ranks(target_cosines(features, weight, columns, self._chosen, self._dtype))
        if update_statistics:
            self.head.observe(target)
        terms = self.head.other_terms(target)
        terms = terms if weight_gradient else terms.detach()
        target, others = branches(features, weight, target, terms, columns, self._chosen, self.head, self._dtype)
        partials = collectives.gather_partials(others)
        return target, partials.sum(0) if self.head.reduction == "sum" else torch.logsumexp(partials, 0)

    def _sample_terms(
        self, embeddings: Tensor, generator: torch.Generator | None, update_statistics: bool
    ) -> tuple[Tensor, Tensor]:
        """Compute the head's terms (B, k) and penalties (B,) of the ranks' samples."""
        norms = torch.linalg.vector_norm(embeddings, dim=1)
        terms = self.head.sample_terms(norms, generator, update_statistics=update_statistics)
        gathered = collectives.gather_own(torch.cat([terms, self.head.penalty(norms).unsqueeze(1)], 1))
        return gathered[:, :-1], gathered[:, -1]

    def _check(self, labels: Tensor) -> None:
        """Refuse, on all ranks alike, a batch that would leave some of them waiting for the others."""
        facts = [len(labels), *(labels.aminmax() if len(labels) else (0, 0))]
        report = torch.stack([torch.as_tensor(number, device=labels.device) for number in facts])
        reports = collectives.gather(report.unsqueeze(0)).tolist()
        sizes = [size for size, _, _ in reports]
        if len({*sizes}) > 1 or not sizes[0]:
            raise InputError(
                f"{', '.join(map(str, sizes))} samples on the ranks", where="batch", expected="as many on each, some"
            )
        for owner, (_, lowest, highest) in enumerate(reports):
            if lowest < 0 or highest >= self.num_classes:
                raise InputError(
                    f"label {lowest if lowest < 0 else highest}",
                    where=f"batch of rank {owner}",
                    expected=f"0 to {self.num_classes - 1}",
                )

    def _columns(self, labels: Tensor) -> Tensor:
        """Return the index (B,) of each label among this rank's sampled classes, -1 where another rank has it."""
        places = labels - self.rows.start
        here = (places >= 0) & (places < len(self.rows))
        if self.sample_rate == 1:
            return torch.where(here, places, -1)
        if self._chosen is None:
            raise ValueError("no classes are chosen; call choose before each step")
        columns = torch.searchsorted(self._chosen, places).clamp_max(len(self._chosen) - 1)
        is_chosen = here & (self._chosen[columns] == places)
        if not collectives.sum_over_ranks(is_chosen.long()).all():
            raise ValueError("a label is not among the chosen classes; give choose the labels of the whole step")
        return torch.where(is_chosen, columns, -1)


def _initial_weights(
    rows: range, embedding_size: int, seed: int, device: torch.device | str | None, initial: str
) -> Tensor:
    """Draw the weights of the classes ``rows``, block by block, so that they depend on nothing else."""
    weight = torch.empty(len(rows), embedding_size, device=device)
    for block in range(rows.start // _BLOCK, -(-rows.stop // _BLOCK)):
        generator = torch.Generator().manual_seed(derive_seed(seed, "classes", block))
        drawn = torch.empty(_BLOCK, embedding_size)
        if initial == "unit":
            drawn = F.normalize(drawn.uniform_(-1, 1, generator=generator))
        else:
            drawn.normal_(0, INITIAL_SD, generator=generator)
        first, last = max(rows.start, block * _BLOCK), min(rows.stop, (block + 1) * _BLOCK)
        weight[first - rows.start : last - rows.start] = drawn[first - block * _BLOCK : last - block * _BLOCK]
    return weight
