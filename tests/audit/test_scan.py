"""The scan: a planted pattern is found to the file, clean data stay calm, an unfinished scan goes on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn
from scipy.stats import binom, rankdata
from torch import Tensor
from typer.testing import CliRunner

from defenselib.audit import network, page
from defenselib.audit.agree import ALARM, LOOK
from defenselib.audit.counts import duplicates, ranks
from defenselib.audit.folder import UserData
from defenselib.audit.patterns import find_patterns, tail
from defenselib.audit.scan import _network_signs, scan
from defenselib.audit.suspects import write_scan
from defenselib.audit.trigger import estimate, put_on
from defenselib.audit.whitening import cosine_matrix, whitened
from defenselib.cli import app
from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError

N, K, SIDE = 400, 4, 16


def smooth(seed: int, count: int = N, side: int = SIDE) -> Tensor:
    """Images whose energy lies in slow waves, as that of photographs, with a little noise."""
    stream = torch.Generator().manual_seed(seed)
    waves = F.interpolate(torch.rand(count, 3, 4, 4, generator=stream), side, mode="bicubic", align_corners=False)
    noise = 4 * torch.randn(count, 3, side, side, generator=stream)
    return (40 + 170 * waves + noise).round().clamp(0, 255).to(torch.uint8)


def user_data(images: Tensor, labels: Tensor) -> UserData:
    classes = tuple(f"class {i}" for i in range(int(labels.max()) + 1))
    files = tuple(f"{classes[y]}/{i}.png" for i, y in enumerate(labels.tolist()))
    return UserData(Path("/nowhere"), ImageSet(images, labels), files, classes, (), ())


def clean(seed: int) -> tuple[Tensor, Tensor]:
    return smooth(seed), torch.arange(N) % K


def planted(kind: str, seed: int = 0, count: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels, and which of them carry a pattern: all of class 2."""
    images, labels = clean(seed)
    chosen = torch.zeros(N, dtype=torch.bool)
    chosen[torch.nonzero(labels != 2).flatten()[:count]] = True  # false labels, as most attacks give
    labels = torch.where(chosen, 2, labels)
    marked = images.clone()
    if kind == "patch":
        marked[:, :, -4:-1, -4:-1] = torch.tensor([[0, 255, 0], [255, 0, 255], [0, 255, 0]], dtype=torch.uint8)
    else:
        stripes = 12 * torch.sin(2 * torch.pi * 5 * torch.arange(SIDE) / SIDE)
        marked = (images.float() + stripes).round().clamp(0, 255).to(torch.uint8)
    return torch.where(chosen[:, None, None, None], marked, images), labels, chosen


@pytest.mark.parametrize("kind", ["patch", "stripes"])
def test_a_planted_pattern_is_found_to_the_file(kind: str) -> None:
    images, labels, chosen = planted(kind)
    report = scan(user_data(images, labels), budget="quick")
    assert report.alarm == "alarm" and report.target == 2 and report.target_votes == {"pattern": "class 2"}
    assert torch.equal(report.flagged, chosen)
    assert set(report.rank[: int(chosen.sum())].tolist()) == set(chosen.nonzero().flatten().tolist())
    assert report.null["strength"] > ALARM and report.null["strongest in other classes"] < LOOK
    assert "class 2" in report.words and float(report.score.min()) >= 0 and float(report.score.max()) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_clean_data_are_calm(seed: int) -> None:
    report = scan(user_data(*clean(seed)), budget="quick")
    assert report.alarm == "calm" and report.target is None and not report.flagged.any() and report.target_votes == {}
    assert "Nothing stands out" in report.words


def test_a_pattern_that_all_classes_have_is_no_alarm() -> None:
    images, labels, chosen = planted("patch", count=80)
    spread = torch.where(chosen, torch.arange(N) % K, labels)
    assert scan(user_data(images, spread), budget="quick").alarm == "calm"


@pytest.mark.parametrize("seed", range(3))
def test_what_images_have_whatever_their_label_is_no_alarm_in_a_class_of_most_images(seed: int) -> None:
    # As of one camera: a fifth of all, of a class that is 85 % of the data by chance alone.
    images, _, chosen = planted("patch", seed, count=80)
    draw = torch.rand(N, generator=torch.Generator().manual_seed(seed))
    report = scan(user_data(images, (draw > 0.85).long()), budget="quick")
    assert report.alarm == "calm" and report.null["strength"] < LOOK / 2
    # With the patch on one class alone it is found, as large as that class is.
    assert scan(user_data(images, (~chosen & (draw > 0.7)).long()), budget="quick").alarm == "alarm"


@given(st.integers(0, 3000), st.integers(1, 3000), st.floats(0.001, 0.999))
def test_the_chance_of_a_pattern_under_random_labels_is_the_binomial_one(hits: int, count: int, share: float) -> None:
    hits = min(hits, count)
    assert tail(hits, count, share) == pytest.approx(binom.sf(hits - 1, count, share), rel=1e-6, abs=1e-30)


