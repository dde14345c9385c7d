"""The input-aware attack against formulas in NumPy, and its training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from defenselib import attacks
from defenselib.attacks import iab_training as nets
from defenselib.attacks.iab import InputAware
from defenselib.attacks.iab_training import NORMALISATIONS, JointTraining, MaskTraining, Pairs, normalise
from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError, InvalidValueError, NotPreparedError, TrainingDivergedError
from defenselib.learning.context import Context
from defenselib.models import Classifier, build_model

from .conftest import images_of, random_dataset

MEAN, STD = np.array([0.4914, 0.4822, 0.4465]), np.array([0.247, 0.243, 0.261])
SHORT: dict[str, Any] = {"mask_epochs": 1, "epochs": 2, "batch_size": 12}


def tiny_model() -> Classifier:
    return build_model("resnet10", 10, 32, width=8)


def made(name: str = "iab", **hyper: Any) -> InputAware:
    attack = attacks.create(name, **hyper)
    assert isinstance(attack, InputAware)
    return attack


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def with_outputs(attack: InputAware, pattern: float | None = None, mask: float | None = None) -> InputAware:
    """The attack with networks whose last layer always gives this number before the tanh."""
    tensors = dict(attack.untrained("fp32").ready())
    for prefix, value in (("pattern", pattern), ("mask", mask)):
        if value is not None:
            tensors[f"{prefix}.layers.12.weight"] = torch.zeros_like(tensors[f"{prefix}.layers.12.weight"])
            tensors[f"{prefix}.layers.12.bias"] = torch.full_like(tensors[f"{prefix}.layers.12.bias"], value)
    return attack.with_trained(tensors)


def parts_of(attack: InputAware, images: Tensor, shift: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """P and m of images in float64, from the networks' outputs."""
    x = images.numpy() / 255.0
    mean, std = MEAN[:, None, None], STD[:, None, None]
    inputs = torch.from_numpy((x - mean) / std if shift else x).float()
    pattern, mask = attack._networks(images.device)
    o = mask(inputs).double().numpy()
    return pattern(inputs).double().numpy(), np.tanh(20 * o - 10) / (2 + 1e-7) + 0.5


def assert_levels(got: Tensor, expected: np.ndarray) -> None:
    """Rounded down; on the edge between two levels, where untouched pixels lie, either one."""
    exact = np.clip(255 * expected, 0, 255)
    inside = np.abs(exact - np.round(exact)) > 2e-3
    assert inside.mean() > 0.1
    difference = np.abs(got.numpy().astype(int) - np.floor(exact))
    assert difference.max() <= 1
    assert not difference[inside].any()


