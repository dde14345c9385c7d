"""Perceptual distances against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenselib import attacks, data
from defenselib.experiments.measure.looks import distances, looks, sample_specific


def test_distances_by_definition() -> None:
    stream = torch.Generator().manual_seed(0)
    before = torch.randint(20, 200, (3, 3, 16, 16), generator=stream).to(torch.uint8)
    after = before.clone()
    after[0, :, 2:4, 2:4] += 30  # 12 of 768 values: MSE 14.0625
    found = distances(before, after)
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / (12 * 900 / 768)))
    assert found["linf"] == pytest.approx(10.0)
    assert found["ssim"] < distances(before, before)["ssim"] == pytest.approx(1.0)
    assert np.isnan(distances(before, before)["psnr"])


def test_examples_are_those_that_the_attack_may_poison() -> None:
    shapes = data.load_dataset("shapes", limit=120)
    metrics, arrays = looks(shapes, attacks.create("badnets", pattern="white3"), target=3)
    assert metrics["stored_linf"] > 100 and metrics["stored_ssim"] > 0.8
    assert 0.005 < metrics["triggered_share"] <= 9 / 1024 and metrics["sample_specific"] == 0
    changed = (arrays["look/clean"] != arrays["look/stored"]).any(1)
    assert changed.sum(axis=(1, 2)).max() <= 9 and changed[:, 29:, 29:].any(axis=(1, 2)).all()
    originals = shapes.train.images[shapes.train.labels != 3].numpy()
    assert all((originals == image).all(axis=(1, 2, 3)).any() for image in arrays["look/clean"])


def test_patches_and_blending_are_one_rule_for_all_images() -> None:
    images = data.load_dataset("shapes", limit=60).test.images[:8]
    assert not any(sample_specific(attacks.create(name), images) for name in ("badnets", "blend", "blend-strip"))

    class Neighbours(attacks.Attack):
        name = "neighbours"

        def __call__(self, images: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
            return images.roll(1, 3)

    class Own(attacks.Attack):
        name = "own"

        def __call__(self, images: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
            assert index is not None
            return images + (index[:, None, None, None] % 5).to(torch.uint8)

    assert sample_specific(Neighbours(), images) and sample_specific(Own(), images)
