"""Two channels that fail in different places: patches as NiSeNet draws them, and weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import one_hot  # noqa: E402

from adverse_perception.inference import load_engine  # noqa: E402
from adverse_perception.labels import CLASS_NAMES, UNLABELLED  # noqa: E402
from tests.toys import ALONE, TOY, moved  # noqa: E402
from training.checkpoints import Checkpoint  # noqa: E402
from training.export import export  # noqa: E402
from training.methods import METHODS  # noqa: E402
from training.methods.fusing import TIE, Fusing, better_channel, voting_loss  # noqa: E402
from training.network_engine import NetworkEngine  # noqa: E402
from training.networks.blocks import Normalise, chances  # noqa: E402
from training.networks.fusion import (  # noqa: E402
    FUSIONS,
    Fused,
    PatchFusion,
    TwoChannels,
    label_map,
)
from training.recipes import Recipe, Schedule, Stage  # noqa: E402
from training.run import Run  # noqa: E402

CLASSES = len(CLASS_NAMES)
SIZE = (40, 80)
WRONG = 7  # so much does a half-blind channel believe in anything


def recipe_of(fusion: str) -> Recipe:
    return replace(
        TOY,
        name=f"toy_{fusion}",
        role="fusion",
        schedule=Schedule(4, batch=2, stages=(Stage(trains=("fuse.",)),)),
        options={"fusion": fusion},
    )


def pictures(count: int, height: int, width: int) -> Tensor:
    """(N, H, W, 3) uint8."""
    generator = torch.Generator().manual_seed(count)
    size = (count, height, width, 3)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


@pytest.fixture(params=FUSIONS)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return recipe_of(request.param)


@pytest.fixture
def network(recipe: Recipe) -> TwoChannels:
    torch.manual_seed(0)
    made = recipe.network()
    assert isinstance(made, TwoChannels)
    return made.eval()


@pytest.mark.parametrize(("size", "patches"), [((37, 53), (2, 3)), ((256, 256), (13, 13))])
@torch.no_grad()
def test_any_size_is_fused_at_the_stride_of_the_logits(
    network: TwoChannels, size: tuple[int, int], patches: tuple[int, int]
) -> None:
    fused = network(pictures(1, *size))
    grid = tuple(-(-side // 4) for side in size)
    for logits in (fused.logits, fused.real, fused.adaptive):
        assert logits.shape == (1, CLASSES, *grid)
    assert fused.choice.shape == (1, 1, *grid)
    assert ((fused.choice >= 0) & (fused.choice <= 1)).all()
    if isinstance(network.fuse, PatchFusion):
        assert fused.votes is not None
        assert fused.votes.shape == (1, 2, *patches)
    else:
        assert fused.votes is None


def test_unknown_fusion_is_told_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"fusion: expected one of patch, soft, found 'hard'"):
        TwoChannels("resnet18_w24", CLASSES, 16, fusion="hard")


def test_layers_of_the_patch_network_are_as_drawn() -> None:
    fuse = PatchFusion(CLASSES)
    sides: dict[str, list[int]] = {"branch5": [], "branch3": []}
    for name, seen in sides.items():
        for layer in fuse.get_submodule(name):
            if not isinstance(layer, nn.ReLU):
                layer.register_forward_hook(lambda _, __, x, seen=seen: seen.append(x.shape[-1]))
    assert fuse.vote(*torch.rand(2, 1, 3, 20, 20)).shape == (1, 2)
    assert sides == {"branch5": [16, 12, 8], "branch3": [18, 16, 8, 8]}
    widths = [[layer.out_channels for layer in branch if isinstance(layer, nn.Conv2d)]
              for branch in (fuse.branch5, fuse.branch3)]  # fmt: skip
    assert widths == [[128, 64, 32], [128, 64, 32]]


def test_patches_of_both_channels_share_their_weights() -> None:
    layers = [  # inputs and outputs, a bias for each output
        *((3 * 25, 128), (128 * 25, 64), (64 * 25, 32)),
        *((3 * 9, 128), (128 * 9, 64), (64, 32)),
        *((64, 16), (64, 16), (2048, 512), (512, 128), (128, 2)),
    ]
    drawn = sum((inputs + 1) * outputs for inputs, outputs in layers)
    assert sum(value.numel() for value in PatchFusion(CLASSES).parameters()) == drawn


@torch.no_grad()
def test_a_patch_is_all_of_the_channel_with_more_votes() -> None:
    network = recipe_of("patch").network()
    network.fuse.vote = lambda real, adaptive: torch.eye(2)[torch.arange(len(real)) % 2]
    fused = network(pictures(1, 50, 70))
    real, cells = (fused.votes[:, 0] > fused.votes[:, 1])[0], fused.choice[0, 0]
    assert real.flatten().tolist() == [True, False] * 6
    for row, column in torch.cartesian_prod(torch.arange(3), torch.arange(4)).tolist():
        rows, columns = slice(5 * row, 5 * row + 5), slice(5 * column, 5 * column + 5)
        chosen = fused.real if real[row, column] else fused.adaptive
        assert (cells[rows, columns] == float(real[row, column])).all()
        assert torch.equal(fused.logits[..., rows, columns], chosen[..., rows, columns])


@torch.no_grad()
def test_patches_that_are_alike_have_no_vote() -> None:
    network = recipe_of("patch").network()
    network.adaptive.load_state_dict(network.real.state_dict())
    fused = network(pictures(2, 40, 40))
    assert (fused.votes == 0).all()
    assert torch.equal(fused.logits, fused.real)


@torch.no_grad()
def test_soft_fusion_begins_with_the_mean() -> None:
    torch.manual_seed(0)
    network = recipe_of("soft").network()
    for mode in (True, False):
        fused = network.train(mode)(pictures(2, 40, 56))
        assert (fused.choice == 0.5).all()
        mean = (chances(fused.real) + chances(fused.adaptive)) / 2
        torch.testing.assert_close(fused.logits.exp(), mean)


class HalfBlind(nn.Module):
    """Says what is there in one half of the picture, and anything at all in the other."""

    def __init__(self, *, blind_on_the_left: bool) -> None:
        super().__init__()
        self._blind = slice(None, SIZE[1] // 8) if blind_on_the_left else slice(SIZE[1] // 8, None)

    def forward(self, image: Tensor) -> Tensor:
        named = image[:, ::4, ::4, 0].long()
        named[..., self._blind] = torch.randint(0, CLASSES, named[..., self._blind].shape)
        return WRONG * one_hot(named, CLASSES).permute(0, 3, 1, 2).float()


def batch_of(rng: torch.Generator, count: int = 4) -> dict[str, Tensor]:
    """Bands of three classes, and pictures whose values are the classes."""
    labels = torch.zeros(count, *SIZE, dtype=torch.long)
    for one in labels:
        upper, lower = (int(torch.randint(4, 7, (), generator=rng)) * n for n in (2, 5))
        one[upper:lower], one[lower:] = 1, 3
    image = labels[..., None].expand(-1, -1, -1, 3).to(torch.uint8)
    return {"image": image, "labels": labels, "groups": torch.eye(CLASSES).repeat(count, 1, 1)}


def test_fusion_learns_whom_to_believe_where(recipe: Recipe, network: TwoChannels) -> None:
    network.real = HalfBlind(blind_on_the_left=False)
    network.adaptive = HalfBlind(blind_on_the_left=True)
    method, rng = METHODS["fusion"](recipe, None), torch.Generator().manual_seed(0)
    steps, rate = {"toy_patch": (8, 1e-3), "toy_soft": (60, 5e-3)}[recipe.name]
    optimiser = torch.optim.Adam(network.fuse.parameters(), rate)
    network.train()
    for _ in range(steps):
        loss = method.loss(network, batch_of(rng), "all")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    batch = batch_of(rng)
    with torch.no_grad():
        fused = network.eval()(batch["image"])
    fused_right, *alone = (
        (label_map(logits, SIZE) == batch["labels"]).float().mean()
        for logits in (fused.logits, fused.real, fused.adaptive)
    )
    assert max(alone) < 0.7
    assert fused_right > 0.85  # of the rest, most is at the edges of the bands
    assert fused.choice[..., :10].mean() > 0.8
    assert fused.choice[..., 10:].mean() < 0.2


def test_both_channels_stay_exactly_as_they_are(recipe: Recipe, tmp_path: Path) -> None:
    run = Run(recipe, tmp_path, ALONE)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        labels = torch.randint(0, CLASSES, (2, 40, 60), generator=generator)
        batch = {"image": pictures(2, 40, 60), "labels": labels}
        run.train_step({**batch, "groups": torch.eye(CLASSES).repeat(2, 1, 1)})
    for state in (run.network.state_dict(), run.average.network.state_dict()):
        changed = {name for name, value in state.items() if not torch.equal(value, before[name])}
        assert changed
        assert all(name.startswith("fuse.") for name in changed)
    assert not run.network.real.training
    assert run.network.fuse.training


def fused_of(real: Tensor, adaptive: Tensor) -> Fused:
    """Channels that name these classes, each (h, w)."""
    both = [9.0 * one_hot(one, 3).permute(2, 0, 1)[None].float() for one in (real, adaptive)]
    return Fused(both[0], *both, torch.zeros(1, 1, *real.shape), None)


def test_better_channel_has_more_pixels_right() -> None:
    labels = torch.zeros(1, 40, 60, dtype=torch.long)
    labels[:, 20:, 20:40] = UNLABELLED
    real, adaptive = (torch.zeros(10, 15, dtype=torch.long) for _ in range(2))
    real[:2, :5] = 1  # half as much wrong as the other in the first patch
    adaptive[:4, :5] = 1
    real[1, 7] = adaptive[3, 7] = 1  # as much wrong as the other
    real[2:5, 10:] = 1
    real[5:, 5:10] = 1  # where nobody knows
    better = better_channel(fused_of(real, adaptive), labels, torch.eye(3)[None])
    assert better.tolist() == [[[0, TIE, 1], [TIE, TIE, TIE]]]


def test_label_that_may_mean_several_classes_is_right_for_each() -> None:
    groups = torch.eye(3)[None].clone()
    groups[0, 0, 1] = 1  # 0 or 1
    labels = torch.zeros(1, 20, 20, dtype=torch.long)
    one, two = torch.full((5, 5), 1), torch.full((5, 5), 2)
    fused = fused_of(two, one)
    assert better_channel(fused, labels, groups).item() == 1
    assert better_channel(fused, labels, torch.eye(3)[None]).item() == TIE
    assert better_channel(fused_of(one, torch.zeros_like(one)), labels, groups).item() == TIE


def test_ties_teach_nothing() -> None:
    votes = torch.randn(1, 2, 1, 3, requires_grad=True)
    voting_loss(votes, torch.tensor([[[TIE, 0, TIE]]])).backward()
    assert votes.grad is not None
    assert (votes.grad[..., [0, 2]] == 0).all()
    assert (votes.grad[..., 1] != 0).all()
    nothing = voting_loss(votes, torch.full((1, 1, 3), TIE))
    assert nothing.item() == 0


def test_soft_fusion_learns_from_coarse_labels() -> None:
    recipe, generator = recipe_of("soft"), torch.Generator().manual_seed(0)
    network, batch = recipe.network(), batch_of(generator)
    fine = Fusing(recipe, None).loss(network, batch, "all").item()
    batch["groups"][:, 1, 2] = 1
    assert Fusing(recipe, None).loss(network, batch, "all") < fine


class Chequered(nn.Module):
    """Names many classes, which an untrained segmenter does not."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise, self.name = Normalise(), nn.Conv2d(3, CLASSES, 4, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.name(self.normalise(image))


@torch.no_grad()
def undecided(network: TwoChannels) -> TwoChannels:
    """Half of all votes are for either channel."""
    network.real, network.adaptive = Chequered(), Chequered()
    if isinstance(network.fuse, PatchFusion):
        votes = network(pictures(1, 72, 104)).votes
        network.fuse.decide[-1].bias[0] -= (votes[:, 0] - votes[:, 1]).quantile(0.5)
        choice = network(pictures(1, 72, 104)).choice
        assert 0.3 < choice.mean() < 0.7
    return network


def test_exported_engine_says_the_same_at_any_size(
    recipe: Recipe, network: TwoChannels, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(recipe, undecided(moved(network)), 1, 0.0, ("camvid",))
    export(checkpoint, tmp_path / "toy.onnx", {"night": 0.5})
    engine, twin = load_engine(tmp_path / "toy.onnx"), NetworkEngine(recipe, network)
    assert engine.metadata.role == "segmentation"
    for size in ((48, 64), (72, 104)):
        image = pictures(1, *size)[0].numpy()
        found, expected = engine.run(image)["logits"], twin.run(image)["logits"]
        assert abs(found - expected).max() < 1e-3 * abs(expected).max()
