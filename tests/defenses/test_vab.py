"""V&B's split, schedule, suppression and losses against numbers worked out by hand or by naive loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from defenselib import defenses
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses import scores, vab_victim
from defenselib.defenses.vab_beneficiary import Beneficiary, Mixing, pace
from defenselib.defenses.vab_victim import Mixture, Victim, entropy, fit_mixture, min_max, suppress
from defenselib.errors import DefenseLibError, TrainingDivergedError
from defenselib.experiments import Experiment
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import Schedule, make_optimizer
from defenselib.models import build_model

SMALL = {
    "warmup_epochs": 3, "threshold": 0.4, "victim_batch_size": 16, "victim_interval": 2, "clean_epochs": 4,
    "epochs": 8, "batch_size": 12, "milestones": (2, 4, 6),
}  # fmt: skip


class Recorder:
    def __init__(self, stop_at=None):
        self.events, self.stop_at = [], stop_at

    def __call__(self, event, **what):
        if (event, what.get("stage"), what.get("epoch")) == self.stop_at:
            raise KeyboardInterrupt
        self.events.append((event, what))

    def state_dict(self):
        return {}

    def load_state_dict(self, state): ...

    def of(self, event, **where):
        return [w for e, w in self.events if e == event and all(w.get(k) == v for k, v in where.items())]


def images(n=48, classes=3):
    pixels = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, torch.arange(n) % classes)


def context(recorder=None, **more):
    return Context(model_factory=lambda: build_model("resnet10", 3, 32, width=8), observer=recorder, **more)


def fit(recorder, train=None, tool=None, **hyper):
    tool = tool or context(recorder)
    return defenses.create("vab", **{**SMALL, **hyper}).fit(train or images(), tool.build_model, tool)


def test_defaults_are_the_papers():
    vab = defenses.create("vab")
    assert (vab.warmup_epochs, vab.threshold, vab.clean_epochs, vab.epochs) == (3, 0.2, 100, 200)
    assert (vab.victim_learning_rate, vab.victim_interval, vab.victim_interval_suppression) == (0.001, 5, 1)
    assert (vab.batch_size, vab.learning_rate, vab.momentum, vab.milestones) == (128, 0.1, 0.9, (50, 100, 150))
    assert (vab.mix_threshold, vab.alpha, vab.suppression, vab.augmentation) == (
        0.1,
        (0.1, 0.5),
        "both",
        "attentionmix",
    )
    # Where paper and code differ, the code's.
    assert (vab.weight_decay, vab.suppression_temperature, vab.attention_resize) == (5e-4, 3.0, "nearest")
    assert vab.smoothing == 0.75


def test_the_threshold_falls_as_in_the_paper():
    vab = defenses.create("vab")
    assert [vab.threshold_of(epoch) for epoch in range(5)] == pytest.approx([1.0, 0.6, 0.2, 0.2, 0.2])
    imagenet = defenses.create("vab", warmup_epochs=6, threshold=0.4)
    falls = [imagenet.threshold_of(epoch) for epoch in range(7)]
    assert falls == pytest.approx([1.0, 0.88, 0.76, 0.64, 0.52, 0.4, 0.4])
    assert defenses.create("vab", warmup_epochs=1).threshold_of(1) == pytest.approx(0.2)


def test_undefended_models_are_trained_as_in_appendix_a2():
    none = Experiment(paper="vab", profile="paper").resolve().defense
    assert (none.epochs, none.milestones, none.weight_decay, none.padding_mode) == (200, (50, 100, 150), 1e-4, "zeros")
    assert (none.learning_rate, none.momentum, none.batch_size) == (0.1, 0.9, 128)


def test_learning_rates_of_the_four_parts():
    vab = defenses.create("vab")
    sgd = make_optimizer([torch.nn.Parameter(torch.zeros(1))], "sgd", vab.learning_rate)
    schedule = Schedule(vab.schedule, vab.milestones).attach(sgd, vab.epochs, 1)
    rates = []
    for _ in range(vab.epochs):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    assert [rates[e - 1] for e in (1, 50, 51, 101, 151, 200)] == pytest.approx([0.1, 0.1, 0.01, 0.001, 1e-4, 1e-4])


def test_entropy_against_a_loop_and_a_sure_victim():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    for row, found in zip(logits.tolist(), entropy(logits).tolist(), strict=True):
        p = [math.exp(value) / sum(map(math.exp, row)) for value in row]
        assert found == pytest.approx(-sum(q * math.log(q) for q in p), rel=1e-5)
    assert entropy(torch.zeros(1, 10)).item() == pytest.approx(math.log(10))
    assert entropy(torch.tensor([[1e4, 0.0]])).item() == 0.0  # a probability of 0 is no NaN
    model = build_model("resnet10", 3, 32, width=8)
    train = images(8)
    victim = Victim(model, torch.optim.Adam(model.parameters()), 4, 0.75, train, context())
    assert torch.allclose(victim.judge(), scores.entropy(model, train.images))


def test_min_max_and_suppression_by_hand():
    assert min_max(torch.tensor([3.0, 1.0, 2.0])).tolist() == [1.0, 0.0, 0.5]
    assert min_max(torch.ones(3)).tolist() == [0.0] * 3
    one_hot = torch.tensor([[0.0, 1.0, 0.0]])
    assert suppress(one_hot, torch.tensor([[0.2, 0.7, 0.1]]))[0].tolist() == pytest.approx([0.0, 0.3, 0.0])
    assert suppress(one_hot, torch.tensor([[0.9, 0.0, 0.1]]))[0].tolist() == [0.0, 1.0, 0.0]


def test_smoothing_is_three_quarters_new():
    model = build_model("resnet10", 3, 32, width=8)
    victim = Victim(model, torch.optim.Adam(model.parameters()), 4, 0.75, images(8), context())
    first = victim.judge()
    assert torch.equal(victim.memory["entropy"], first)
    with torch.no_grad():
        model.head.weight.mul_(5.0)
    second = victim.judge()
    assert torch.allclose(victim.memory["entropy"], 0.75 * second + 0.25 * first)
    assert victim.rounds == 2
    v = victim.probabilities(3.0)
    assert torch.allclose(v, (victim.memory["logits"] / 3).softmax(1)) and v.max() < 1


@pytest.mark.parametrize(
    ("credible", "suspicious", "wanted"), [(40_000, 10_000, (313, 31)), (20_000, 30_000, (157, 191)), (50, 0, (1, 1))]
)
def test_pace_of_stage_three(credible, suspicious, wanted):
    assert pace(credible, suspicious, 128) == wanted


def plain_beneficiary(train):
    """Two equal views without augmentation and mixing: what is left is the loss."""
    tool = context()
    model = tool.build_model("beneficiary")
    sgd = make_optimizer(list(model.parameters()), "sgd", 0.1)
    mixing = Mixing("none", 0.1, "nearest", 1.0, 0.1)
    return Beneficiary(Trainee(model, sgd, train, tool, Augment(0, flip=False)), mixing, 12, 2)


def test_losses_of_stage_three_against_a_loop():
    train = images(12)
    one = plain_beneficiary(train)
    one.trainee.model.train()
    index = torch.arange(12)
    with torch.no_grad():
        logits = one.trainee.model(train.images.float() / 255).double().numpy()
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    victim = torch.softmax(torch.randn(12, 3, generator=torch.Generator().manual_seed(1)), 1)

    def loss(labels):
        """CE of suppressed one-hot labels: only the label's own entry survives."""
        return np.mean([-(1 - float(victim[i, k])) * log_p[i, k] for i, k in enumerate(labels)])

    found = one._labelled(index, suppress(torch.eye(3)[train.labels], victim))
    assert found.item() == pytest.approx(loss(train.labels.tolist()), rel=1e-4)
    assert one._relabelled(index, victim).item() == pytest.approx(loss(logits.argmax(1).tolist()), rel=1e-4)
    plain = np.mean([-log_p[i, k] for i, k in enumerate(logits.argmax(1))])
    assert one._relabelled(index, None).item() == pytest.approx(plain, rel=1e-4)


