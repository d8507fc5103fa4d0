"""Networks for video: the paper's sizes and costs, any picture's size, what they begin with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from adverse_perception.kernels.definition import upsample

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from tests.toys import moved  # noqa: E402
from training.checkpoints import named_recipe  # noqa: E402
from training.networks.davss import Davss, DistortionAware, Parts  # noqa: E402
from training.networks.deeplab import DeepLabV3Plus  # noqa: E402
from training.networks.distortion import CorrectionNet, DistortionNet  # noqa: E402
from training.networks.flownet import FlowNet  # noqa: E402
from training.networks.warp import quartered, resized, warp  # noqa: E402
from training.networks.xception import Xception, XceptionDeepLab  # noqa: E402

torch.set_num_threads(1)
SIZES = [(64, 128), (37, 53), (6, 130), (1, 1)]


def pictures(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


def photographs(height: int, width: int, seed: int = 0) -> Tensor:
    """As a camera gives them."""
    return (pictures(height, width, seed) * 255).to(torch.uint8).permute(0, 2, 3, 1)


def parameters(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def gigamacs(network: nn.Module, *inputs: Tensor) -> float:
    """As the paper's table counts: two for every value that is normalised."""
    normalised = 0

    def count(module: nn.Module, given: object, output: Tensor) -> None:
        nonlocal normalised
        normalised += output.numel()

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return (counter.get_total_flops() / 2 + 2 * normalised) / 1e9


@pytest.mark.parametrize(
    ("make", "count", "size", "gmacs"),
    [
        (lambda: XceptionDeepLab(19), 41.05e6, (1024, 2048), 413.3),
        (lambda: XceptionDeepLab(11), 41.05e6, (720, 960), 136.1),
        (FlowNet, 5.46e6, (1024, 2048), 26.2),
        (FlowNet, 5.46e6, (720, 960), 8.70),
        (DistortionNet, 764, (256, 512), 0.185),
        (lambda: CorrectionNet(19), 9.49e6, (1024, 2048), 31.6),
        (lambda: CorrectionNet(11), 9.49e6, (720, 960), 10.47),
    ],
)
def test_network_of_the_papers_width_has_the_papers_size_and_cost(
    make: Callable[[], nn.Module], count: float, size: tuple[int, int], gmacs: float
) -> None:
    with torch.device("meta"):
        network = make().eval()
        picture = torch.empty(1, 3, *size)
        inputs = {
            XceptionDeepLab: [torch.empty(1, *size, 3, dtype=torch.uint8)],
            CorrectionNet: [picture],
        }
        found = gigamacs(network, *inputs.get(type(network), [picture, picture]))
    assert parameters(network) == pytest.approx(count, abs=5e3 if count > 1e6 else 0)
    assert found == pytest.approx(gmacs, rel=2e-3)


def test_other_frames_cost_a_seventh_of_a_keyframe() -> None:
    with torch.device("meta"):
        frame = torch.empty(1, 3, 1024, 2048)
        aware = DistortionAware(19).eval()
        memory = aware.begin(frame, torch.empty(1, 19, 256, 512))
        with FlopCounterMode(display=False) as counter:
            aware.correct(aware.propagate(memory, frame))
    assert counter.get_total_flops() / 2e9 / 413.3 == pytest.approx(0.14, abs=0.002)


@pytest.mark.parametrize("name", ["davss", "davss_full"])
def test_recipes_have_the_papers_networks(name: str) -> None:
    with torch.device("meta"):
        network = named_recipe(name).network()
    sizes = [parameters(part) for part in (network.flow, network.distortion, network.correction)]
    assert sizes == [5_462_306, 764, 9_486_923]
    assert parameters(network) == sum(sizes)


def test_recipe_of_the_papers_segmenter_has_its_size() -> None:
    with torch.device("meta"):
        network = named_recipe("keyframe_full").network()
    assert isinstance(network, XceptionDeepLab)
    assert parameters(network) / 1e6 == pytest.approx(41.05, abs=0.005)


