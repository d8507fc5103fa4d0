"""Learning which of two channels to believe."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from adverse_perception.labels import UNLABELLED
from training.methods.method import Batch
from training.methods.plain import Segmenting
from training.networks.fusion import CHANNELS, PATCH, Fused, label_map

TIE = -1
"""No channel is the better one in a patch, or nobody knows."""


class Fusing(Segmenting):
    """What labels cost the fused answer; of the votes, where the network chooses by patches."""

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        fused: Fused = network(batch["image"])
        if fused.votes is None:
            return self.labelled(fused.logits, batch)
        return voting_loss(fused.votes, better_channel(fused, batch["labels"], batch["groups"]))


def voting_loss(votes: Tensor, better: Tensor) -> Tensor:
    """Cross-entropy, its mean over the patches that are no ties.

    Shape: votes (N, 2, rows, columns), logits; better (N, rows, columns), see `better_channel`.
    """
    total = cross_entropy(votes.float(), better, ignore_index=TIE, reduction="sum")
    return total / (better != TIE).sum().clamp_min(1)


@torch.no_grad()
def better_channel(fused: Fused, labels: Tensor, groups: Tensor) -> Tensor:
    """The channel with more pixels right, in every patch of the picture.

    Shape: labels (N, H, W) int64, 255 = ignore; groups (N, K, K), see `grouped_cross_entropy`; out
        (N, ceil(H/20), ceil(W/20)) int64, a place in `CHANNELS` or `TIE`.
    """
    real, adaptive = (
        right(label_map(logits, labels.shape[1:]), labels, groups)
        for logits in (fused.real, fused.adaptive)
    )
    lead = avg_pool2d(real - adaptive, PATCH, ceil_mode=True)
    better = torch.full_like(lead, TIE, dtype=torch.long)
    better[lead > 0] = CHANNELS.index("real")
    better[lead < 0] = CHANNELS.index("adaptive")
    return better


def right(named: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """1 where the class named is one of those that the label may mean, else 0.

    Shape: named and labels (N, H, W) int64, 255 = ignore; groups (N, K, K); out (N, H, W) float32.
    """
    known = labels != UNLABELLED
    sample = torch.arange(len(groups), device=groups.device)[:, None, None]
    meant: Tensor = groups[sample, labels.where(known, 0), named] * known
    return meant
