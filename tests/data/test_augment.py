"""Batched augmentation against a per-image reference in NumPy."""

import numpy as np
import pytest
import torch

from defenselib.data.augment.crop_flip import Augment
from defenselib.errors import DefenseLibError

NUMPY_MODES = {"reflect": "reflect", "zeros": "constant", "edge": "edge"}


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("flip", [True, False])
def test_equals_pad_crop_flip_per_image(mode, layout, flip):
    images = torch.randint(0, 256, (20, 3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=layout)
    index = torch.tensor([3, 3, 0, 19, 7, 8, 8, 11])
    augment = Augment(padding=3, mode=mode, flip=flip)
    out = augment(images, index, torch.Generator().manual_seed(5))
    dy, dx, flips = augment.draw(len(index), torch.Generator().manual_seed(5))
    assert flips.any() == flip
    for i, (y, x, mirrored) in enumerate(zip(dy.tolist(), dx.tolist(), flips.tolist(), strict=True)):
        padded = np.pad(images[index[i]].numpy(), ((0, 0), (3, 3), (3, 3)), mode=NUMPY_MODES[mode])
        crop = padded[:, 3 + y : 12 + y, 3 + x : 12 + x]
        np.testing.assert_array_equal(out[i].numpy(), crop[:, :, ::-1] if mirrored else crop)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_parameters_differ_between_samples_and_cover_their_range():
    dy, dx, flip = Augment(padding=4).draw(4000, torch.Generator().manual_seed(0))
    for shift in (dy, dx):
        assert set(shift.tolist()) == set(range(-4, 5))
    assert 0.45 < flip.float().mean() < 0.55


def test_no_padding_no_flip_is_the_identity():
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(Augment(0, flip=False)(images, torch.arange(5), torch.Generator()), images)


def test_bad_arguments_are_named():
    with pytest.raises(DefenseLibError, match="'reflect'"):
        Augment(mode="reflekt")
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(DefenseLibError, match="padding 4 does not fit"):
        Augment(4)(images, torch.arange(1), torch.Generator())
