"""The classifier of training: unit features against unit class weights, through a margin function."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aroface.heads.margin import Margin


class Classifier(nn.Module):
    """All classes on one device.

    Args:
        num_classes: identities in the training set.
        embedding_size: features per face.
        margin: the margin function.
        generator: source of the initial weights, N(0, 0.01) as in insightface's ``arcface_torch``.
    """

    def __init__(self, num_classes: int, embedding_size: int, margin: Margin, generator: torch.Generator) -> None:
        super().__init__()
        weight = torch.empty(num_classes, embedding_size, device=generator.device)
        self.weight = nn.Parameter(weight.normal_(0, 0.01, generator=generator))
        self.margin = margin

    def logits(self, embeddings: Tensor, labels: Tensor, *, update_statistics: bool = True) -> Tensor:
        """Logits (B, num_classes) of embeddings (B, embedding_size) with labels int64 (B,); always in float32."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            norms = torch.linalg.vector_norm(embeddings, dim=1)
            cosines = F.linear(F.normalize(embeddings), F.normalize(self.weight)).clamp(-1, 1)
            logits: Tensor = self.margin(cosines, labels, norms, update_statistics=update_statistics)
        return logits

    def forward(self, embeddings: Tensor, labels: Tensor, *, update_statistics: bool = True) -> Tensor:
        """Mean cross entropy, a float32 scalar.

        Args:
            embeddings: (B, embedding_size), not normalised.
            labels: int64 (B,) in [0, num_classes).
            update_statistics: whether running statistics of the margin function may move; the adversary's pass says no.
        """
        return F.cross_entropy(self.logits(embeddings, labels, update_statistics=update_statistics), labels)
