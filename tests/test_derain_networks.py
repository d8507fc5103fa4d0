"""Derainers' networks: their size and cost, how far they compute, what they add up to."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from training.checkpoints import named_recipe  # noqa: E402
from training.networks.durn import Durn  # noqa: E402
from training.networks.srrn import (  # noqa: E402
    Deraining,
    RefinementBlock,
    UNet,
    drop_mask,
    durn_r,
    srrn,
)

torch.set_num_threads(1)


def pictures(height: int, width: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height))


def lived_in(network: Deraining) -> Deraining:
    """With the statistics of a batch, so that it does not pass on next to nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(pictures(64, 64))
    return network.eval()


def parameters(network: nn.Module) -> float:
    """In millions."""
    return sum(value.numel() for value in network.parameters()) / 1e6


@pytest.mark.parametrize(
    ("make", "inputs", "side", "millions", "gmacs"),
    [
        (lambda: drop_mask(32), 3, 512, 0.094, 24.6),
        (lambda: UNet(4, 16, 9), 4, 512, 11.51, 15.4),
        (lambda: RefinementBlock(16), 3, 512, 0.921, 28.9 / 2),
        (lambda: Durn(128), 3, 256, 10.18, 46.4),
    ],
    ids=["mask", "coarse", "refinement", "durn"],
)
def test_network_of_the_papers_width_has_the_papers_size_and_cost(
    make: type[nn.Module], inputs: int, side: int, millions: float, gmacs: float
) -> None:
    with torch.device("meta"):
        network = make().eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, inputs, side, side))
    assert parameters(network) == pytest.approx(millions, rel=0.005)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=0.01)


def test_full_recipes_have_the_papers_widths() -> None:
    with torch.device("meta"):
        whole = named_recipe("srrn_full").network()
        behind_durn = named_recipe("durn_r_full").network()
    assert parameters(whole) == pytest.approx(0.094 + 11.51 + 1.84, rel=0.005)
    assert parameters(behind_durn) == pytest.approx(10.18 + 1.84, rel=0.005)


def test_weights_begin_as_the_paper_draws_them() -> None:
    torch.manual_seed(0)
    network = srrn(16)
    for name, value in network.state_dict().items():
        if "running" in name or "tracked" in name:
            continue
        if name.endswith("bias"):
            assert not value.any(), name
        else:
            norm = value.ndim == 1
            assert float(value.mean()) == pytest.approx(float(norm), abs=0.02), name
            assert float(value.std()) == pytest.approx(0.02, rel=0.6), name


@pytest.mark.parametrize("make", [lambda: srrn(2), lambda: durn_r(8)], ids=["srrn", "durn_r"])
@pytest.mark.parametrize("size", [(32, 48), (37, 53), (9, 20), (1, 1)])
def test_pictures_of_any_size_come_back_in_their_size(
    make: type[Deraining], size: tuple[int, int]
) -> None:
    network = make().eval()
    with torch.no_grad():
        derained = network(pictures(*size))
    assert (derained.mask is None) == (network.mask is None)
    assert derained.mask is None or derained.mask.shape == (2, 1, *size)
    assert [p.shape[1:] for p in (derained.coarse, *derained.refined)] == [(3, *size)] * 3


def test_last_picture_holds_every_residual() -> None:
    network = lived_in(srrn(2, blocks=3))
    image = pictures(32, 48)
    with torch.no_grad():
        derained = network(image)
        start = derained.coarse.clamp(0, 1)
        seen = (start, *derained.refined)
        residuals = [block(x) for block, x in zip(network.refine, seen, strict=False)]
    assert len(derained.refined) == 3
    torch.testing.assert_close(derained.refined[-1], start + sum(residuals))
    assert min(float(residual.abs().mean()) for residual in residuals) > 0.01


def test_nothing_is_computed_beyond_what_is_asked_for() -> None:
    network = lived_in(srrn(2))
    image = pictures(32, 32)
    assert network(image, "mask")[1:] == (None, ())
    assert network(image, "coarse").refined == ()
    torch.testing.assert_close(network(image, "coarse").coarse, network(image).coarse)


def test_refinement_without_residuals_gives_back_the_coarse_picture() -> None:
    network = lived_in(durn_r(8))
    for block in network.refine:
        for last in (block.wide.leave, block.fine[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    nn.init.zeros_(network.coarse.tail[-1].weight)
    nn.init.zeros_(network.coarse.tail[-1].bias)
    image = pictures(35, 50)
    derained = network(image)
    assert torch.equal(derained.coarse, image)  # input - residual
    assert torch.equal(derained.refined[-1], image)


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    network = lived_in(srrn(2))
    both = pictures(32, 32)
    with torch.no_grad():
        alone = network(both[:1]).refined[-1]
        together = network(torch.cat([both[:1], 0.1 * both[1:]])).refined[-1][:1]
    assert float(alone.std()) > 0.01
    torch.testing.assert_close(alone, together)