def test_sizes_of_the_networks() -> None:
    count = [sum(p.numel() for p in nets.Generator(channels).parameters()) for channels in (3, 1)]
    assert count == [723_273, 722_691]
    assert nets.Generator(3)(torch.zeros(2, 3, 24, 40)).shape == (2, 3, 24, 40)
    norms = [m for m in nets.Generator(1).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 13 and {(m.momentum, m.eps) for m in norms} == {(0.05, 1e-5)}


def test_network_against_a_naive_pass() -> None:
    """Layer by layer from the paper's table, with the functional forms of other layers."""
    torch.manual_seed(0)
    net = nets.Generator(3)
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
        torch.nn.init.normal_(norm.weight, 1, 0.2)
    net.eval()
    layers = [torch.nn.Sequential(*layer) for layer in net.layers]  # type: ignore[misc]
    up = torch.nn.Upsample(scale_factor=2, mode="bilinear")
    plan: list[Any] = []
    for k in range(0, 6, 2):
        plan += [layers[k], torch.nn.ReLU(), layers[k + 1], torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    plan += [layers[6], torch.nn.ReLU()]
    for k in range(7, 13, 2):
        plan += [up, layers[k], torch.nn.ReLU(), layers[k + 1], torch.nn.ReLU()]
    x = random(2, 3, 16, 16)
    with torch.no_grad():
        z = torch.nn.Sequential(*plan[:-1])(x)
        expected = torch.tanh(z) / (2 + 1e-7) + 0.5
        torch.testing.assert_close(net(x), expected)
        torch.testing.assert_close(net.folded()(x), expected, atol=1e-5, rtol=1e-4)


def test_losses_and_mask_against_numpy() -> None:
    x1, x2, p1, p2 = (random(5, 3, 8, 8, seed=seed) for seed in range(4))

    def d(a: Tensor, b: Tensor) -> np.ndarray:
        return np.sqrt(((a.double().numpy() - b.double().numpy()) ** 2).mean(axis=(1, 2, 3)))

    np.testing.assert_allclose(nets.distance(x1, x2), d(x1, x2), rtol=1e-6)
    quotient = (d(x1, x2) / (d(p1, p2) + 1e-7)).mean()
    np.testing.assert_allclose(nets.diversity_loss(x1, x2, p1, p2), quotient, rtol=1e-6)
    o = random(5, 1, 8, 8, seed=9)
    m = np.tanh(20 * o.double().numpy() - 10) / (2 + 1e-7) + 0.5
    np.testing.assert_allclose(nets.steep(o), m, atol=1e-6)
    excess = np.maximum(m - 0.032, 0).mean()
    np.testing.assert_allclose(nets.density_loss(nets.steep(o), 0.032), excess, rtol=1e-5)
    attack = made()
    pairs = Pairs(4, 5, 10.0, "cifar")
    stage = MaskTraining(pairs, 1, 0.01, (), attack.density, attack.density_weight)
    m1, m2 = nets.steep(o), nets.steep(random(5, 1, 8, 8, seed=10))
    expected = 100 * excess + (d(x1, x2) / (d(m1, m2) + 1e-7)).mean()
    np.testing.assert_allclose(stage.loss(x1, x2, m1, m2), expected, rtol=1e-5)


def test_equal_outputs_have_a_finite_slope() -> None:
    out = random(2, 1, 8, 8).requires_grad_()
    nets.diversity_loss(random(2, 3, 8, 8, seed=1), random(2, 3, 8, 8, seed=2), out, out.detach().clone()).backward()
    assert out.grad is not None and out.grad.isfinite().all()


def test_image_is_the_formula() -> None:
    images, partners = images_of(6), images_of(6, seed=1)
    attack = made().untrained("fp32")
    # as initialised, layers damp their input until all images look alike
    attack = attack.with_trained(
        {name: value * (2.4 if name.endswith("weight") else 1) for name, value in attack.ready().items()}
    )
    x = images.numpy() / 255.0
    pattern, m = parts_of(attack, images)
    assert 0.05 < m.mean() < 0.95 and m.std() > 0.02
    assert_levels(attack(images), x + (pattern - x) * m)
    pattern, m = parts_of(attack, partners)
    assert_levels(attack.cross(images, partners), x + (pattern - x) * m)
    assert torch.equal(attack.cross(images, images), attack(images))
    assert not np.allclose(m[0], m[1], atol=1e-2)


def test_dynamic_blends_the_normalised_pattern_of_pixels() -> None:
    images = images_of(4)
    attack = made("dynamic").untrained("fp32")
    x = images.numpy() / 255.0
    pattern, m = parts_of(attack, images, shift=False)
    assert_levels(attack(images), x + ((pattern - MEAN[:, None, None]) / STD[:, None, None] - x) * m)


def test_without_mask_the_image_and_with_it_the_pattern() -> None:
    images = images_of(5)
    # before the tanh: o = 0 gives a mask of 0, o = 1 one of 1
    assert torch.equal(with_outputs(made(), mask=-20.0)(images), images)
    opened = with_outputs(made(), mask=20.0, pattern=0.3)(images)
    o = np.tanh(0.3) / (2 + 1e-7) + 0.5
    assert (opened == int(255 * o)).all()


def test_bf16_changes_little() -> None:
    images = images_of(8)
    attack = made()
    exact, fast = (attack.untrained(precision)(images).int() for precision in ("fp32", "bf16"))
    assert (exact - fast).abs().float().mean() < 4
    single = attack.untrained("bf16")(images[3:4])
    assert torch.equal(single.int(), fast[3:4])


def test_normalisation() -> None:
    x = random(2, 3, 4, 4)
    expected = (x.double().numpy() - MEAN[:, None, None]) / STD[:, None, None]
    np.testing.assert_allclose(normalise(x, "cifar"), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(normalise(x, "none"), x)
    assert set(NORMALISATIONS) == {"cifar", "none"}


def test_pairs_are_every_image_twice_in_two_orders() -> None:
    levels = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 3, 16, 16)
    train = ImageSet(levels.contiguous(), torch.arange(50))
    context = Context(model_factory=tiny_model)
    seen: list[list[Tensor]] = [[], [], []]
    for batch in Pairs(16, 2, 5.0, "cifar").epoch(train, context, "test"):
        for values, item in zip(seen, batch, strict=True):
            values.append(item if item.ndim == 1 else (255 * item[:, 0, 8, 8]).round().long())
    one, labels, two = (torch.cat(values) for values in seen)
    assert torch.equal(one, labels)  # the centre survives crop and rotation
    assert torch.equal(one.sort().values, torch.arange(50)) and torch.equal(two.sort().values, torch.arange(50))
    assert (one == two).float().mean() < 0.2


def test_joint_loss_by_hand() -> None:
    """Which samples get which trigger and label, with a classifier whose logits tell the images apart."""
    torch.manual_seed(0)
    x1, x2, labels = random(10, 3, 8, 8), random(10, 3, 8, 8, seed=1), torch.arange(10)
    pattern, mask = nets.Generator(3).eval(), nets.Generator(1).eval()
    for weight in (w for net in (pattern, mask) for w in net.parameters() if w.ndim == 4):
        weight.data *= 2.4  # as initialised, all outputs are nearly equal
    head = torch.randn(3 * 64, 10)

    class Linear(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) @ head

    stage = JointTraining(Pairs(10, 5, 10.0, "cifar"), 1, 0.01, (), 0.01, (), 0.2, 0.5)
    context = Context(model_factory=tiny_model)
    with torch.no_grad():
        loss = stage._loss(x1, labels, x2, 7, pattern, mask, Linear(), context)  # type: ignore[arg-type]
        images, wanted, ratios = [], [], []
        for i in range(10):
            seen = x1[i] if i < 2 else x2[i]
            shifted = ((seen - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]).float()[None]
            if i < 4:
                m = torch.tanh(20 * mask(shifted)[0] - 10) / (2 + 1e-7) + 0.5
                images.append(x1[i] + (pattern(shifted)[0] - x1[i]) * m)
            else:
                images.append(x1[i])
            wanted.append(7 if i < 2 else i)
        std = torch.tensor(STD)[:, None, None]
        for i in range(2):
            shift = [((x - torch.tensor(MEAN)[:, None, None]) / std).float()[None] for x in (x1[i], x2[i + 2])]
            top = ((x1[i] - x2[i + 2]) / std).square().mean().sqrt()
            low = ((pattern(shift[0]) - pattern(shift[1])) / std).square().mean().sqrt()
            ratios.append(top / (low + 1e-7))
        logits = torch.stack(images).flatten(1) @ head
        entropy = torch.nn.functional.cross_entropy(logits, torch.tensor(wanted))
        expected = entropy + 0.5 * torch.stack(ratios).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


def trained(context: Context, **hyper: Any) -> dict[str, Tensor]:
    attack = made(**{**SHORT, **hyper})
    return dict(attack.prepare(random_dataset(24).train, 3, context).ready())


@pytest.mark.slow
def test_mask_is_shared_by_targets_and_a_killed_run_resumes(tmp_path: Path) -> None:
    kept: dict[str, dict[str, Tensor]] = {}
    makes: list[str] = []

    def cache(key: str, make: Any) -> dict[str, Tensor]:
        if key not in kept:
            makes.append(key.split()[0])
            kept[key] = make()
        return kept[key]

    train = random_dataset(24).train
    context = Context(model_factory=tiny_model, cache=cache)
    for target in (3, 4):
        made(**SHORT).prepare(train, target, context)
    made(**SHORT, cross_share=0.0).prepare(train, 3, context)
    assert makes == ["iab", "iab-mask", "iab-joint", "iab", "iab-joint"]
    made("dynamic", **SHORT).prepare(train, 3, context)
    assert makes[5:] == ["dynamic"]  # the same networks, used in another way
    expected = trained(Context(model_factory=tiny_model))
    first, second = (dict(kept[key]) for key in kept if key.startswith("iab-joint"))
    for name, value in first.items():
        assert torch.equal(expected[name], value)
        assert torch.equal(second[name], value) == name.startswith("mask")

    class Killed(Context):
        def epochs(self, stage: str, n: int, **state: Any) -> Any:
            for epoch in super().epochs(stage, n, **state):
                if (stage, epoch) == ("iab/joint", 1):
                    raise KeyboardInterrupt
                yield epoch

    with pytest.raises(KeyboardInterrupt):
        trained(Killed(model_factory=tiny_model, checkpoints=tmp_path, checkpoint_every=0))
    resumed = trained(Context(model_factory=tiny_model, checkpoints=tmp_path, checkpoint_every=0))
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


@pytest.mark.slow
def test_training_keeps_to_its_precision_and_notices_divergence() -> None:
    found = trained(Context(model_factory=tiny_model, precision="bf16"), mask_epochs=1, epochs=1)
    assert {value.dtype for value in found.values()} == {torch.bfloat16}
    with pytest.raises(TrainingDivergedError, match="iab/joint"):
        trained(Context(model_factory=tiny_model), mask_epochs=1, epochs=2, classifier_learning_rate=1e38)


@pytest.mark.slow
def test_cross_samples_keep_labels_and_can_be_left_out() -> None:
    data = random_dataset()
    poisoned = attacks.poison(data, made(preset="aabl").untrained(), target=3)
    assert (int(poisoned.is_poisoned.sum()), int(poisoned.is_cross.sum())) == (20, 20)
    assert torch.equal(poisoned.train.labels[poisoned.is_cross], data.train.labels[poisoned.is_cross])
    assert (poisoned.train.images != data.train.images)[poisoned.is_cross].flatten(1).any(1).all()
    assert not attacks.poison(data, made(preset="aabl", cross_share=0.0).untrained(), target=3).is_cross.any()


def test_cross_samples_are_as_many_as_poisoned_ones_under_every_preset() -> None:
    for preset in attacks.presets("iab"):
        plan = attacks.create("iab", preset=preset).plan
        poisoned = int(plan.rate * 10_000)
        assert attacks.create("iab", preset=preset).cross_count(poisoned, 10_000) == poisoned


def test_refusals() -> None:
    with pytest.raises(NotPreparedError):
        made()(images_of(1))
    with pytest.raises(InvalidValueError, match="multiple of 8"):
        made(image_size=30)
    with pytest.raises(InvalidValueError, match="target class"):
        made(**SHORT).prepare(random_dataset().train, None, Context(model_factory=tiny_model))
    bad: list[dict[str, Any]] = [{"cross_share": 1.5}, {"normalisation": "cifr"}, {"density": -0.1}, {"epochs": 0}]
    bad += [{"batch_size": 9}, {"learning_rate": 0.0}, {"degrees": 200.0}, {"diversity_weight": -1.0}, {"padding": -1}]
    bad += [{"cross_per_poisoned": -1}]
    for hyper in bad:
        with pytest.raises(DefenseLibError, match=next(iter(hyper)) if "batch_size" not in hyper else "backdoor_share"):
            made(**hyper)
    assert dataclasses.replace(made().untrained()) == made()
