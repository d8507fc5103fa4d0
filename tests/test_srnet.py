"""SR-Net's two modules, their corrupted maps and their losses."""

from __future__ import annotations

import pytest

from adverse_perception.labels import CLASS_NAMES
from tests.packs import OURS_TO_COARSE

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn.functional import cross_entropy, interpolate, one_hot, softmax  # noqa: E402

from tests.toys import moved  # noqa: E402
from training.losses import (  # noqa: E402
    refinement_loss,
    soft_iou_loss,
    ssim,
    synthesis_loss,
)
from training.networks.spade import (  # noqa: E402
    EGS,
    Corruption,
    Spade,
    corrupt,
    draw_corruption,
    normalised,
)
from training.networks.srnet import SGA, srnet  # noqa: E402

CLASSES = len(CLASS_NAMES)
FINE = torch.eye(CLASSES)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# The two modules


def test_refinement_begins_with_the_segmenters_own_map() -> None:
    logits = 5 * drawn(2, CLASSES, 8, 12) - 2
    refined = SGA(CLASSES, 8)(drawn(2, 3, 32, 48), logits)
    own = softmax(interpolate(logits, size=(32, 48), mode="bilinear"), 1)
    torch.testing.assert_close(softmax(refined, 1), own, rtol=0, atol=2e-5)
    assert torch.equal(refined.argmax(1), own.argmax(1))


def test_restoration_begins_with_the_picture_as_it_is() -> None:
    image = drawn(1, 3, 32, 48)
    assert torch.equal(EGS(CLASSES, 8).eval()(image, drawn(1, CLASSES, 8, 12)), image)


def test_constant_map_modulates_by_constants() -> None:
    torch.manual_seed(0)
    spade, x = Spade(6, 4), drawn(2, 6, 9, 9)
    found = spade(x, torch.full((2, 4, 9, 9), 0.3))
    weight = spade.scale_and_shift.weight[:, :, 0, 0]
    scale, shift = (weight @ torch.full((4,), 0.3) + spade.scale_and_shift.bias).chunk(2)
    expected = normalised(x) * (1 + scale.view(1, -1, 1, 1)) + shift.view(1, -1, 1, 1)
    torch.testing.assert_close(found, expected)


def test_normalised_pixels_have_mean_zero_and_variance_one() -> None:
    x = normalised(10 * drawn(2, 16, 5, 7) + 3)
    torch.testing.assert_close(x.mean(1), torch.zeros(2, 5, 7), rtol=0, atol=1e-5)
    torch.testing.assert_close(x.var(1, correction=0), torch.ones(2, 5, 7), rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 16), (33, 50)])
