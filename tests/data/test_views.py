"""Batched views and strong augmentation against torchvision on single images with the same parameters."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torchvision.transforms import InterpolationMode

from defenselib.data.augment.operations import BLENDED, OPERATIONS, shift_hue
from defenselib.data.augment.randaugment import RANDAUGMENT, CTAugment, RandAugment, operate
from defenselib.data.augment.views import Views, blur
from defenselib.errors import DefenseLibError

GRAY_GREY = torch.full((3, 16, 16), 77, dtype=torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(n=24, height=16, width=16):
    images = torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator(1))
    images[0] = torch.randint(0, 256, (1, height, width), dtype=torch.uint8, generator=generator(2))  # grey: no hue
    return images


@pytest.mark.parametrize(("height", "width"), [(16, 16), (14, 20)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_views_equal_torchvision_image_by_image(height, width, layout):
    images = pixels(24, height, width).contiguous(memory_format=layout)
    views, index = Views(), torch.arange(24).flip(0)
    drawn = views.draw(24, height, width, generator(5))
    out = views.apply(images, index, drawn)
    for i in range(24):
        top, left, tall, wide = drawn.box[i].tolist()
        image = reference.resized_crop(images[index[i]].float() / 255, top, left, tall, wide, [height, width])
        image = reference.hflip(image) if drawn.flip[i] else image
        factors = drawn.factors[i].tolist()
        adjust = [reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation]
        steps = [(adjust[k], factors[k]) for k in drawn.order[i].tolist()]
        steps.insert(i * 4 // 24, (reference.adjust_hue, drawn.hue[i].item()))
        for step, by in steps:
            image = step(image.clamp(0, 1), by)
        image = reference.rgb_to_grayscale(image, 3) if drawn.grayscale[i] else image
        if drawn.sigma[i] > 0:
            image = reference.gaussian_blur(image, [13, 13], [drawn.sigma[i].item()] * 2)
        torch.testing.assert_close(out[i], image, atol=3e-4, rtol=0)
    assert drawn.flip.any() and drawn.grayscale.any() and (drawn.sigma > 0).any() and (drawn.hue == 0).any()


def test_views_are_float_in_range_determined_by_the_generator_and_differ():
    images, index = pixels(64), torch.randint(0, 64, (50,), generator=generator())
    views = Views()
    one, two = (views(images, index, generator(3)) for _ in range(2))
    other = views(images, index, generator(4))
    assert one.dtype == torch.float32 and one.shape == (50, 3, 16, 16) and one.min() >= 0 and one.max() <= 1
    assert one.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_views_without_randomness_are_the_images_in_their_order():
    images, index = pixels(9), torch.tensor([3, 3, 0, 8, 1])
    plain = Views(scale=1.0, flip=False, jitter_p=0.0, grayscale_p=0.0, blur_p=0.0)
    out = plain(images, index, generator())
    # A crop of all the area may still be drawn with another aspect ratio: none fits, so the whole image is taken.
    torch.testing.assert_close(out, images[index].float() / 255, atol=1e-6, rtol=0)


def test_drawn_parameters_have_torchvisions_distribution():
    drawn = Views().draw(20_000, 32, 32, generator())
    top, left, tall, wide = drawn.box.unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + tall <= 32).all() and (left + wide <= 32).all()
    share = tall * wide / 1024
    assert share.min() > 0.17 and share.max() == 1 and 0.55 < share.mean() < 0.6  # 0.6, less what did not fit
    assert drawn.grayscale.float().mean() == pytest.approx(0.2, abs=0.01)
    assert (drawn.sigma > 0).float().mean() == pytest.approx(0.5, abs=0.015)
    assert (drawn.hue == 0).float().mean() == pytest.approx(0.2, abs=0.01)
    assert drawn.factors.min() >= 0.6 and drawn.factors.max() <= 1.4 and drawn.hue.abs().max() <= 0.1
    orders = (drawn.order * torch.tensor([9, 3, 1])).sum(1).bincount()
    assert (orders > 0).sum() == 6 and orders[orders > 0].min() > 3000


def test_hue_turned_all_the_way_and_blur_without_sigma_change_nothing():
    images = pixels(24).float() / 255
    torch.testing.assert_close(shift_hue(images, torch.ones(24)), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(blur(images, torch.zeros(24), 6), images)
    third = shift_hue(images, torch.full((24,), 1 / 3))
    torch.testing.assert_close(third, images.roll(1, 1), atol=1e-5, rtol=0)  # red to green to blue


def by_torchvision(name, image, level):
    """One operation at one level on a uint8 image (3, H, W), float result; ranges as UDA's."""
    image, linear, half = image.float() / 255, InterpolationMode.BILINEAR, 2 * level - 1
    eight = (image * 255).round().to(torch.uint8)
    size = image.shape[-1]
    made = {
        "identity": lambda: image,
        "autocontrast": lambda: reference.autocontrast(image),
        "equalize": lambda: reference.equalize(eight).float() / 255,
        "invert": lambda: reference.invert(image),
        "rotate": lambda: reference.rotate(image, 30 * half, linear),
        "posterize": lambda: reference.posterize(eight, 4 + round(4 * level)).float() / 255,
        "solarize": lambda: torch.where(image < level, image, 1 - image),
        "color": lambda: reference.adjust_saturation(image, 0.1 + 1.8 * level),
        "contrast": lambda: reference.adjust_contrast(image, 0.1 + 1.8 * level),
        "brightness": lambda: reference.adjust_brightness(image, 0.1 + 1.8 * level),
        "sharpness": lambda: reference.adjust_sharpness(image, 0.1 + 1.8 * level),
        "smooth": lambda: reference.adjust_sharpness(image, 1 - level),
        "shear_x": lambda: reference.affine(image, 0, [0, 0], 1.0, [math.degrees(math.atan(0.3 * half)), 0], linear),
        "shear_y": lambda: reference.affine(image, 0, [0, 0], 1.0, [0, math.degrees(math.atan(0.3 * half))], linear),
        "translate_x": lambda: reference.affine(image, 0, [round(half * 0.3125 * size), 0], 1.0, [0, 0]),
        "translate_y": lambda: reference.affine(image, 0, [0, round(half * 0.3125 * size)], 1.0, [0, 0]),
        "rescale": lambda: reference.affine(image, 0, [0, 0], 1 / (0.5 + 0.5 * level), [0, 0], linear),
    }[name]()
    return (1 - level) * image + level * made if name in BLENDED else made


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("cutout", "blur")])
def test_operations_equal_torchvision_image_by_image(name):
    images = torch.cat([pixels(12), GRAY_GREY[None]])
    level = torch.rand(13, generator=generator(7))
    out = OPERATIONS[name](images.float() / 255, level, torch.rand(13, 2))
    for image, by, got in zip(images, level.tolist(), out, strict=True):
        torch.testing.assert_close(got, by_torchvision(name, image, by), atol=1e-4, rtol=0)


