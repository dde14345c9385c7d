"""AttentionMix and its rivals against cases worked out by hand, and what must hold for all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import defenselib as dl
from defenselib.errors import InvalidValueError, UnknownNameError
from defenselib.learning import mixing

TARGETS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
SWAP = torch.tensor([1, 0])


def flat(values: list[float], side: int = 2) -> torch.Tensor:
    """Images of three equal channels from values for two images."""
    return torch.tensor(values).view(2, 1, side, side).expand(2, 3, side, side).contiguous()


def test_attention_sums_squares_and_scales_to_one():
    maps = torch.tensor([[[[1.0, 0.0], [2.0, 3.0]], [[0.0, 0.0], [-1.0, 1.0]]]])  # energies 1, 0, 5, 10
    found = mixing.attention(maps, (2, 2))
    assert found[0].flatten().tolist() == pytest.approx([0.1, 0.0, 0.5, 1.0])
    blocks = mixing.attention(maps, (4, 4), "nearest")[0]
    assert torch.equal(blocks, found[0].repeat_interleave(2, 0).repeat_interleave(2, 1))
    # Bilinear: pixel centres at 1/4 and 3/4 of the cells; row 0 of the first column pair is (0.75, 0.25)-weighted.
    smooth = mixing.attention(maps, (4, 4))[0]
    raw = np.array([[1.0, 0.0], [5.0, 10.0]])
    w = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    expected = w @ raw @ w.T
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert np.allclose(smooth.numpy(), expected, atol=1e-6)
    assert not mixing.attention(torch.ones(1, 3, 2, 2), (4, 4)).any()


def test_attention_mix_worked_out_by_hand():
    # A1 = [1, .5, .05, 0]: M1 = [1, 1, 0, 0], w1 = 1.5 / 1.55. A2 = [.2, 0, .8, 1]: w2 = .2 / 2 = .1.
    maps = torch.tensor([[1.0, 0.5, 0.05, 0.0], [0.2, 0.0, 0.8, 1.0]]).view(2, 2, 2)
    images, targets = dl.learning.mixing.attention_mix(flat([10, 20, 30, 40, 50, 60, 70, 80.0]), TARGETS, maps, SWAP)
    w1, w2 = 1.5 / 1.55, 0.1
    two, three = w1 / (w1 + w2), w2 / (w1 + w2)
    wanted = [two * 10 + three * 50, two * 20 + three * 60, 30.0, 40.0]
    assert images[0, 1].flatten().tolist() == pytest.approx(wanted, rel=1e-5)
    one = 1 - w1
    assert targets[0].tolist() == pytest.approx([one + w1 * two, w1 * three, 0.0], rel=1e-5)
    # The second image has its own region, {0.2, 0.8, 1}: w1 = 1, and 1.05 / 1.55 of the other map lie in it.
    v1, v2 = 1.0, 1.05 / 1.55
    lam = v2 / (v1 + v2)
    assert images[1, 0].flatten().tolist() == pytest.approx([50 - 40 * lam, 60, 70 - 40 * lam, 80 - 40 * lam], rel=1e-5)
    assert targets[1].tolist() == pytest.approx([lam, 1 - lam, 0.0], rel=1e-5)


def test_attention_mix_at_its_ends():
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    same = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(1)).expand(2, 4, 4)
    images, targets = mixing.attention_mix(pixels, TARGETS, same, SWAP, threshold=0.0)
    assert torch.allclose(images, pixels.mean(0, keepdim=True).expand_as(images), atol=1e-6)  # l2 = l3 = 1/2
    assert torch.allclose(targets, torch.tensor([[0.5, 0.5, 0.0]] * 2), atol=1e-6)
    # Nothing of the other image's attention in the region: image and label stay.
    apart = torch.zeros(2, 4, 4)
    apart[0, 0, 0] = apart[1, 3, 3] = 1.0
    images, targets = mixing.attention_mix(pixels, TARGETS, apart, SWAP)
    assert torch.equal(images, pixels) and torch.equal(targets, TARGETS)
    # A map without any activation has no region.
    images, targets = mixing.attention_mix(pixels, TARGETS, torch.zeros(2, 4, 4), SWAP)
    assert torch.equal(images, pixels) and torch.equal(targets, TARGETS)


def test_suppressed_labels_stay_below_one():
    # V&B does not normalise them again, inside AttentionMix neither.
    weak = torch.tensor([[0.4, 0.0], [0.0, 0.2]])
    maps = torch.tensor([[1.0, 0.5, 0.05, 0.0], [0.2, 0.0, 0.8, 1.0]]).view(2, 2, 2)
    _, targets = mixing.attention_mix(flat([0.0] * 8), weak, maps, SWAP)
    assert (targets.sum(1) < 0.41).all() and (targets.sum(1) > 0.19).all()


def test_attentive_cutmix_keeps_the_most_attended_cells():
    image = flat([float(i) for i in range(32)], side=4)
    grid = torch.tensor([[0.0, 0.2], [0.5, 1.0]]).repeat_interleave(2, 0).repeat_interleave(2, 1).expand(2, 4, 4)
    images, targets = mixing.attentive_cutmix(image, TARGETS, grid, SWAP)
    corner = torch.zeros(4, 4, dtype=torch.bool)
    corner[2:, 2:] = True
    assert torch.equal(images[0, 0], torch.where(corner, image[0, 0], image[1, 0]))
    assert targets.tolist() == [[0.25, 0.75, 0.0], [0.75, 0.25, 0.0]]
    fine = torch.arange(49.0).view(1, 7, 7).expand(2, 7, 7)
    _, targets = mixing.attentive_cutmix(torch.rand(2, 3, 7, 7), TARGETS, fine, SWAP)
    assert targets[0].tolist() == pytest.approx([6 / 49, 43 / 49, 0.0])  # six of 49 parts


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_is_a_box_with_labels_by_area(seed):
    black_and_white = torch.zeros(2, 3, 6, 8)
    black_and_white[1] = 1.0
    images, targets = mixing.cutmix(black_and_white, TARGETS, SWAP, torch.Generator().manual_seed(seed))
    box = images[0, 0] > 0
    rows, columns = box.any(1).nonzero(), box.any(0).nonzero()
    if len(rows):
        assert box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    assert targets[0, 1] == pytest.approx(float(box.float().mean()))
    assert torch.equal(images[1], 1 - images[0])


def test_mixup_has_one_weight_of_at_least_a_half():
    weights = []
    for seed in range(50):
        images, targets = mixing.mixup(
            flat([0.0] * 4 + [1.0] * 4), TARGETS, SWAP, torch.Generator().manual_seed(seed), alpha=1.0
        )
        weights.append(float(targets[0, 0]))
        assert torch.allclose(images[0], torch.tensor(1 - weights[-1]), atol=1e-6)
        assert torch.allclose(images[1], torch.tensor(weights[-1]), atol=1e-6)
    assert min(weights) >= 0.5 and np.mean(weights) == pytest.approx(0.75, abs=0.06)  # uniform on [1/2, 1]


def test_wrong_values():
    image, maps = flat([0.0] * 8), torch.rand(2, 2, 2)
    with pytest.raises(InvalidValueError, match=r"threshold is 1\.5"):
        mixing.attention_mix(image, TARGETS, maps, SWAP, threshold=1.5)
    with pytest.raises(InvalidValueError, match="share"):
        mixing.attentive_cutmix(image, TARGETS, maps, SWAP, share=-0.1)
    with pytest.raises(InvalidValueError, match="alpha"):
        mixing.mixup(image, TARGETS, SWAP, torch.Generator(), alpha=0.0)
    with pytest.raises(UnknownNameError, match="did you mean 'bilinear'"):
        mixing.attention(torch.rand(1, 2, 2, 2), (4, 4), "bilinar")
