"""Batched augmentation against a per-image reference in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from defenselib import defenses
from defenselib.data.augment.crop_flip import Augment, CutoutAugment, ResizedCrop, Turned, augmentation
from defenselib.data.augment.views import Views
from defenselib.errors import DefenseLibError, InvalidValueError, UnknownNameError
from defenselib.experiments import Experiment
from defenselib.learning.context import Context

NUMPY_MODES = {"reflect": "reflect", "zeros": "constant", "edge": "edge"}
SIDE = 24


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


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (40, 3, SIDE, SIDE), generator=stream(1)).to(torch.uint8)


def test_a_resized_crop_is_torchvisions_with_the_same_box(images: torch.Tensor) -> None:
    index = torch.randperm(40, generator=stream(2))
    made = ResizedCrop()(images, index, stream())
    assert made.dtype == torch.uint8 and made.is_contiguous(memory_format=torch.channels_last)
    drawn = Views(0.2).draw(40, SIDE, SIDE, stream())
    assert drawn.flip.any() and not drawn.flip.all()
    for sample, (top, left, tall, wide) in enumerate(drawn.box.tolist()):
        assert tall * wide >= 0.15 * SIDE**2
        expected = reference.resized_crop(images[index[sample]], top, left, tall, wide, [SIDE, SIDE], antialias=False)
        expected = expected.flip(-1) if drawn.flip[sample] else expected
        assert (made[sample].int() - expected.int()).abs().max() <= 1


def test_a_turn_comes_after_the_crop_and_before_the_cut(images: torch.Tensor) -> None:
    index = torch.arange(40)
    still = Turned(first=Augment(0, flip=False), degrees=1e-9)(images, index, stream())
    assert torch.equal(still, images)
    turned = Turned(first=Augment(0, flip=False), degrees=20.0)(images, index, stream())
    corner = torch.zeros(40, dtype=torch.bool)
    for sample in range(40):
        errors = [
            (reference.rotate(images[sample], angle, v2.InterpolationMode.NEAREST).int() - turned[sample].int())
            .ne(0).float().mean().item()
            for angle in torch.arange(-20, 20.1, 0.25).tolist()
        ]  # fmt: skip
        assert min(errors) < 0.05
        corner[sample] = (turned[sample, :, 0, 0] == 0).all()
    assert corner.float().mean() > 0.5
    cut = Turned(first=Augment(0, flip=False), degrees=1e-9, length=8)(images, index, stream())
    assert ((cut == 0).all(1).flatten(1).sum(1) >= 8).all()


def test_the_usual_augmentation_is_what_it_was() -> None:
    for padded in (Augment(), CutoutAugment(2, "zeros", False, 5)):
        assert augmentation(padded) is padded
    assert type(augmentation(Augment(flip=False), "resized")) is ResizedCrop
    assert not augmentation(Augment(flip=False), "resized").flip
    cut = augmentation(CutoutAugment(2, "zeros", False, 5), "resized")
    assert isinstance(cut, Turned) and cut.length == 5 and isinstance(cut.first, ResizedCrop)
    with pytest.raises(UnknownNameError, match="crop 'resize'; did you mean 'resized'"):
        augmentation(Augment(), "resize")
    with pytest.raises(InvalidValueError, match="degrees"):
        augmentation(Augment(), degrees=181.0)


def of(dataset: str, defense: str, paper: str) -> defenses.Defense:
    cell = Experiment(dataset=dataset, defense=defense, paper=paper, profile="paper", source=f"{dataset}:any")
    return cell.resolve().defense


def test_the_papers_augment_their_photographs_by_their_own_rules() -> None:
    """DBD's code, BSD App. B.3, V&B App. A.2, D-ST/D-BR App. C.5, A-ABL."""
    for paper, dataset in (("asd", "imagenet-subset"), ("bsd", "imagenet-30")):
        none = of(dataset, "none", paper)
        assert (none.epochs, none.batch_size, none.weight_decay, none.milestones) == (90, 256, 1e-4, (30, 60))
        assert {of(dataset, name, paper).crop for name in ("none", "dbd", "asd", "bsd")} == {"resized"}
    assert (of("imagenet-12", "vab", "vab").crop, of("imagenet-12", "none", "vab").padding) == ("padded", 4)
    for name in ("none", "dbr"):
        turned = of("imagenet-200", name, "dst_dbr")
        assert (turned.padding, turned.degrees, turned.crop) == (0, 20.0, "padded")
        assert of("cifar100", name, "dst_dbr").degrees == 15.0 and of("cifar10", name, "dst_dbr").degrees == 0.0
    assert {of("tiny-imagenet", name, "aabl").padding for name in ("aabl", "adv-train")} == {8}
    made = of("imagenet-200", "none", "dst_dbr").augment(Context(model_factory=lambda: None, flip=True))
    assert isinstance(made, Turned) and made.first == Augment(0, flip=True)


def test_triggers_follow_the_size() -> None:
    def attack(dataset: str, name: str, paper: str) -> object:
        cell = Experiment(dataset=dataset, attack=name, paper=paper, profile="paper", source=f"{dataset}:any")
        return cell.resolve().attack

    assert attack("imagenet-30", "badnets", "bsd").pattern == "apple32"  # type: ignore[attr-defined]
    assert attack("imagenet-200", "badnets", "dst_dbr").pattern == "square22"  # type: ignore[attr-defined]
    assert attack("imagenet-12", "wanet", "vab").cross_rate == 0.0  # type: ignore[attr-defined]
    assert attack("tiny-imagenet", "blend", "aabl").picture == "noise"  # type: ignore[attr-defined]
    assert attack("cifar10", "blend", "aabl").picture == "kitty"  # type: ignore[attr-defined]
