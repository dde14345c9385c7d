"""A-ABL's split against references written from the paper, and the identities that tie it to its parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from defenselib import defenses
from defenselib.data.types import ImageSet
from defenselib.defenses.aabl_split import GROUP, Vulnerability, augmented, keep_vulnerable
from defenselib.defenses.aabl_views import AUGMENTATIONS
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.models import build_model

SMALL = dict(naive_epochs=2, split_steps=2, epochs=2, batch_size=8, milestones=(1,), steps=2, padding=1)


def images(n=30):
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=stream)
    return ImageSet(pixels, torch.arange(n) % 3)


def tool(**more):
    return Context(model_factory=lambda: build_model("resnet10", 3, 8, width=8), **more)


def fit(name="aabl", **more):
    how = {key: more.pop(key) for key in list(more) if key in ("observer", "checkpoints", "checkpoint_every", "cache")}
    context = tool(**how)
    return defenses.create(name, **more).fit(images(), context.build_model, context)


def same(one, other):
    first, second = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(value, second[name]) for name, value in first.items())


class Killed(Exception):
    pass


class Observer:
    """Keeps what it is told; stops the run in a stage, as a kill would."""

    def __init__(self, kill=None):
        self.told, self.kill = {}, kill
        self.stages = []

    def __call__(self, event, **what):
        self.told[event, what.get("stage", what.get("name"))] = what
        if event == "epoch":
            self.stages.append((what["stage"], what["epoch"]))
            if what["stage"] == self.kill:
                raise Killed

    def state_dict(self):
        return {"stages": self.stages}

    def load_state_dict(self, state):
        self.stages = list(state["stages"])


def test_defaults_are_the_papers():
    made = defenses.create("aabl")
    assert (made.naive_epochs, made.naive_learning_rate) == (20, 0.001)
    assert (made.split, made.split_eps, made.split_step, made.split_steps) == ("ifgsm", 2, 2, 5)
    assert (made.lowest, made.highest) == (0.1, 0.9)
    assert (made.eps, made.step, made.steps) == (8, 2, 10)
    assert (made.epochs, made.learning_rate, made.schedule, made.milestones) == (100, 0.1, "step", (50, 75, 90))


def test_the_split_is_that_of_a_loop_over_samples():
    """iFGSM, SCE and Otsu's threshold written out; the naive model is the one that the defense made."""
    seen = Observer()
    fitted = fit(**SMALL | {"split_eps": 3.0, "split_step": 2.0, "highest": 1.0}, observer=seen)
    model, train = seen.told["epoch", "split"]["model"].eval(), images()
    expected = []
    for image, label in zip(train.images, train.labels, strict=True):
        start = image[None].float() / 255
        moved = start
        for _ in range(2):
            moved = moved.detach().requires_grad_()
            F.cross_entropy(model(moved), label[None]).backward()
            stepped = moved.detach() + 2 / 255 * moved.grad.sign()
            moved = stepped.clamp(start - 3 / 255, start + 3 / 255).clamp(0, 1)
        p = model(moved)[0].detach().double().softmax(0).numpy()
        reverse = sum(max(p[k], 1e-7) * -np.log(1e-4) for k in range(3) if k != label)
        expected.append(-0.1 * np.log(p[label]) + reverse)
    model.zero_grad()
    np.testing.assert_allclose(seen.told["scores", "vulnerability"]["values"], expected, atol=2e-3)
    kept, removed = seen.told["split", "split"]["clean"], fitted.suspects
    assert sorted([*kept.tolist(), *removed.tolist()]) == list(range(30))
    low, high = np.asarray(expected)[removed], np.asarray(expected)[kept]
    assert low.max() < high.min()
    counts, edges = np.histogram(expected, 256)
    middles = (edges[1:] + edges[:-1]) / 2
    best = max(between(counts, middles, cut) for cut in range(1, 256))
    row = seen.told["kept", None]
    chosen = int(np.abs(middles - row["otsu_cut"]).argmin()) + 1
    assert between(counts, middles, chosen) == pytest.approx(best, rel=1e-2)
    assert torch.equal(row["index"], kept) and row["otsu_gamma"] == pytest.approx(100 * len(kept) / 30)


def between(counts, middles, cut):
    w0, w1 = counts[:cut].sum(), counts[cut:].sum()
    if not w0 or not w1:
        return 0.0
    return (
        w0
        * w1
        * (np.average(middles[:cut], weights=counts[:cut]) - np.average(middles[cut:], weights=counts[cut:])) ** 2
    )


class Shortcut(torch.nn.Module):
    """Two classes: the sum of a small patch decides at a large weight, the mean of the picture at a small one."""

    def forward(self, x):
        patch = (x[:, :, :2, :2].mean((1, 2, 3)) > 0.95).float() * 40 * x[:, :, :2, :2].mean((1, 2, 3))
        rest = 100 * (x.mean((1, 2, 3)) - 0.505)
        return torch.stack([torch.zeros_like(rest), patch + rest], 1)


