"""One contract for every network, and backbones that public weights fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from adverse_perception.frames import Weather  # noqa: E402
from adverse_perception.inference import load_engine  # noqa: E402
from adverse_perception.labels import CLASS_NAMES  # noqa: E402
from training.checkpoints import Checkpoint  # noqa: E402
from training.export import ExportError, export  # noqa: E402
from training.network_engine import NetworkEngine  # noqa: E402
from training.networks.classifier import WeatherNet  # noqa: E402
from training.networks.deeplab import DeepLabV3Plus  # noqa: E402
from training.networks.encoders import (  # noqa: E402
    BACKBONES,
    BackboneError,
    BasicBlock,
    Bottleneck,
    MobileNetV2,
    ResNet,
    load_backbone,
)
from training.recipes import Recipe, Schedule  # noqa: E402

torch.set_num_threads(1)
CLASSES = len(CLASS_NAMES)


@dataclass(frozen=True)
class Kind:
    """A network under test: how to make it, its role, its output's channels and stride."""

    make: Callable[[], nn.Module]
    role: str
    channels: int
    stride: int | None

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        if self.stride is None:
            return (self.channels,)
        return (self.channels, -(-height // self.stride), -(-width // self.stride))


BACKBONES |= {
    "tiny_basic": lambda: ResNet(BasicBlock, (1, 1, 1, 1), 8),
    "tiny_bottleneck": lambda: ResNet(Bottleneck, (1, 1, 1, 1), 4),
    "tiny_mobile": lambda: MobileNetV2(0.25),
}
KINDS = {
    name: Kind(partial(DeepLabV3Plus, name, CLASSES, 16), "segmentation", CLASSES, 4)
    for name in ("tiny_basic", "tiny_bottleneck", "tiny_mobile", "resnet18_w24")
} | {"weather": Kind(partial(WeatherNet, len(Weather), 8), "weather", len(Weather), None)}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def pictures(count: int, height: int, width: int) -> Tensor:
    """(N, H, W, 3) uint8."""
    generator = torch.Generator().manual_seed(count)
    size = (count, height, width, 3)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


class TestNetwork:
    """What every network here keeps to."""

    @pytest.fixture
    def network(self, kind: Kind) -> Iterator[nn.Module]:
        torch.manual_seed(0)
        yield kind.make()

    @pytest.mark.parametrize("size", [(48, 64), (50, 71), (33, 32)])
    def test_any_size_gives_logits_of_its_stride(
        self, kind: Kind, network: nn.Module, size: tuple[int, int]
    ) -> None:
        with torch.no_grad():
            output = network.eval()(pictures(2, *size))
        assert output.shape == (2, *kind.output_shape(*size))
        assert output.dtype == torch.float32
        assert output.isfinite().all()

    def test_nothing_is_held_between_calls(self, network: nn.Module) -> None:
        network.eval()
        first, other = pictures(1, 32, 48), pictures(2, 32, 48)[1:]
        with torch.no_grad():
            before = network(first)
            network(other)
            torch.testing.assert_close(network(first), before, rtol=0, atol=0)

    def test_pictures_of_a_batch_do_not_see_each_other(self, network: nn.Module) -> None:
        batch = pictures(3, 32, 48)
        with torch.no_grad():
            together = network.eval()(batch)
            alone = torch.cat([network(picture[None]) for picture in batch])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)

    def test_every_weight_has_a_gradient_and_the_loss_falls(self, network: nn.Module) -> None:
        network.train()
        batch = pictures(4, 32, 48) // 3
        batch[::2] += 150  # bright ones are of class 1
        optimiser = torch.optim.Adam(network.parameters(), 3e-3)
        losses = []
        for _ in range(14):
            output = network(batch)
            target = torch.zeros(output.shape[0], *output.shape[2:], dtype=torch.long)
            target[::2] = 1
            loss = cross_entropy(output, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert [name for name, value in network.named_parameters() if value.grad is None] == []
        assert losses[-1] < 0.8 * losses[0]

    def test_exported_engine_says_the_same_at_any_size(
        self, kind: Kind, network: nn.Module, tmp_path: Path
    ) -> None:
        recipe = Recipe("toy", kind.role, ("clear",), Schedule(1), size=(48, 64))
        settle(network)
        checkpoint = Checkpoint(recipe, network.eval(), 1, 0.0, ("camvid", "mine"))
        export(checkpoint, tmp_path / "toy.onnx", {"clear": 0.5})
        engine, twin = load_engine(tmp_path / "toy.onnx"), NetworkEngine(recipe, network)
        for size in ((48, 64), (96, 160), (40, 56)):
            image = pictures(1, *size)[0].numpy()
            found, expected = engine.run(image), twin.run(image)
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                assert found[name].shape == kind.output_shape(*size)
                np.testing.assert_allclose(found[name], value, atol=1e-3 * np.abs(value).max())
        assert [entry["name"] for entry in engine.metadata.training_data] == ["camvid", "mine"]
        assert list(tmp_path.iterdir()) == [tmp_path / "toy.onnx"]


def settle(network: nn.Module) -> None:
    """Let the batch normalisations see pictures, as in training, so that logits have a size."""
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(pictures(2, 48, 64))


def test_engine_that_is_not_the_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("toy", "weather", ("clear",), Schedule(1), size=(48, 64))
    checkpoint = Checkpoint(recipe, WeatherNet(4, 8).eval(), 1, 0.0, ())
    monkeypatch.setattr("training.export.TOLERANCE", -1.0)  # nothing agrees that well
    with pytest.raises(ExportError, match=r"expected scores of ONNX Runtime .* of PyTorch"):
        export(checkpoint, tmp_path / "toy.onnx", {})
    assert list(tmp_path.iterdir()) == []


def test_unknown_backbone_names_the_known() -> None:
    with pytest.raises(BackboneError, match=r"'vgg' is none of resnet18_w24, .*mobilenet_v2"):
        DeepLabV3Plus("vgg", CLASSES, 16)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_backbone_gives_detail_at_a_quarter_and_context_at_a_sixteenth(name: str) -> None:
    with torch.device("meta"):
        backbone = BACKBONES[name]().eval()
        detail, context = backbone(torch.empty(1, 3, 64, 96))
    assert detail.shape == (1, backbone.detail_channels, 16, 24)
    assert context.shape == (1, backbone.context_channels, 4, 6)


Shapes = dict[str, tuple[int, ...]]


def normalisation(name: str, channels: int) -> Shapes:
    kept = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in kept} | {f"{name}.num_batches_tracked": ()}


def torchvisions_resnet(depths: tuple[int, ...], expansion: int) -> Shapes:
    """Names and shapes of torchvision's resnet18 (expansion 1), resnet50 (4) and so on."""
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7), **normalisation("bn1", 64)}
    inputs = 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        for number in range(depth):
            name = f"layer{stage + 1}.{number}"
            sizes = [(inputs, width, 3), (width, width, 3)]
            if expansion == 4:
                sizes = [(inputs, width, 1), (width, width, 3), (width, 4 * width, 1)]
            for place, (source, target, side) in enumerate(sizes, 1):
                shapes[f"{name}.conv{place}.weight"] = (target, source, side, side)
                shapes |= normalisation(f"{name}.bn{place}", target)
            outputs = width * expansion
            if inputs != outputs:
                shapes[f"{name}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes |= normalisation(f"{name}.downsample.1", outputs)
            inputs = outputs
    return shapes


def torchvisions_mobilenet() -> Shapes:
    """Names and shapes of torchvision's mobilenet_v2 up to its last inverted residual."""
    shapes: Shapes = {"features.0.0.weight": (32, 3, 3, 3), **normalisation("features.0.1", 32)}
    inputs, number = 32, 1
    stages = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    for expand, outputs, depth in stages:
        for _ in range(depth):
            name, hidden = f"features.{number}.conv", inputs * expand
            if expand > 1:
                shapes[f"{name}.0.0.weight"] = (hidden, inputs, 1, 1)
                shapes |= normalisation(f"{name}.0.1", hidden)
            place = int(expand > 1)
            shapes[f"{name}.{place}.0.weight"] = (hidden, 1, 3, 3)
            shapes |= normalisation(f"{name}.{place}.1", hidden)
            shapes[f"{name}.{place + 1}.weight"] = (outputs, hidden, 1, 1)
            shapes |= normalisation(f"{name}.{place + 2}", outputs)
            inputs, number = outputs, number + 1
    return shapes


TORCHVISION = {
    "resnet18": torchvisions_resnet((2, 2, 2, 2), 1),
    "resnet34": torchvisions_resnet((3, 4, 6, 3), 1),
    "resnet50": torchvisions_resnet((3, 4, 6, 3), 4),
    "resnet101": torchvisions_resnet((3, 4, 23, 3), 4),
    "mobilenet_v2": torchvisions_mobilenet(),
}
PARAMETERS = {"resnet18": 11_176_512, "resnet50": 23_508_032, "mobilenet_v2": 1_811_712}
"""Published sizes without the parts that only classify."""


@pytest.mark.parametrize("name", TORCHVISION)
def test_backbone_has_torchvisions_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        backbone = BACKBONES[name]()
    assert {k: tuple(v.shape) for k, v in backbone.state_dict().items()} == TORCHVISION[name]
    if name in PARAMETERS:
        assert sum(value.numel() for value in backbone.parameters()) == PARAMETERS[name]


def public_weights(name: str, path: Path, **changed: tuple[int, ...]) -> dict[str, Tensor]:
    """Write weights as torchvision gives them out: with a head, and without batch counters."""
    shapes = {k: s for k, s in TORCHVISION[name].items() if not k.endswith("batches_tracked")}
    shapes |= {"fc.weight": (1000, 512), "fc.bias": (1000,), **changed}
    weights = {key: torch.full(shape, 0.25) for key, shape in shapes.items()}
    torch.save(weights, path)
    return weights


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_public_weights_load_into_the_full_width_backbone(name: str, tmp_path: Path) -> None:
    weights = public_weights(name, tmp_path / "public.pth")
    backbone = BACKBONES[name]()
    load_backbone(backbone, tmp_path / "public.pth")
    for key, value in backbone.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(value, weights[key]), key


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    public_weights("resnet18", path)
    narrow = BACKBONES["resnet18_w24"]()
    before = {name: value.clone() for name, value in narrow.state_dict().items()}
    with pytest.raises(BackboneError, match=r"public\.pth: expected .*ResNet, but 100 of 100 .*"):
        load_backbone(narrow, path)
    assert all(torch.equal(value, before[name]) for name, value in narrow.state_dict().items())


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    public_weights("resnet18", path)
    with pytest.raises(BackboneError, match=r"MobileNetV2, but .*first: features\.0\.0\.weight"):
        load_backbone(BACKBONES["mobilenet_v2"](), path)
    with pytest.raises(BackboneError, match=r"missing\.pth: expected a state dict .* again"):
        load_backbone(BACKBONES["resnet18"](), tmp_path / "missing.pth")
    path.write_bytes(b"not weights")
    with pytest.raises(BackboneError, match="expected a state dict of torchvision"):
        load_backbone(BACKBONES["resnet18"](), path)