def test_mixture_finds_two_clusters_and_its_thresholds():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.1, 0.02, 300), rng.normal(0.7, 0.1, 700)])
    found = fit_mixture(torch.from_numpy(values).float(), seed=3)
    assert found.mean == pytest.approx((0.1, 0.7), abs=0.02) and found.sd == pytest.approx((0.02, 0.1), abs=0.01)
    assert found.weight == pytest.approx((0.3, 0.7), abs=0.01)
    one = Mixture((0.1, 0.7), (0.1, 0.2), (0.5, 0.5))
    assert one.below(0.5) == pytest.approx(0.15)
    assert one.separated(3.0) and not one.separated(6.5)
    peak = 0.5 / (0.1 * math.sqrt(2 * math.pi))
    assert one.density([0.1])[0, 0] == pytest.approx(peak)


@pytest.mark.slow
def test_pools_partition_the_data_and_the_victim_learns_the_suspicious(monkeypatch):
    learned, original = [], vab_victim.supervised_epoch

    def watched(model, optimizer, chosen, *rest, **more):
        learned.append(chosen.images)
        return original(model, optimizer, chosen, *rest, **more)

    monkeypatch.setattr(vab_victim, "supervised_epoch", watched)
    recorder, train = Recorder(), images()
    fitted = fit(recorder, train)
    splits = recorder.of("split")
    for what in splits:
        assert sorted([*what["clean"].tolist(), *what["poison"].tolist()]) == list(range(48))
    # Three looks in the warm-up, two in four clean epochs, four in stage 3.
    assert [w["epoch"] for w in splits] == [1, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9]
    assert [w["epoch"] for w in recorder.of("scores", name="entropy")] == [1, 2, 3, 5, 9]
    entropies = {w["epoch"]: w["values"] for w in recorder.of("scores", name="entropy")}
    for round_, threshold in ((1, 0.7), (2, 0.4), (3, 0.4), (5, 0.4)):
        (pool, *_) = [w["poison"] for w in splits if w["epoch"] == round_]
        assert torch.equal(pool, (entropies[round_] < threshold).nonzero().squeeze(1))
    # Everything first, then always the suspicious samples of the split before.
    before = [torch.arange(48), *({w["epoch"]: w["poison"] for w in splits}[r] for r in range(1, 9))]
    assert len(learned) == 9
    for found, index in zip(learned, before, strict=True):
        assert torch.equal(found, train.images[index])
    assert torch.equal(fitted.suspects, splits[-1]["poison"])
    assert fitted.metrics == {"threshold": pytest.approx(0.4), "victim_rounds": 9.0}
    assert [w["alpha"] for w in recorder.of("epoch", stage="suppression")] == [0.1, 0.1, 0.5, 0.5]


