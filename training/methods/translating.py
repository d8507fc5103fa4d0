"""Day to night and back without pairs: the losses of CycleGAN (Zhu et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from adverse_perception.frames import UInt8Array
from training.methods.method import Batch, picture_of, planes, planes_of
from training.networks.cyclegan import Earlier, Sides, Translated
from training.networks.guide import Guide
from training.recipes import Recipe

POOL = 50


class Translating:
    """L = MSE(D(made), 1) + c |again - given| + i |same - given| on either side, day and night.

    c and i are the recipe's losses `cycle` and `identity`, 10 and 5 in the paper. The judges learn
    in the same step: 0.5 MSE(D(given), 1) + 0.5 MSE(D(fake), 0), fakes out of a pool.
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        self._cycle, self._identity = recipe.losses["cycle"], recipe.losses["identity"]
        self._days, self._nights = ImagePool(POOL), ImagePool(POOL)

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        given = Sides(_signed(planes(batch["day"])), _signed(planes(batch["night"])))
        earlier = self._days.draw(given.day), self._nights.draw(given.night)
        seen: Translated = network(given.day, given.night, *earlier)
        self._days.take(seen.made.day)
        self._nights.take(seen.made.night)
        return self.generators_loss(seen, given) + judges_loss(seen)

    def generators_loss(self, seen: Translated, given: Sides) -> Tensor:
        """What the generators make small; the judges get no gradient of it."""
        return (
            _verdicts(seen.fooled, 1.0)
            + self._cycle * _distance(seen.again, given)
            + self._identity * _distance(seen.same, given)
        )


def judges_loss(seen: Translated) -> Tensor:
    """What the judges make small; the generators get no gradient of it."""
    return 0.5 * (_verdicts(seen.real, 1.0) + _verdicts(seen.fake, 0.0))


def _verdicts(said: Sides, truth: float) -> Tensor:
    """Least squares (Mao et al. 2017) of both judges."""
    errors = [mse_loss(one.float(), torch.full_like(one, truth).float()) for one in said]
    return errors[0] + errors[1]


def _distance(made: Sides, given: Sides) -> Tensor:
    return l1_loss(made.day.float(), given.day) + l1_loss(made.night.float(), given.night)


class ImagePool:
    """What a generator made in earlier steps, so that its judge does not forget it.

    As of Shrivastava et al. 2017: while there is room, what is made now is kept and shown; later
    on, half of the time the judge is shown an earlier picture instead, and that gives its place to
    what is made now. The pool is no part of a checkpoint: a resumed run begins with an empty one.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[Tensor] = []
        self._places: list[int | None] = []

    def draw(self, like: Tensor) -> Earlier:
        """What the judge sees again in this step; `take` then has to follow.

        Args:
            like: (N, 3, H, W) float, as what is to be made.
        """
        room = self._size - len(self._kept)
        self._places = [
            len(self._kept) + number if number < room else self._chance()
            for number in range(len(like))
        ]
        shown = [place is not None and place < len(self._kept) for place in self._places]
        pictures = [
            self._kept[place] if place is not None and seen else one
            for place, seen, one in zip(self._places, shown, like, strict=True)
        ]
        return Earlier(torch.stack(pictures), torch.tensor(shown, device=like.device))

    def _chance(self) -> int | None:
        """A place in the full pool, or half of the time none."""
        return int(torch.randint(self._size, ())) if torch.rand(()) < 0.5 else None

    def take(self, made: Tensor) -> None:
        """Keep what `draw` has made room for: (N, 3, H, W) float."""
        for place, picture in zip(self._places, made.detach().float(), strict=True):
            if place is not None:
                self._kept[place : place + 1] = [picture.clone()]


@torch.no_grad()
def translated(generator: nn.Module, picture: UInt8Array) -> UInt8Array:
    """A picture (H, W, 3) uint8 RGB in the other light, by one of a `CycleGan`'s generators."""
    device = next(generator.parameters()).device
    made: Tensor = generator(_signed(planes_of(picture).to(device)))
    return picture_of((made.float() + 1) / 2)


def _signed(pictures: Tensor) -> Tensor:
    """From 0 to 1 to what generators and judges work on, -1 to 1."""
    return 2 * pictures - 1
