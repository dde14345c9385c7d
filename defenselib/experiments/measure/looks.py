"""What a trigger does to an image: a few examples, and perceptual distances over a few hundred."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from defenselib.attacks.base import Attack
from defenselib.data.subset import spread
from defenselib.data.types import Dataset

EXAMPLES = 4
MEASURED = 200


def looks(dataset: Dataset, attack: Attack, target: int | None) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
    """Distances as metrics, examples as arrays, for the form in which images are stored in the training set
    (`stored`) and for the trigger at test time (`triggered`).

    Metrics `stored_psnr` (dB; NaN where nothing changes), `stored_ssim`, `stored_linf` (grey levels of 255), means
    over the first images that the attack may poison, spread over the set; the same for `triggered` on test images.
    `triggered_share`: share of the pixels that the trigger changes; `sample_specific`: 1 if what happens to a pixel
    depends on other pixels or on which image it is, 0 for one rule for all images (patches, blending, stripes).
    Arrays `look/clean`, `look/stored`, `look/test`, `look/triggered`: uint8 (4, 3, H, W).
    """
    metrics: dict[str, float] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name, split, change in (("stored", dataset.train, attack), ("triggered", dataset.test, attack.trigger)):
        if attack.all_to_all or target is None:
            allowed = torch.ones_like(split.labels, dtype=torch.bool)
        else:
            allowed = (split.labels == target) == (attack.clean_label and name == "stored")
        index = spread(allowed.nonzero().flatten(), MEASURED)
        before, after = split.images[index], change(split.images[index], index)
        metrics |= {f"{name}_{key}": value for key, value in distances(before, after).items()}
        few = spread(torch.arange(len(index)), EXAMPLES)
        arrays[f"look/{'clean' if name == 'stored' else 'test'}"] = before[few].cpu().numpy()
        arrays[f"look/{name}"] = after[few].cpu().numpy()
    metrics["triggered_share"] = float((before != after).any(1).double().mean())
    metrics["sample_specific"] = float(sample_specific(attack, before[:8]))
    return metrics, arrays


def sample_specific(attack: Attack, images: Tensor) -> bool:
    """Whether the trigger on a pixel depends on other pixels of the image, or on the image's identity."""
    index = torch.arange(len(images), device=images.device)
    first = attack.trigger(images, index)
    side = torch.arange(images.shape[-1], device=images.device)
    kept = (side[:, None] + side) % 2 == 0  # every other pixel stays, the others come from another image
    mixed = attack.trigger(torch.where(kept, images, images.roll(1, 0)), index)
    elsewhere = attack.trigger(images, index + len(images))
    return bool(((first != mixed) & kept).any() or (first != elsewhere).any())


def distances(before: Tensor, after: Tensor) -> dict[str, float]:
    """psnr (dB, mean over the images that changed), ssim (Wang et al. 2004, Gaussian window of 11 pixels), linf (grey
    levels): means over uint8 images (N, 3, H, W)."""
    pairs = list(zip(_images(before), _images(after), strict=True))
    changed = [(a, b) for a, b in pairs if not np.array_equal(a, b)]
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    psnr = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in changed]
    ssim = [
        structural_similarity(
            a, b, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in pairs
    ]
    linf = [np.abs(a.astype(int) - b.astype(int)).max() for a, b in pairs]
    return {
        "psnr": float(np.mean(psnr)) if psnr else float("nan"),
        "ssim": float(np.mean(ssim)),
        "linf": float(np.mean(linf)),
    }


def _images(images: Tensor) -> NDArray[np.uint8]:
    return np.asarray(images.permute(0, 2, 3, 1).cpu().numpy(), dtype=np.uint8)
