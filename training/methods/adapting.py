"""Teaching a segmenter about a night without labels by deceiving a judge (Tsai et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.methods.method import Batch
from training.methods.plain import Segmenting
from training.networks.adaptive import Adapted, Level


class Adapting(Segmenting):
    """L = S(p) + a S(p') + v J(q) + v' J(q') + the judges' own, halved.

    p and p' are the main and the auxiliary answer to labelled pictures and S what labels cost
    (`Segmenting`); q and q' those to unlabelled ones, and J what it costs while the judge does not
    take them for labelled. a is the recipe's loss `auxiliary`, v `adversarial`, v'
    `adversarial_auxiliary`; 0.1, 0.001 and 0.0002 in AdaptSegNet.
    """

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        said: Adapted = network(batch["image"], batch["target"])
        main, early = said
        share = self._shares
        loss = self.labelled(main.logits, batch)
        loss = loss + share["auxiliary"] * self.labelled(early.logits, batch)
        loss = loss + share["adversarial"] * _taken(main.fooling, labelled=True)
        loss = loss + share["adversarial_auxiliary"] * _taken(early.fooling, labelled=True)
        return loss + _judges_loss(main) + _judges_loss(early)


def _judges_loss(level: Level) -> Tensor:
    both = _taken(level.labelled, labelled=True) + _taken(level.unlabelled, labelled=False)
    return both / 2


def _taken(judged: Tensor, *, labelled: bool) -> Tensor:
    """What it costs when the judge's logits do not say that."""
    judged = judged.float()
    return binary_cross_entropy_with_logits(judged, torch.full_like(judged, float(labelled)))