def test_a_strong_shortcut_resists_and_everything_else_gives_way():
    pixels = torch.full((20, 3, 8, 8), 130, dtype=torch.uint8)
    pixels[:5, :, :2, :2] = 255
    labels = torch.ones(20, dtype=torch.int64)
    model = torch.nn.Sequential(Shortcut(), torch.nn.Linear(2, 2))
    model[1].weight.data, model[1].bias.data = torch.eye(2), torch.zeros(2)
    context = Context(model_factory=lambda: model)
    scores = Vulnerability(eps=8.0, step=8.0, steps=3)(model, ImageSet(pixels, labels), context)
    kept = keep_vulnerable(scores)
    assert kept.index.tolist() == list(range(5, 20)) and kept.otsu_gamma == 75.0


@pytest.mark.parametrize(
    ("low", "lowest", "highest", "size"),
    [(50, 0.1, 0.9, 50), (3, 0.1, 0.9, 90), (96, 0.1, 0.9, 10), (50, 0.6, 0.9, 60), (3, 0.1, 1.0, 97)],
)
def test_bounds_move_the_cut_to_their_quantile(low, lowest, highest, size):
    """`low` of 100 samples lie near 0, the others near 9."""
    scores = torch.cat([torch.linspace(0, 0.5, low), torch.linspace(8.5, 9, 100 - low)])
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    kept = keep_vulnerable(scores[order], lowest, highest)
    assert len(kept.index) == size and kept.otsu_gamma == 100 - low
    ranked = sorted(range(100), key=lambda i: -scores[order][i])
    assert kept.index.tolist() == sorted(ranked[:size])
    assert (scores[order][kept.index] > kept.cut).all()
    assert 0.49 <= kept.otsu_cut < 8.5


@pytest.mark.slow
def test_keeping_everything_is_adversarial_training_and_naive_training_is_no_defense():
    everything = SMALL | {"lowest": 1.0, "highest": 1.0}
    last = {key: SMALL[key] for key in ("epochs", "batch_size", "milestones", "padding")}
    whole = fit(**everything)
    assert len(whole.suspects) == 0
    assert same(whole, fit("adv-train", **last, steps=2))
    assert same(fit(**everything, training="naive"), fit("none", **last))


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path):
    whole, first, second = Observer(), Observer("adversarial"), Observer()
    expected = fit(**SMALL, observer=whole)
    with pytest.raises(Killed):
        fit(**SMALL, observer=first, checkpoints=tmp_path, checkpoint_every=0)
    resumed = fit(**SMALL, observer=second, checkpoints=tmp_path, checkpoint_every=0)
    stages = [("naive", 0), ("naive", 1), ("split", 0), ("adversarial", 0), ("adversarial", 1)]
    assert whole.stages == stages and second.stages == stages
    assert same(expected, resumed) and torch.equal(expected.suspects, resumed.suspects)


@pytest.mark.slow
def test_the_naive_model_is_shared_and_changes_nothing_that_follows():
    kept = {}

    def cache(key, make):
        if key not in kept:
            kept[key] = make()
        return {name: value.clone() for name, value in kept[key].items()}

    first, second, alone = fit(**SMALL, cache=cache), fit(**SMALL, cache=cache), fit(**SMALL)
    fit(**SMALL | {"split": "augmix", "training": "naive", "eps": 4.0}, cache=cache)
    assert list(kept) == [next(iter(kept))] and next(iter(kept)).startswith("naive ")
    assert same(first, second) and same(first, alone)


@pytest.mark.parametrize(("split", "parts"), [("dst-clean", 1), ("dst-clean-uncertain", 2)])
def test_what_dst_believes_can_be_trained_on(split, parts):
    """No naive model; kept are the parts that D-ST's module reported, of which the suspected one is never."""
    seen = Observer()
    fitted = fit(**SMALL | {"split": split}, observer=seen)
    told, kept = seen.told["split", "distinguish"], set(seen.told["kept", None]["index"].tolist())
    everything = set(range(30))
    expected = set(told["clean"].tolist()) if parts == 1 else everything - set(told["poison"].tolist())
    assert kept == expected and set(fitted.suspects.tolist()) == everything - expected
    assert {stage for stage, _ in seen.stages} == {"adversarial"}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_are_torchvisions(name):
    pixels = images(GROUP).images
    before = torch.get_rng_state()
    found = augmented(pixels, name, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found, augmented(pixels, name, torch.Generator().manual_seed(3)))
    stream = torch.Generator().manual_seed(3)
    seed = int(torch.randint(2**62, (1,), generator=stream))
    order = torch.randperm(GROUP, generator=stream)
    kinds = {"randaugment": v2.RandAugment(), "augmix": v2.AugMix()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        expected = kinds.get(name, v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10))(pixels[order])
    assert torch.equal(found[order], expected)


@pytest.mark.parametrize(
    "bad",
    [
        {"split": "automix"}, {"training": "adversarially"}, {"lowest": 0.0}, {"lowest": 0.95}, {"highest": 1.1},
        {"bins": 1}, {"split_eps": -1.0}, {"split_steps": 0}, {"sce_beta": -1.0}, {"naive_epochs": 0},
        {"naive_learning_rate": 0.0}, {"epochs": 0}, {"eps": -1.0}, {"steps": 0}, {"schedule": "stp"}, {"padding": -1},
    ],
)  # fmt: skip
def test_bad_values(bad):
    with pytest.raises(DefenseLibError):
        defenses.create("aabl", **bad)