def test_without_stage_three_all_epochs_are_clean_training():
    recorder = Recorder()
    fit(recorder, semi_supervised=False, augmentation="none", clean_epochs=1, epochs=3)
    assert [w["stage"] for w in recorder.of("epoch")] == ["warmup"] * 3 + ["clean"] * 3


def test_the_automatic_warm_up_stops_when_the_mixture_is_apart():
    recorder = Recorder()
    fitted = fit(recorder, warmup="automatic", separation=0.0, clean_epochs=1, epochs=1)
    values = recorder.of("scores", name="entropy", epoch=1)[0]["values"]
    seed = torch.randint(2**31, (), generator=context().generator("vab/mixture"))
    found = fit_mixture(values, int(seed))
    assert fitted.metrics["threshold"] == pytest.approx(found.mean[0] + 0.5 * found.sd[0])
    assert len(recorder.of("epoch", stage="warmup")) == 1
    recorder = Recorder()
    fit(recorder, warmup="automatic", separation=1e3, automatic_epochs=2, clean_epochs=1, epochs=1)
    assert len(recorder.of("epoch", stage="warmup")) == 2
    low, high = fit_mixture(values, int(seed)).density(values.numpy())
    assert recorder.of("split")[0]["poison"].tolist() == np.flatnonzero(low > high).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("where", [("epoch", "warmup", 1), ("epoch", "clean", 2), ("epoch", "suppression", 1)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(where, tmp_path):
    whole = fit(Recorder())
    for stop_at in (where, None):
        recorder = Recorder(stop_at)
        tool = context(recorder, checkpoints=tmp_path, checkpoint_every=0.0)
        if stop_at:
            with pytest.raises(KeyboardInterrupt):
                fit(recorder, tool=tool)
        else:
            again = fit(recorder, tool=tool)
    assert len(recorder.of("epoch")) < 11
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert torch.equal(whole.suspects, again.suspects)


def test_a_victim_that_is_sure_of_everything_is_said():
    model = build_model("resnet10", 3, 32, width=8)
    victim = Victim(model, torch.optim.Adam(model.parameters()), 4, 0.75, images(8), context())
    victim.memory["entropy"] = torch.zeros(8)
    with pytest.raises(TrainingDivergedError, match="no credible one is left"):
        victim.split(0.2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"augmentation": "attention-mix"}, "did you mean 'attentionmix'"),
        ({"warmup": "auto"}, "available: scheduled, automatic"),
        ({"suppression": "suspicius"}, "did you mean 'suspicious'"),
        ({"attention_resize": "bicubic"}, "available: nearest, bilinear"),
        ({"threshold": 1.2}, "threshold is 1.2"),
        ({"mix_threshold": -0.1}, "mix_threshold is -0.1"),
        ({"clean_epochs": 201}, "clean_epochs 201"),
        ({"alpha": ()}, "alpha"),
        ({"suppression_temperature": 0.0}, "suppression_temperature 0.0"),
        ({"victim_interval": 0}, "victim_interval is 0"),
        ({"weight": 1}, "unknown hyper-parameter of defense 'vab': 'weight'"),
    ],
)
def test_wrong_values_raise_before_any_work(wrong, words):
    with pytest.raises(DefenseLibError, match=words):
        defenses.create("vab", **wrong)
