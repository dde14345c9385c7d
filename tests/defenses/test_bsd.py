"""BSD's splits against hand-computed cases and naive loops, its schedule and stages against the paper's numbers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from defenselib import defenses
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses import bsd_models
from defenselib.defenses import bsd_split as split
from defenselib.defenses.bsd import BSD
from defenselib.defenses.bsd_models import Altruist, Run
from defenselib.errors import DefenseLibError, InvalidValueError
from defenselib.learning.context import Context, Stopped
from defenselib.learning.semi_supervised import MixMatch, Trainee
from defenselib.models import build_model

SMALL = dict(
    warmup_epochs=2, altruistic_batch_size=20, stage1_end=2, pool_epochs=2, stage2_end=6, epochs=8, rampup=8,
    iterations=1, batch_size=4, padding=1,
)  # fmt: skip


class Recorder:
    def __init__(self):
        self.events = []

    def __call__(self, event, **what):
        self.events.append((event, {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in what.items()}))

    def state_dict(self):
        return {}

    def load_state_dict(self, state): ...

    def of(self, event, **where):
        return [w for e, w in self.events if e == event and all(w.get(k) == v for k, v in where.items())]


def images(n=60, classes=3, size=8):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(n) % classes)


def context(recorder=None, **more):
    def factory():
        return build_model("resnet10", num_classes=3, image_size=8, width=8)

    return Context(model_factory=factory, observer=recorder, **more)


def fitted(train=None, recorder=None, where=None, **hyper):
    ctx = where or context(recorder)
    return BSD(**{**SMALL, **hyper}).fit(train or images(), ctx.build_model, ctx)


def test_defaults_are_the_papers():
    bsd = defenses.create("bsd")
    assert (bsd.warmup_epochs, bsd.altruistic_learning_rate) == (25, 0.001)
    assert (bsd.stage1_end, bsd.pool_end, bsd.stage2_end, bsd.epochs) == (20, 30, 90, 120)
    assert (bsd.alpha, bsd.beta, bsd.distance, bsd.initial_pool) == (0.6, 0.2, "min", "intersection")
    assert (bsd.iterations, bsd.learning_rate, bsd.batch_size, bsd.temperature) == (1024, 0.002, 64, 0.5)
    assert (bsd.lambda_u, bsd.rampup, bsd.isolation) == (15, 120, 0.01)


def test_top_share_is_exact_and_ties_go_by_index():
    assert split.top(torch.tensor([3.0, 1, 2, 1, 1]), 0.6).tolist() == [0, 1, 2]
    assert len(split.top(torch.zeros(50_000), 0.2)) == 10_000
    assert split.top(torch.tensor([1.0, 2.0]), 0.0).tolist() == []


def test_pools_combine_as_sets():
    one, other = torch.tensor([0, 2, 3]), torch.tensor([2, 3, 5])
    assert split.intersection(one, other).tolist() == [2, 3]
    assert split.union(one, other).tolist() == [0, 2, 3, 5]
    assert split.complement(one, 6).tolist() == [1, 4, 5]


def test_votes_go_to_the_most_frequent_and_the_lowest_of_equals():
    assert bsd_models.most_frequent(torch.tensor([4, 1, 1, 4, 0])) == 1
    assert bsd_models.majority([3, 5, 5, 3, 3]) == 3
    assert bsd_models.majority([7, 2]) == 2
    with pytest.raises(InvalidValueError, match="vote"):
        bsd_models.majority([])


# Means of labels 0 and 1: (0, 0) and (6, 8). The samples labelled 2 lie at (3, 4), (0, 1), (6, 0) and (18, 24).
FEATURES = torch.tensor([[-1.0, 0], [1, 0], [6, 7], [6, 9], [3, 4], [0, 1], [6, 0], [18, 24]])
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
NEAR, FAR = [5.0, 1.0, 6.0, 20.0], [5.0, math.sqrt(85), 8.0, 30.0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("min", NEAR), ("max", FAR), ("mean", [(a + b) / 2 for a, b in zip(NEAR, FAR, strict=True)])],
)
def test_oss_scores_by_hand(rule, expected):
    scores = split.oss_scores(FEATURES, LABELS, 2, rule)
    assert scores[:4].isnan().all()
    assert scores[4:].tolist() == pytest.approx(expected)


def test_oss_pool_keeps_other_labels_and_the_farthest_share_of_the_target():
    scores = split.oss_scores(FEATURES, LABELS, 2)
    assert split.oss_pool(scores, LABELS, 0.5).tolist() == [0, 1, 2, 3, 6, 7]
    assert split.oss_pool(scores, LABELS, 0.25).tolist() == [0, 1, 2, 3, 7]


@pytest.mark.parametrize("target", [5, 0])
def test_oss_needs_samples_of_the_target_and_of_others(target):
    with pytest.raises(InvalidValueError, match="target"):
        split.oss_scores(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), target)


def test_all_to_all_pool_is_the_intersection_over_pseudo_targets():
    generator = torch.Generator().manual_seed(1)
    features, labels = torch.randn(90, 5, generator=generator), torch.arange(90) % 4
    together, everything = torch.full((90,), float("nan")), set(range(90))
    for target in range(4):
        scores = split.oss_scores(features, labels, target)
        together[labels == target] = scores[labels == target]
        everything &= set(split.oss_pool(scores, labels, 0.3).tolist())
    assert split.oss_pool(together, labels, 0.3).tolist() == sorted(everything)


@pytest.mark.parametrize(
    ("epoch", "ratio"),
    [(30, 0.2), (40, 0.226795), (45, 0.258579), (50, 0.3), (60, 0.4), (75, 0.541421), (89, 0.599726), (100, 0.6)],
)
def test_clean_ratio_is_equation_11(epoch, ratio):
    assert split.clean_ratio(epoch, 30, 90, beta=0.2, alpha=0.6) == pytest.approx(ratio, abs=1e-6)


def test_class_completion_by_hand():
    #                  0    1    2    3    4    5    6    7    8    9
    scores = torch.tensor([9.0, 8.0, 7.0, 6.0, 1.0, 0.5, 5.0, -1.0, 0.1, 0.2])
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    # The top half holds four of label 0, one of label 1 (position 6), none of label 2, the rarest. It is raised to
    # min(0.5 * 2, 1) = 1 sample, position 9.
    assert split.completed(scores, labels, 0.5, labels).tolist() == [0, 1, 2, 3, 6, 9]
    # At 0.7 the selection adds positions 4 and 5: label 1 has three, so label 2 gets min(1.4, 3), rounded to one.
    assert split.completed(scores, labels, 0.7, labels).tolist() == [0, 1, 2, 3, 4, 5, 6, 9]
    # Counted by predictions, the rarest in the top half is label 1 (position 6 and one 0 are taken for label 2):
    # min(0.5 * 4, 2) = 2 of label 1, positions 6 and 4.
    predictions = torch.tensor([0, 0, 0, 2, 1, 1, 2, 1, 2, 2])
    assert split.completed(scores, labels, 0.5, predictions).tolist() == [0, 1, 2, 3, 4, 6]


def test_class_completion_against_a_naive_reading_of_equation_8():
    generator = np.random.default_rng(0)
    for _ in range(50):
        n, classes, ratio = 60, 4, generator.uniform(0.1, 0.9)
        labels = np.concatenate([np.arange(classes), generator.choice(classes, n - classes, p=[0.5, 0.2, 0.2, 0.1])])
        scores = generator.permutation(n) + 2.0 * labels.clip(0, 1) * n * generator.integers(0, 2)
        scores = scores + generator.permutation(n) / n  # no ties
        best = np.argsort(-scores)
        base = set(best[: round(ratio * n)].tolist())
        counts = [sum(labels[i] == c for i in base) for c in range(classes)]
        rarest = counts.index(min(counts))
        second = sorted(counts)[1]
        members = [i for i in best if labels[i] == rarest]
        added = members[: round(min(ratio * len(members), second))]
        found = split.completed(torch.from_numpy(scores), torch.from_numpy(labels), ratio, torch.from_numpy(labels))
        assert set(found.tolist()) == base | set(map(int, added)) and found.tolist() == sorted(found.tolist())


def test_dropping_takes_what_both_models_predict_as_the_target():
    pool = torch.tensor([0, 1, 2, 4])
    main, altruistic = torch.tensor([3, 3, 1, 3, 0]), torch.tensor([3, 1, 3, 3, 0])
    assert split.dropped(pool, main, altruistic, 3).tolist() == [1, 2, 4]
    assert split.dropped(torch.tensor([0, 3]), main, altruistic, 3).tolist() == [0, 3]


def test_isolation_takes_the_least_losses_and_one_at_least():
    loss = torch.tensor([0.5, 0.1, 0.1, 0.9])
    assert bsd_models.isolated(loss, 0.5).tolist() == [1, 2]
    assert bsd_models.isolated(loss, 0.01).tolist() == [1]


class Scripted(nn.Module):
    """Gives image i the logits of row i; the first pixel of an image holds its number."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def forward(self, x):
        return self.rows[(x[:, 0, 0, 0] * 255).round().long()]


