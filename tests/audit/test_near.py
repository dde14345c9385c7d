"""Near duplicates: copies changed a little are found, other pictures are not, and nothing is decided by it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from defenselib.audit.counts import ALIKE, near_duplicates
from defenselib.audit.results import Sign
from defenselib.audit.scan import scan
from defenselib.audit.suspects import summary, write_scan
from defenselib.data.types import ImageSet
from tests.audit.test_scan import planted, smooth, user_data

AB = ("a", "b")


def again(image: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """The image after a change of it as a picture."""
    found = change(Image.fromarray(image.permute(1, 2, 0).numpy())).convert("RGB")
    return torch.from_numpy(np.array(found)).permute(2, 0, 1)


def encoded(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return Image.open(buffer)


def resized(picture: Image.Image) -> Image.Image:
    return picture.resize((24, 24)).resize(picture.size)


def brighter(picture: Image.Image) -> Image.Image:
    return picture.point(lambda value: min(255, value + 20))


def patched(picture: Image.Image) -> Image.Image:
    picture.paste((255, 255, 255), (28, 28, 31, 31))
    return picture


@pytest.mark.parametrize("change", [encoded, resized, brighter, patched, lambda picture: picture])
@pytest.mark.parametrize("other", [True, False], ids=["another label", "the same label"])
def test_changed_copies_are_found_and_no_other_picture(
    change: Callable[[Image.Image], Image.Image], other: bool
) -> None:
    images, labels = smooth(0, 600, 32), torch.arange(600) % 5
    copies = torch.stack([again(image, change) for image in images[:50]])
    theirs = (labels[:50] + 1) % 5 if other else labels[:50]
    found = near_duplicates(ImageSet(torch.cat([images, copies]), torch.cat([labels, theirs])), tuple("abcde"))
    told = found.scores > 0
    assert float(told[:50].float().mean()) >= 0.98 and torch.equal(told[:50], told[600:]), "recall"
    assert not told[50:600].any(), "precision"
    assert set(found.scores[told].tolist()) == {1.0 if other else 0.5}
    assert found.words.startswith(f"{int(told.sum())} images") and sum(found.per_class.values()) == int(told.sum())


def reference(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[list[float], float]:
    """The scores, pair by pair, and how near the limit the nearest pair comes."""
    side = images.shape[-1] // 8
    fields = images.astype(np.float64).reshape(len(images), 3, 8, side, 8, side).mean((3, 5))
    alike = np.full((len(images), len(images)), -1.0)
    flat = np.zeros(len(images), dtype=bool)
    for part in (fields[:, :, 1:7, 1:7], fields):  # the whole comes last: it alone says what is flat
        plain = (part - part.mean((2, 3), keepdims=True)).reshape(len(part), -1)
        flat = np.sqrt((plain**2).mean(1)) < 1
        rest = plain - plain.sum(0) / (len(plain) + 32)
        for i in range(len(part)):
            for j in range(len(part)):
                if i != j and not flat[i] and not flat[j]:
                    value = rest[i] @ rest[j] / np.sqrt((rest[i] @ rest[i]) * (rest[j] @ rest[j]))
                    alike[i, j] = max(alike[i, j], value)
    scores = []
    for i, row in enumerate(alike):
        mates = {bool(labels[j] != labels[i]) for j in np.flatnonzero(row >= ALIKE)}
        scores.append(float("nan") if flat[i] else 1.0 if True in mates else 0.5 if mates else 0.0)
    return scores, float(np.abs(alike - ALIKE).min())


def drawn_copies(seed: int, count: int, side: int = 16) -> tuple[Tensor, Tensor]:
    """A few pictures with noise of several strengths, some of them flat."""
    draw = np.random.default_rng(seed)
    base = smooth(seed, 3, side).numpy().astype(float)
    base[0] = 90
    images = [base[draw.integers(3)] + draw.choice([0, 3, 20, 40]) * draw.normal(size=(3, side, side))
              for _ in range(count)]  # fmt: skip
    return torch.from_numpy(np.clip(images, 0, 255).astype(np.uint8)), torch.from_numpy(draw.integers(0, 3, count))


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(2, 14), st.sampled_from([16, 24]))
def test_scores_are_those_of_pairs_looked_at_one_by_one(seed: int, count: int, side: int) -> None:
    images, labels = drawn_copies(seed, count, side)
    expected, margin = reference(images.numpy(), labels.numpy())
    assume(margin > 1e-4)
    found = near_duplicates(ImageSet(images, labels), ("a", "b", "c")).scores
    assert np.array_equal(found.numpy(), np.array(expected, dtype=np.float32), equal_nan=True)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 40))
def test_neither_blocks_nor_order_nor_names_of_classes_count(seed: int, block: int) -> None:
    images, labels = drawn_copies(seed, 30)
    assume(reference(images.numpy(), labels.numpy())[1] > 1e-4)
    draw = torch.Generator().manual_seed(seed)
    order, names = torch.randperm(30, generator=draw), torch.randperm(3, generator=draw)
    whole = near_duplicates(ImageSet(images, labels), ("a", "b", "c"))
    blocks = near_duplicates(ImageSet(images, labels), ("a", "b", "c"), block)
    mixed = near_duplicates(ImageSet(images[order], names[labels][order]), ("a", "b", "c"))
    assert torch.equal(whole.scores.nan_to_num(-1), blocks.scores.nan_to_num(-1)) and whole.words == blocks.words
    assert torch.equal(whole.scores[order].nan_to_num(-1), mixed.scores.nan_to_num(-1)) and whole.words == mixed.words


def test_flat_images_are_near_duplicates_of_nothing_and_that_is_told() -> None:
    images = smooth(1, 20, 32)
    images[:8] = (30 * torch.arange(8)).to(torch.uint8)[:, None, None, None]  # grey
    images[8:12] = torch.tensor([250, 10, 60], dtype=torch.uint8)[:, None, None]  # of one hue, pixel by pixel the same
    found = near_duplicates(ImageSet(images, torch.arange(20) % 2), AB)
    assert found.scores[:12].isnan().all() and (found.scores[12:] == 0).all()
    assert found.words.startswith("0 images") and "12 flat images were not compared" in found.words
    nothing = near_duplicates(ImageSet(images[:8], torch.arange(8) % 2), AB)
    assert nothing.scores.isnan().all() and nothing.per_class == {"a": 0.0, "b": 0.0}


def test_two_images() -> None:
    one, other = smooth(2, 2, 32)
    for second, labels, score in ((again(one, encoded), (0, 0), 0.5), (again(one, encoded), (0, 1), 1.0),
                                  (one, (0, 1), 1.0), (other, (0, 1), 0.0), (255 - one, (0, 1), 0.0)):  # fmt: skip
        found = near_duplicates(ImageSet(torch.stack([one, second]), torch.tensor(labels)), AB)
        assert found.scores.tolist() == [score, score]


def test_what_all_images_share_makes_none_a_copy() -> None:
    """As of X-rays, or faces: one layout, in which each differs a little."""
    layout = smooth(3, 1, 32).float()
    images = (0.8 * layout + 0.2 * smooth(4, 300, 32)).round().to(torch.uint8)
    assert (near_duplicates(ImageSet(images, torch.arange(300) % 2), AB).scores == 0).all()


def test_it_is_shown_and_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels, _ = planted("patch")
    data = user_data(images, labels)
    report = scan(data, budget="quick")

    def all_suspect(seen: ImageSet, classes: tuple[str, ...]) -> Any:
        return Sign("near_duplicates", "Near duplicates", torch.ones(len(seen)), dict.fromkeys(classes, 1.0), "x")

    monkeypatch.setattr("defenselib.audit.scan.near_duplicates", all_suspect)
    other = scan(data, budget="quick")
    assert (report.alarm, report.words, report.target_votes) == (other.alarm, other.words, other.target_votes)
    assert torch.equal(report.rank, other.rank) and torch.equal(report.flagged, other.flagged)
    write_scan(tmp_path, data, other)
    with (tmp_path / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["near_duplicates"] for row in rows} == {"1.0"}
    assert {row["flagged_by"] for row in rows} == {"pattern", ""}
    assert any(sign["key"] == "near_duplicates" for sign in summary(data, report)["signs"])