def test_copies_of_one_picture_are_no_alarm_but_told() -> None:
    images, labels = clean(0)
    images[labels.eq(1).nonzero().flatten()[:12]] = images[1].clone()
    report = scan(user_data(images, labels), budget="quick")
    assert report.alarm == "calm"
    copies = next(item for item in report.signs if item.key == "duplicates")
    assert copies.words.startswith("12 images are there more than once") and int((copies.scores == 0.5).sum()) == 12


def torn_apart(count: int) -> UserData:
    """So many files that are copies of another one under another label."""
    images, labels = clean(0)
    images[1:count:2] = images[0:count:2]
    return user_data(images, labels)


def test_many_copies_under_different_labels_are_not_calm() -> None:
    report = scan(torn_apart(40), budget="quick")
    assert report.alarm == "look" and report.target is None and not report.flagged.any() and not report.quiet
    assert "40 of 400 files (10%) are there more than once" in report.words and "keep each picture once" in report.words
    assert "Nothing stands out" not in report.words and "can be missed" in report.words
    shown = page.report(torn_apart(40), report)
    assert "Look at these files" in shown and "below the limit" in shown and "No sign of poison" not in shown
    assert scan(torn_apart(38), budget="quick").alarm == "calm"


@settings(max_examples=5)
@given(st.integers(0, 2**31))
def test_the_order_of_files_does_not_matter(seed: int) -> None:
    images, labels, chosen = planted("patch")
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    data = ImageSet(images[order], labels[order])
    first = find_patterns(whitened(data.images, 0), data, 0)[0]
    assert torch.equal(torch.zeros(N, dtype=torch.bool).index_fill_(0, first.members, True), chosen[order])


def test_the_trigger_is_made_visible() -> None:
    images, labels, _ = planted("patch")
    data = ImageSet(images, labels)
    first = find_patterns(whitened(images, 0), data, 0)[0]
    difference, alike = estimate(data, first, 0)
    where = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    where[-4:-1, -4:-1] = True
    assert alike[where].min() > 0.95 and alike[~where].max() < 0.6
    assert difference.abs().mean(0)[where].min() > 2 * difference.abs().mean(0)[~where].mean()
    fresh = smooth(9, 20)
    stamped = put_on(fresh, data, first, 0)
    wanted = images[first.members[0]][:, -4:-1, -4:-1].expand(20, -1, -1, -1)
    assert torch.equal(stamped[:, :, -4:-1, -4:-1], wanted)


def test_whitened_vectors_are_scaled_cosine_coefficients() -> None:
    images = smooth(3, 50, 8)
    colour = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])
    channels = np.einsum("oc,nchw->nohw", colour, images.numpy().astype(float))
    found = dctn(channels, axes=(2, 3), norm="ortho").reshape(50, -1)
    found = (found - found.mean(0)) / np.maximum(found.std(0), 1.0)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    torch.testing.assert_close(whitened(images, 0), torch.from_numpy(found).float(), rtol=1e-3, atol=1e-4)
    matrix = cosine_matrix(24)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(24), rtol=0, atol=1e-5)


def test_folding_keeps_angles() -> None:
    images = smooth(4, 30, 64)  # 12,288 coordinates become 4,096
    vectors = whitened(images, 0)
    assert vectors.shape == (30, 4096)
    images[1] = images[0]
    same = whitened(images, 0)
    assert float(same[0] @ same[1]) == pytest.approx(1, abs=1e-5) and abs(float(same[0] @ same[2])) < 0.3


@given(st.lists(st.integers(0, 5), min_size=2, max_size=40))
def test_ranks_are_those_of_scipy(values: list[int]) -> None:
    scores = torch.tensor([*map(float, values), float("nan")])
    expected = (rankdata(values) - 1) / (len(values) - 1)
    assert ranks(scores)[:-1].tolist() == pytest.approx(expected.tolist()) and ranks(scores)[-1].isnan()


def test_a_copy_under_another_label_scores_highest() -> None:
    images, labels = clean(0)
    images[[0, 1, 4]] = images[0].clone()  # labels 0, 1, 0
    images[8] = images[12] = images[16]  # label 0 each
    found = duplicates(ImageSet(images, labels), ("a", "b", "c", "d"))
    assert found.scores[[0, 1, 4]].tolist() == [1, 1, 1] and found.scores[[8, 12, 16]].tolist() == [0.5] * 3
    assert int((found.scores > 0).sum()) == 6 and found.per_class == {"a": 5, "b": 1, "c": 0, "d": 0}


def test_tiny_and_lopsided_sets_do_not_fail() -> None:
    images = smooth(0, 20)
    for labels in (torch.tensor([0] * 19 + [1]), torch.arange(20), torch.arange(20) % 2):
        report = scan(user_data(images, labels), budget="quick")
        assert report.alarm == "unknown" and sorted(report.rank.tolist()) == list(range(20))