def numbered(labels):
    pixels = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    return ImageSet(pixels.contiguous(), torch.tensor(labels))


def test_target_is_the_most_frequent_second_choice():
    rows = torch.tensor([[5.0, 4, 1], [1, 4, 5], [5, 1, 4], [9, 8, 7], [6, 7, 8]])
    altruist = Altruist(Trainee(Scripted(rows), None, numbered([0, 2, 0, 0, 2]), context(), Augment(1)), 4)
    # Seconds: 1, 1, 2, 1, 1. The most likely are 0, 2, 0, 0, 2.
    assert altruist._second_choice() == 1


def test_losses_and_predictions_by_hand():
    rows = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]))
    run = Run(numbered([0, 0]), context(), Augment(1), MixMatch(), None)
    loss, predicted = BSD(sce_alpha=0.1, sce_beta=1.0).judge(run, Scripted(rows))
    # 0.1 * -log p_y + 1.0 * -log(1e-4) * (1 - p_y), and log(1e4) = 9.2103.
    assert loss.tolist() == pytest.approx([0.1 * math.log(2) + 9.21034 * 0.5, 0.1 * math.log(10) + 9.21034 * 0.9])
    assert predicted.tolist() == [0, 2]
    # ALS keeps the larger loss (Eq. 7).
    assert split.top(loss, 0.5).tolist() == [1]