def test_xception_is_normalised_as_the_paper_says() -> None:
    with torch.device("meta"):
        network = XceptionDeepLab(19)
        backbone, whole = (
            [module for module in part.modules() if isinstance(module, nn.BatchNorm2d)]
            for part in (network.backbone, network)
        )
    assert {module.eps for module in backbone} == {1e-3}
    assert {module.eps for module in whole if module not in backbone} == {1e-5}
    assert {module.momentum for module in whole} == {3e-4}
    image = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    assert torch.equal(network.normalise(image), torch.ones(1, 3, 2, 2))


@pytest.mark.parametrize(
    "make", [lambda: XceptionDeepLab(11, 4, 1), lambda: DistortionAware(11, 4)]
)
def test_normalisation_runs_on_one_process_and_converts_for_several(
    make: Callable[[], nn.Module],
) -> None:
    network = make()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network).modules()
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in converted) == len(norms) > 0


@pytest.mark.parametrize("size", SIZES)
def test_xception_answers_at_a_quarter_of_any_size(size: tuple[int, int]) -> None:
    height, width = size
    network = XceptionDeepLab(11, 4, 1).eval()
    features = network.features(pictures(*size))
    quarter, sixteenth = ((-(-height // n), -(-width // n)) for n in (4, 16))
    assert network(photographs(*size)).shape == (2, 11, *quarter)
    assert features.detail.shape == (2, 32, *quarter)
    assert [scale.shape for scale in features.scales] == [(2, 32, *sixteenth)] * 5


def test_detail_comes_from_before_the_stride_of_the_second_block() -> None:
    backbone = moved(Xception(4, 1))
    x = pictures(32, 48)
    inner = backbone.entry1(backbone.stem(x))
    assert torch.equal(backbone(x)[0], backbone.entry2.first(inner))
    assert float(backbone(x)[0].detach().min()) < 0  # not yet through the next ReLU


def test_gradients_reach_all_of_xception() -> None:
    network = XceptionDeepLab(11, 4, 2).train()
    network(photographs(32, 48)).square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())
    assert all(value.grad.isfinite().all() for value in network.parameters())


@pytest.mark.parametrize("size", SIZES)
def test_flow_and_correction_take_any_size(size: tuple[int, int]) -> None:
    height, width = size
    flows = FlowNet(3)(pictures(*size), pictures(*size, 1))
    sizes = [(-(-height // n), -(-width // n)) for n in (4, 8, 16, 32, 64)]
    assert [flow.shape for flow in flows] == [(2, 2, *one) for one in sizes]
    assert CorrectionNet(11, 4).eval()(pictures(*size)).shape == (2, 11, *sizes[0])


def test_flow_begins_near_zero_and_enlarges_linearly() -> None:
    network = FlowNet(6)
    flow = network(pictures(64, 64), pictures(64, 64, 1))[0]
    assert 0 < float(flow.detach().abs().max()) < 1
    x = torch.arange(6.0).expand(1, 2, 6, 6)
    enlarged = network.enlarge[0](x)[:, :, 1:13, 1:13]
    torch.testing.assert_close(enlarged[..., 2:-2, 2:-2], resized(x, 12, 12)[..., 2:-2, 2:-2])


def test_flow_tells_the_frames_apart() -> None:
    network, (a, b) = moved(FlowNet(3)), (pictures(64, 64), pictures(64, 64, 1))
    assert not torch.allclose(network(a, b)[0], network(b, a)[0])


def test_warp_fetches_from_where_the_flow_points() -> None:
    planes = pictures(7, 9)
    flow = torch.zeros(2, 2, 7, 9)
    assert torch.allclose(warp(planes, flow), planes, atol=1e-6)
    flow[:, 0], flow[:, 1] = 2.0, -1.0
    by_hand = torch.stack([planes[:, :, max(y - 1, 0)] for y in range(7)], 2)
    by_hand = torch.stack([by_hand[..., min(x + 2, 8)] for x in range(9)], 3)
    torch.testing.assert_close(warp(planes, flow), by_hand, atol=1e-5, rtol=0)


def test_warp_interpolates_between_pixels_and_teaches_the_flow() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    flow = torch.full((1, 2, 8, 8), 0.5, requires_grad=True)
    moved_ramp = warp(ramp, flow)
    torch.testing.assert_close(moved_ramp[..., :-1], ramp[..., :-1] + 0.5)
    moved_ramp[..., 1:-1, 1:-1].sum().backward()
    torch.testing.assert_close(flow.grad[0, 0, 1:-1, 1:-1], torch.ones(6, 6))
    assert float(flow.grad[0, 1].abs().max()) < 1e-5  # the ramp is the same in every row


def test_maps_change_their_size_as_on_the_vehicle() -> None:
    planes = pictures(5, 7)[0]
    expected = upsample(planes.numpy().astype(np.float32), 18, 27)
    torch.testing.assert_close(
        resized(planes[None], 18, 27)[0], torch.from_numpy(expected), atol=1e-5, rtol=0
    )
    assert quartered(pictures(9, 16)).shape == (2, 3, 3, 4)


@pytest.mark.parametrize("learning", [False, True])
def test_distortion_is_none_for_equal_pictures_and_the_same_both_ways(learning: bool) -> None:
    network = moved(DistortionNet()).train(learning)
    a, b = pictures(12, 16), pictures(12, 16, 1)
    assert float(network(a, a).detach().max()) < 1e-6
    distortion = network(a, b)
    torch.testing.assert_close(distortion, network(b, a))
    assert distortion.shape == (2, 1, 12, 16)
    assert 0 <= float(distortion.detach().min()) < float(distortion.detach().max()) <= 1


def test_calibration_adds_two_parameters_and_keeps_the_order() -> None:
    plain, calibrated = moved(DistortionNet()), DistortionNet(calibrated=True)
    assert parameters(calibrated) == 766
    calibrated.load_state_dict(plain.state_dict(), strict=False)
    a, b = pictures(12, 16), pictures(12, 16, 1)
    angle, chance = (network(a, b).detach() for network in (plain, calibrated.eval()))
    torch.testing.assert_close(chance, torch.sigmoid(8 * angle - 4))


@pytest.fixture
def whole() -> Davss:
    segmenter = moved(DeepLabV3Plus("resnet18_w24", 11, 16))
    return Davss(segmenter, moved(DistortionAware(11, 4))).eval()


@torch.no_grad()
def test_frames_are_carried_one_by_one_and_blended_at_full_size(whole: Davss) -> None:
    images = [photographs(37, 54, seed) for seed in range(3)]
    frames = [image.permute(0, 3, 1, 2) / 255 for image in images]
    logits, small = whole.segmenter(images[0]), quartered(frames[0])
    for before, now in pairwise(frames):
        flow = whole.aware.flow(now, before)[0]
        logits, small = warp(logits, flow), warp(small, flow)
    distortion = resized(whole.aware.distortion(small, quartered(frames[2])), 37, 54)
    corrected = resized(whole.aware.correction(frames[2]), 37, 54)
    expected = (1 - distortion) * resized(logits, 37, 54) + distortion * corrected
    assert expected.shape == (2, 11, 37, 54)
    torch.testing.assert_close(whole(images), expected)
    steps = whole.aware(frames, whole.segmenter(images[0]))
    parts = Parts(steps[1].memory.logits, steps[1].corrected, steps[1].distortion)
    torch.testing.assert_close(parts.at(37, 54).blended, expected)


@torch.no_grad()
def test_correction_of_a_keyframe_leaves_it_as_it_is(whole: Davss) -> None:
    image = photographs(32, 48)
    torch.testing.assert_close(whole([image]), resized(whole.segmenter(image), 32, 48))


@torch.no_grad()
def test_nothing_is_computed_beyond_what_is_asked_for(whole: Davss) -> None:
    frames = [pictures(32, 48, seed) for seed in range(3)]
    logits = torch.rand(2, 11, 8, 12)
    flows, distorted, corrected = (
        whole.aware(frames, logits, until) for until in ("flow", "distortion", "correction")
    )
    assert all(step[1:] == (None, None, None) for step in flows)
    assert all(step.distortion is not None and step.corrected is None for step in distorted)
    assert all(step.corrected is not None for step in corrected)
    for step, other in zip(flows, corrected, strict=True):
        torch.testing.assert_close(step.flows, other.flows)


def test_segmenter_stays_frozen_while_the_rest_learns(whole: Davss) -> None:
    whole.train()
    assert whole.aware.correction.training
    assert not any(module.training for module in whole.segmenter.modules())
    assert not any(value.requires_grad for value in whole.segmenter.parameters())
