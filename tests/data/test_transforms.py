"""The transformations of D-ST against torchvision, rot90, np.pad and loops, and Cutout against a loop."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as tv

from defenselib.data.augment.crop_flip import Augment, CutoutAugment
from defenselib.data.augment.transforms import TRANSFORMS, Affine, Blur, Crop, Erase, Flip, Rotate, draw, named
from defenselib.errors import DefenseLibError


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=6, size=16):
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=stream(1))


def constant(n, *draws):
    return torch.tensor(draws).expand(n, -1)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_pure_of_one_type_per_sample_and_reproducible(name):
    images, chosen = pictures(), TRANSFORMS[name]()
    draws = draw(chosen, 6, stream(3))
    assert draws.shape == (6, chosen.numbers) and torch.equal(draws, draw(chosen, 6, stream(3)))
    before = images.clone()
    out = chosen(images, draws)
    assert torch.equal(images, before) and out.dtype == torch.uint8 and out.shape == images.shape
    # Each sample depends on its own draws alone, so batches and order do not matter.
    order = torch.tensor([4, 1, 5])
    assert torch.equal(chosen(images[order], draws[order]), out[order])
    layout = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(chosen(layout, draws), out)
    floats = chosen(images / 255, draws)
    assert floats.dtype == torch.float32 and floats.min() >= 0 and floats.max() <= 1 + 1e-6
    assert (floats * 255 - out).abs().max() <= 0.5 + 1e-3
    if name != "flip":
        assert not torch.equal(out, chosen(images, draw(chosen, 6, stream(4))))


@pytest.mark.parametrize(
    ("chosen", "draws"), [(Rotate(), (0.5,)), (Affine(), (0.5, 0.5)), (Crop(), (0.5, 0.5)), (Blur(low=1e-3), (0.0,))]
)
def test_draws_of_nothing_give_the_image(chosen, draws):
    assert torch.equal(chosen(pictures(), constant(6, *draws)), pictures())


def test_flipping_twice_is_the_identity():
    images, twice = pictures(), named(("flip", "flip"))
    assert torch.equal(Flip()(images, torch.empty(6, 0)), torch.from_numpy(images.numpy()[..., ::-1].copy()))
    assert twice.numbers == 0 and torch.equal(twice(images, draw(twice, 6, stream())), images)


@pytest.mark.parametrize("quarter", [-2, -1, 0, 1])
@pytest.mark.parametrize("size", [15, 16, 32])
def test_quarter_turns_are_rot90(quarter, size):
    images = pictures(size=size)
    turned = Rotate(180)(images, constant(6, (quarter * 90 / 180 + 1) / 2))
    assert torch.equal(turned, torch.rot90(images, quarter, (2, 3)))


def test_rotation_and_shift_are_those_of_torchvision():
    images, draws = pictures(40, 32), torch.rand(40, 3, generator=stream(2))
    turned, moved = Rotate()(images, draws[:, :1]), Affine()(images, draws[:, 1:])
    for i, (u, v, w) in enumerate(draws.tolist()):
        same = turned[i] == tv.rotate(images[i], 360 * u - 180)
        assert same.float().mean() > 0.998  # a pixel on the border between two may go to either
        shift = [round(0.4 * 32 * v - 6.4), round(0.4 * 32 * w - 6.4)]
        assert torch.equal(moved[i], tv.affine(images[i], 0.0, shift, 1.0, [0.0]))


def test_crop_is_a_window_of_the_padded_image_and_reaches_all():
    images, draws = pictures(200), torch.rand(200, 2, generator=stream(5))
    out = Crop(4)(images, draws).numpy()
    corners = np.floor(draws.numpy() * 9).astype(int)
    assert corners.min() == 0 and corners.max() == 8
    for image, (top, left), cropped in zip(images.numpy(), corners, out, strict=True):
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
        np.testing.assert_array_equal(cropped, padded[:, top : top + 16, left : left + 16])


def test_blur_is_that_of_torchvision_and_sums_to_one():
    images, draws = pictures(), torch.linspace(0, 1, 6)[:, None]
    blur = Blur()
    assert torch.allclose(blur.matrix(draws[:, 0], 16).sum(2), torch.ones(6, 16))
    for i, out in enumerate(blur(images / 255, draws)):
        wanted = tv.gaussian_blur(images[i] / 255, [15, 15], [0.1 + 1.9 * draws[i].item()])
        torch.testing.assert_close(out, wanted, atol=1e-5, rtol=0)
    flat = torch.full((1, 3, 16, 16), 77, dtype=torch.uint8)
    assert torch.equal(blur(flat, constant(1, 0.9)), flat)
    with pytest.raises(DefenseLibError, match="15"):
        blur(pictures(size=7), draws)


def test_erased_area_and_shape_are_as_stated_and_the_rest_stays():
    images, draws = pictures(300, 32), draw(Erase(), 300, stream(6))
    out = Erase()(images, draws)
    areas, ratios = [], []
    for image, erased, (top, left, height, width) in zip(images, out, Erase().boxes(draws, 32).tolist(), strict=True):
        assert top >= 0 and left >= 0 and top + height <= 32 and left + width <= 32
        outside = torch.ones(32, 32, dtype=torch.bool)
        outside[top : top + height, left : left + width] = False
        assert torch.equal(erased[:, outside], image[:, outside])
        assert (erased[:, ~outside] == image[:, ~outside]).float().mean() < 0.05
        areas.append(height * width / 1024)
        ratios.append(height / width)
    assert 0.18 < min(areas) < 0.22 and 0.28 < max(areas) < 0.32 and abs(np.mean(areas) - 0.25) < 0.01
    assert min(ratios) > 0.46 and max(ratios) < 1.06
    assert torch.equal(images, pictures(300, 32))


def test_pairs_apply_one_after_the_other_with_their_own_draws():
    images, pair = pictures(), named(("rotate", "affine"))
    draws = draw(pair, 6, stream(7))
    assert draws.shape == (6, 3)
    assert torch.equal(pair(images, draws), Affine()(Rotate()(images, draws[:, :1]), draws[:, 1:]))
    assert named("blur").parts == (Blur(),)


def test_unknown_names_are_errors():
    with pytest.raises(DefenseLibError, match="did you mean 'rotate'"):
        named(("rotat", "affine"))
    with pytest.raises(DefenseLibError, match="no transformation"):
        named(())


@pytest.mark.parametrize("length", [0, 1, 3, 6])
def test_cutout_blackens_a_square_about_a_pixel_after_crop_and_flip(length):
    images, index = pictures(50), torch.arange(50)
    out = CutoutAugment(2, "edge", True, length)(images, index, stream(8))
    source = stream(8)
    plain = Augment(2, "edge", True)(images, index, source)
    centres = (torch.rand(50, 2, generator=source) * 16).long()
    reach = length // 2
    for cut, image, (y, x) in zip(out, plain, centres.tolist(), strict=True):
        wanted = image.clone()
        wanted[:, max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = 0
        assert torch.equal(cut, wanted)
    assert torch.equal(out, plain) == (length < 2)


def test_negative_cutout_is_an_error():
    with pytest.raises(DefenseLibError, match="cutout is -1"):
        CutoutAugment(length=-1)
