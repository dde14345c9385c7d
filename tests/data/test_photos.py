"""Crops of random size and turns: against torchvision with the same parameters, and what the recipes make of them."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from defenselib import defenses
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.augment.cutout import CutoutAugment
from defenselib.data.augment.photos import ResizedCrop, Turned, augmentation
from defenselib.data.augment.views import Views
from defenselib.errors import InvalidValueError, UnknownNameError
from defenselib.experiments import Experiment
from defenselib.learning.context import Context

SIDE = 24


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