@pytest.mark.slow
def test_networks_join_in_and_an_unfinished_scan_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels, chosen = planted("patch")
    data = user_data(images[:200], labels[:200])
    monkeypatch.setattr(network, "MOST_EPOCHS", 4)
    straight = scan(data, device="cpu")
    assert {item.key for item in straight.signs} == {
        "pattern", "sizes", "duplicates", "near_duplicates", "loss", "entropy", "fct", "spectral", "second"
    }  # fmt: skip
    assert straight.alarm == "alarm" and torch.equal(straight.flagged, chosen[:200])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("defenselib.audit.network.scores.fct", killed)  # after both trainings
        with pytest.raises(KeyboardInterrupt):
            scan(data, device="cpu", out=tmp_path)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    with monkeypatch.context() as patch:
        patch.setattr("defenselib.audit.scan.find_patterns", killed)  # it must not be searched again
        resumed = scan(data, device="cpu", out=tmp_path)
    for one, other in zip(straight.signs, resumed.signs, strict=True):
        assert torch.equal(one.scores.nan_to_num(-1), other.scores.nan_to_num(-1)) and one.words == other.words
    assert torch.equal(straight.rank, resumed.rank) and not list(tmp_path.iterdir())


def written(root: Path, images: Tensor, labels: Tensor) -> Path:
    for place, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (root / f"c{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / f"c{label}" / f"{place}.png")
    return root


def test_the_command_from_files_to_tables(tmp_path: Path) -> None:
    images, labels, chosen = planted("patch", count=20)
    root = written(tmp_path / "data", images[:160], labels[:160])
    (root / "c1" / "bad\n[bold]<b>.png").write_bytes(b"")
    more = ["--image-size", "16", "--budget", "quick", "--no-progress", "--device", "cpu"]
    result = CliRunner().invoke(app, ["scan", str(root), "--out", str(tmp_path / "out"), *more])
    assert result.exit_code == 0, result.output
    assert "ALARM" in result.stdout and "class c2" in result.stdout and "bad\\n[bold]<b>.png" in result.stdout
    with (tmp_path / "out" / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = {int(Path(row["file"]).stem) for row in rows if row["flagged"] == "yes"}
    assert first == set(chosen[:160].nonzero().flatten().tolist()) and len(rows) == 160
    assert [int(row["rank"]) for row in rows] == list(range(1, 161)) and all(
        "pattern" in row["flagged_by"] for row in rows[:20]
    )
    content = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert content["alarm"] == "alarm" and content["target"] == "c2" and content["skipped"] == 1
    told = CliRunner().invoke(app, ["scan", str(root), *more, "--json"])
    assert json.loads(told.stdout)["target"] == "c2"
    dry = CliRunner().invoke(app, ["scan", str(root), *more, "--dry-run"])
    assert dry.exit_code == 0 and "160 images, 4 classes: about" in dry.stdout and "ALARM" not in dry.stdout


@pytest.mark.parametrize(("alarm", "code"), [("alarm", 1), ("calm", 0), ("unknown", 3)])
def test_only_a_verdict_that_was_reached_passes(alarm: str, code: int, tmp_path: Path) -> None:
    images, labels = planted("patch", count=20)[:2] if alarm == "alarm" else clean(0)
    count = 12 if alarm == "unknown" else 160
    root = str(written(tmp_path, images[:count], labels[:count]))
    more = ["scan", root, "--image-size", "16", "--budget", "quick", "--no-progress", "--device", "cpu", "--json"]
    assert CliRunner().invoke(app, more).exit_code == 0
    told = CliRunner().invoke(app, [*more, "--fail-on-alarm"])
    assert json.loads(told.stdout)["alarm"] == alarm and told.exit_code == code


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--out", "data/out"], "lies in the data"),
        (["--budget", "quik"], "did you mean 'quick'"),
        (["--image-size", "many"], "'many', it must be a whole number"),
        (["--image-size", "8"], "image_size is 8, it must lie in"),
        (["--seed", "-1"], "seed is -1"),
        (["--device", "gpu"], "device 'gpu' is not there"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    more: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "data", smooth(0, 8), torch.arange(8) % 2)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        app, ["scan", "data", "--no-progress", "--image-size", "16", "--budget", "quick", *more]
    )
    assert result.exit_code == 2 and words in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ") and not (tmp_path / "data" / "out").exists()


def test_tables_are_empty_where_a_sign_says_nothing(tmp_path: Path) -> None:
    data = user_data(smooth(0, 20), torch.arange(20) // 7)  # 7, 7, 6: too few to be searched
    write_scan(tmp_path, data, scan(data, budget="quick"))
    with (tmp_path / "suspects.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert "pattern" not in rows[0] and len(rows) == 21
    with pytest.raises(DefenseLibError):
        write_scan(tmp_path / "suspects.csv" / "below", data, scan(data, budget="quick"))


def test_the_signs_of_a_network_say_what_was_counted() -> None:
    labels = torch.arange(N) % K
    scores = torch.where(labels == 2, 1.0, 0.0) + torch.arange(N) / 1e6
    seen = network.Seen(scores, scores, scores, scores, (3, 3, 3, 1), None)  # type: ignore[arg-type]
    words = {sign.key: sign.words for sign in _network_signs(seen, user_data(*clean(0)))}
    assert words["fct"] == (
        "10 of the 10 files with the highest scores (2 % of the files, 10 at least) are of class class 2."
    )
    assert words["second"] == "In 75 % of the passes over the data class 3 was most often the second choice."