def test_pools_follow_the_stages():
    recorder, train = Recorder(), images()
    result = fitted(train, recorder, pseudo_target=1)
    pools = [what["clean"] for what in recorder.of("split")]
    assert len(pools) == 8
    for pool in pools[:2]:
        assert pool.tolist() == (train.labels != 1).nonzero().squeeze(1).tolist()
    scores = {what["name"]: what["values"] for what in recorder.of("scores", epoch=2)}
    by_meaning = set(split.oss_pool(scores["distance_min"], train.labels, 0.2).tolist())
    by_loss = set(split.top(scores["altruistic_loss"], 0.6).tolist())
    assert pools[2].tolist() == pools[3].tolist() == sorted(by_meaning & by_loss)
    first = {what["name"]: what["values"] for what in recorder.of("scores", epoch=4)}
    indicator = first["altruistic_loss"] - first["loss"]
    assert pools[4].tolist() == split.completed(indicator, train.labels, 0.2, train.labels).tolist()
    assert set(split.top(indicator, 0.2).tolist()) <= set(pools[4].tolist())
    assert sorted([*pools[-1].tolist(), *result.suspects.tolist()]) == list(range(60))
    assert [what["guess"] for what in recorder.of("target")] == [1, 1]
    assert [(w["stage"], w["epoch"]) for w in recorder.of("epoch")] == [
        ("warmup", 0), ("warmup", 1), *(("bsd", epoch) for epoch in range(8))
    ]  # fmt: skip
    names = {(w["name"], w["epoch"]) for w in recorder.of("scores")}
    assert {("altruistic_loss", 0), ("distance_max", 2), ("loss", 6), ("loss", 8), ("altruistic_loss", 8)} <= names