def test_cutout_is_a_grey_square_around_its_place():
    images = torch.rand(2, 3, 16, 16, generator=generator())
    where = torch.tensor([[0.5, 0.25], [0.0, 0.99]])
    out = OPERATIONS["cutout"](images, torch.tensor([1.0, 0.5]), where)
    expected = images.clone()
    expected[0, :, 4:12, 0:8] = 0.5  # rows 8 - 4 to 8 + 4, columns 4 - 4 to 4 + 4
    expected[1, :, 0:2, 13:16] = 0.5  # half outside
    assert torch.equal(out, expected)


def test_operate_deals_the_operations_out_in_turn():
    images, level, where = torch.rand(5, 3, 8, 8), torch.rand(5), torch.rand(5, 2)
    order = torch.tensor([4, 0, 3, 1, 2])
    out = operate(images, order, ("invert", "identity", "brightness"), torch.ones(5), where)
    expected = [images[0], 1 - images[1], images[2], (images[3] * 1.9).clamp(0, 1), 1 - images[4]]
    torch.testing.assert_close(out, torch.stack(expected))
    few = operate(images[:2], order[:2] % 2, ("invert", "identity", "brightness"), level[:2], where[:2])
    assert few.shape == (2, 3, 8, 8)


def test_strong_augmentation_is_determined_in_range_and_uses_every_operation_equally():
    images = pixels(70).float() / 255
    for strong in (RandAugment(), CTAugment()):
        one, two, other = (strong(images, generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(one, two) and not torch.equal(one, other)
        assert one.min() >= 0 and one.max() <= 1 and one.is_contiguous(memory_format=torch.channels_last)
    _, operations, bins = CTAugment(operations=RANDAUGMENT).probe(images, generator())
    assert operations.flatten().bincount().tolist() == [10] * 14
    assert bins.min() >= 0 and bins.max() <= 16
    off = RandAugment(probability=0.0, square=0.0)
    assert torch.equal(off(images, generator()), images)
    grey = (RandAugment(count=0)(images, generator()) == 0.5).all(1).sum((1, 2))
    assert grey.max() <= 64 and grey.float().mean() > 30


def test_ctaugment_moves_the_drawn_bins_and_draws_only_good_ones():
    strong = CTAugment(count=1, bins=3, decay=0.9, threshold=0.8, operations=("identity", "invert"))
    predictions = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    # matches: 1, 0.25 and 0.5; the first two share a bin
    strong.update(predictions, targets, torch.tensor([[1], [1], [0]]), torch.tensor([[2], [2], [0]]))
    expected = torch.tensor([[0.95, 1, 1], [1, 1, 0.9 + 0.1 * 0.625]])
    torch.testing.assert_close(strong.weights, expected)
    strong.weights.copy_(torch.tensor([[0.5, 0.75, 0.9], [0.3, 0.25, 0.0]]))
    drawn = []
    strong._augment = lambda images, weights, draws: (drawn.append(weights), images)[1:]
    strong(torch.rand(4, 3, 8, 8), generator())
    # 0.1 is added to each, then four fifths of the largest are enough
    torch.testing.assert_close(drawn[0], torch.tensor([[0.0, 0.85, 1.0], [1.0, 0.875, 0.0]]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Views(scale=0.0), "scale is 0.0"),
        (lambda: Views(jitter=(0.4, 0.4, 0.4, 0.6)), "0.6"),
        (lambda: Views(sigma=(2.0, 1.0)), "sigma"),
        (lambda: RandAugment(operations=("rotat",)), "'rotate'"),
        (lambda: RandAugment(probability=2.0), "probability is 2.0"),
        (lambda: CTAugment(operations=("invrt",)), "'invert'"),
        (lambda: CTAugment(bins=1), "bins 1"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(DefenseLibError, match=message):
        make()