def test_any_size_is_restored_at_its_size(size: tuple[int, int]) -> None:
    height, width = size
    logits = drawn(1, CLASSES, -(-height // 4), -(-width // 4))
    made = moved(srnet(CLASSES, 4))(drawn(1, 3, *size), logits)
    assert made.refined_logits.shape == (1, CLASSES, *size)
    assert made.restored.shape == (1, 3, *size)
    assert made.restored.isfinite().all()


def test_picture_does_not_depend_on_the_others_of_its_batch() -> None:
    network, image, logits = moved(srnet(CLASSES, 8)), drawn(3, 3, 32, 32), drawn(3, CLASSES, 8, 8)
    together, alone = network(image, logits), network(image[1:2], logits[1:2])
    for whole, one in zip(together, alone, strict=True):
        torch.testing.assert_close(whole[1:2], one, rtol=1e-4, atol=1e-5)


def test_what_is_known_to_be_visible_stays_as_it_is() -> None:
    network, image = moved(EGS(CLASSES, 8)), drawn(2, 3, 32, 32)
    hidden = torch.zeros(2, 32, 32)
    hidden[0, 8:16, 8:16] = 0.4
    restored = network(image, drawn(2, CLASSES, 32, 32), hidden)
    visible = (hidden[:1] == 0)[:, None].expand(1, 3, -1, -1)
    assert torch.equal(restored[:1][visible], image[:1][visible])
    assert not torch.equal(restored[:1][~visible], image[:1][~visible])
    assert (restored[1] != image[1]).float().mean() > 0.9  # zeros: not known


# Corrupted maps


def test_corrupted_map_mixes_classes_only_in_its_patches() -> None:
    chances = softmax(3 * drawn(2, CLASSES, 6, 8), 1)
    wrong = torch.zeros(2, 1, 6, 8, dtype=torch.bool)
    wrong[0, 0, :3] = True
    blank = torch.tensor([False, True]).view(2, 1, 1, 1)
    order = torch.arange(CLASSES).roll(1).expand(2, -1)
    found = corrupt(chances, Corruption(blank, wrong, order))
    assert torch.equal(found[0, :, :3], chances[0].roll(1, 0)[:, :3])
    assert torch.equal(found[0, :, 3:], chances[0, :, 3:])
    torch.testing.assert_close(found[1], torch.full_like(found[1], 1 / CLASSES))
    torch.testing.assert_close(found.sum(1), torch.ones(2, 6, 8))


def test_corruption_leaves_most_of_the_maps_as_they_are() -> None:
    torch.manual_seed(0)
    corruption = draw_corruption(torch.Size((400, CLASSES, 16, 16)), torch.device("cpu"))
    assert 0.05 < corruption.blank.float().mean() < 0.15
    assert 0.3 < corruption.wrong.flatten(1).any(1).float().mean() < 0.55
    assert 0.02 < corruption.wrong.float().mean() < 0.3


def test_maps_are_corrupted_in_training_only() -> None:
    network = moved(EGS(CLASSES, 8))
    image, chances = drawn(4, 3, 16, 16), softmax(9 * drawn(4, CLASSES, 16, 16), 1)
    first = network(image, chances)
    assert torch.equal(network(image, chances), first)
    torch.manual_seed(0)
    assert not torch.equal(network.train()(image, chances), first)


# Losses


def test_soft_iou_is_the_formula_on_fine_labels() -> None:
    logits, labels = 4 * drawn(2, 3, 4, 4), torch.randint(0, 2, (2, 8, 8))
    labels[0, :4] = 255
    groups = torch.eye(3).expand(2, -1, -1)
    small = labels[:, ::2, ::2]
    values = []
    for picture, truth in zip(softmax(logits, 1), small, strict=True):
        known = truth != 255
        for number in truth[known].unique():
            p, g = picture[number][known], (truth[known] == number).float()
            values.append(1 - (p * g).sum() / (p + g - p * g).sum())
    torch.testing.assert_close(soft_iou_loss(logits, labels, groups), torch.stack(values).mean())


def test_soft_iou_of_a_coarse_label_is_that_of_its_classes_together() -> None:
    logits = torch.zeros(1, CLASSES, 2, 2)
    groups = torch.zeros(1, CLASSES, CLASSES)
    groups[0, OURS_TO_COARSE, range(CLASSES)] = 1
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    share = OURS_TO_COARSE.count(0) / CLASSES  # an even map, everything of one coarse class
    assert float(soft_iou_loss(logits, labels, groups)) == pytest.approx(1 - share)


def test_soft_iou_without_labels_costs_nothing() -> None:
    nothing = torch.full((1, 8, 8), 255)
    assert float(soft_iou_loss(drawn(1, CLASSES, 4, 4), nothing, FINE[None])) == 0.0


def test_right_map_costs_next_to_nothing() -> None:
    labels = torch.randint(0, CLASSES, (2, 8, 8))
    sure = 40.0 * one_hot(labels[:, ::2, ::2], CLASSES).permute(0, 3, 1, 2)
    loss = refinement_loss(sure, labels, FINE.expand(2, -1, -1), torch.ones(CLASSES))
    assert float(loss) < 1e-5


def test_mixed_precision_does_not_round_the_overlap() -> None:
    arguments = (4 * drawn(2, CLASSES, 4, 4), torch.randint(0, CLASSES, (2, 8, 8)))
    expected = soft_iou_loss(*arguments, FINE.expand(2, -1, -1))
    with torch.autocast("cpu", torch.bfloat16):
        found = soft_iou_loss(*arguments, FINE.expand(2, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_refinement_loss_is_cross_entropy_and_half_the_missed_overlap() -> None:
    logits, labels = 4 * drawn(2, CLASSES, 4, 4), torch.randint(0, CLASSES, (2, 8, 8))
    groups = FINE.expand(2, -1, -1)
    expected = cross_entropy(logits, labels[:, ::2, ::2])
    expected = expected + 0.5 * soft_iou_loss(logits, labels, groups)
    found = refinement_loss(logits, labels, groups, torch.ones(CLASSES))
    torch.testing.assert_close(found, expected)


def test_synthesis_loss_is_the_distance_and_a_fifth_of_the_missed_structure() -> None:
    restored, clean = drawn(1, 3, 16, 16), drawn(1, 3, 16, 16, seed=1)
    expected = (restored - clean).abs().mean() + 0.2 * (1 - ssim(restored, clean))
    torch.testing.assert_close(synthesis_loss(restored, clean), expected)
    assert float(synthesis_loss(clean, clean)) == pytest.approx(0, abs=1e-6)