def test_altruistic_model_learns_until_stage_2_ends_and_then_stands_still():
    learnt = []

    class Spy(BSD):
        def train_altruist(self, run, epoch):
            before = run.altruist.model.head.weight.clone()
            super().train_altruist(run, epoch)
            learnt.append((epoch, not torch.equal(before, run.altruist.model.head.weight)))

    ctx = context()
    Spy(**SMALL).fit(images(), ctx.build_model, ctx)
    assert learnt == [(epoch, True) for epoch in range(6)]


@pytest.mark.slow
def test_ablations_reach_their_settings():
    def pools(**hyper):
        recorder = Recorder()
        fitted(recorder=recorder, pseudo_target=1, **hyper)
        return [what["clean"].tolist() for what in recorder.of("split")], recorder

    early, recorder = pools(initial_pool="random")
    assert len(early[0]) == 12 and early[0] == early[3] and not recorder.of("scores", name="distance_min")
    late, _ = pools(initial_pool="random-late")
    assert len(late[1]) == 40 and len(late[2]) == 12 and late[2] == late[3]
    plain, recorder = pools(completion=False, dropping=False)
    assert [len(pool) for pool in plain[4:]] == [12, 24, 36, 36]
    printed, _ = pools(initial_pool="union")
    default, _ = pools()
    assert set(default[2]) < set(printed[2])


def test_all_to_all_warms_one_model_a_class_and_stops_at_stage_2():
    recorder = Recorder()
    fitted(recorder=recorder, all_to_all=True)
    stages = [(w["stage"], w["epoch"]) for w in recorder.of("epoch") if w["stage"] != "warmup"]
    assert stages == [(f"oss/{c}", e) for c in range(3) for e in range(2)] + [("bsd", e) for e in range(2, 6)]
    (scores,) = (what["values"] for what in recorder.of("scores", name="distance_min"))
    assert scores.isfinite().all()


def test_isolation_reports_what_it_set_aside():
    recorder, train = Recorder(), images()
    fitted(train, recorder, target_vote="isolation", isolation=0.1)
    clean = recorder.of("split", stage="warmup")[-1]["clean"]
    isolated = split.complement(clean, 60)
    assert len(isolated) == 6
    assert recorder.of("target")[-1]["guess"] == bsd_models.most_frequent(train.labels[isolated])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "hyper"),
    [("warmup:1", {}), ("bsd:7", {}), ("bsd:3", {"all_to_all": True}), ("bsd:1", {"altruistic_update": "mixmatch"})],
)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tmp_path, stop, hyper):
    straight = fitted(**hyper).model.state_dict()
    with pytest.raises(Stopped):
        fitted(where=context(checkpoints=tmp_path, stop_after=stop), **hyper)
    resumed = fitted(where=context(checkpoints=tmp_path), **hyper).model.state_dict()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_the_warm_up_of_the_main_model_does_not_depend_on_the_altruistic_one():
    states = []
    for rate in (0.001, 0.01):
        with pytest.raises(Stopped) as stopped:
            fitted(where=context(stop_after="bsd:2"), pseudo_target=1, altruistic_learning_rate=rate)
        states.append(stopped.value.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    "hyper",
    [{"stage1_end": 100}, {"pool_epochs": 0}, {"beta": 0.7}, {"alpha": 1.0}, {"distance": "median"}, {"isolation": 2.0},
     {"pseudo_target": -2}, {"iterations": 0}, {"gama": 0.5}, {"padding": -1}],
)  # fmt: skip
def test_bad_hyper_parameters_are_errors_before_any_work(hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        defenses.create("bsd", **hyper)


def test_a_pseudo_target_beyond_the_classes_is_an_error():
    with pytest.raises(InvalidValueError, match="pseudo_target"):
        fitted(pseudo_target=3)
