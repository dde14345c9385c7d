"""D-ST's classifier loss against loops, its frozen extractor, its variants, and what it shares with the baseline."""

import math

import pytest
import torch

from defenselib import attacks, data, defenses
from defenselib.defenses.dst import mixed_cross_entropy
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.models import build_model

from .tiny import TINY


def poisoned():
    return attacks.poison(data.load_dataset("shapes", limit=64), attacks.create("badnets"), rate=0.2)


def context(**more):
    return Context(model_factory=lambda: build_model("resnet10", width=8), **more)


def test_mixed_cross_entropy_equals_the_two_sums():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 4, generator=generator)
    labels = torch.randint(0, 4, (9,), generator=generator)
    poison = torch.tensor([False, True, False, False, True, False, True, False, False])

    def mean_log(members):
        values = []
        for i in members:
            row = logits[i].double().exp()
            values.append(math.log(row[labels[i]] / row.sum()))
        return sum(values) / len(values)

    # Eq. 3: -1/|D_c| sum log p_y + lambda/|D_p| sum log p_y.
    expected = -mean_log([0, 2, 3, 5, 7, 8]) + 0.3 * mean_log([1, 4, 6])
    assert mixed_cross_entropy(logits, labels, poison, 0.3).item() == pytest.approx(expected, rel=1e-5)
    alone = mixed_cross_entropy(logits[~poison], labels[~poison], poison[~poison], 0.3)
    assert alone.item() == pytest.approx(-mean_log([0, 2, 3, 5, 7, 8]), rel=1e-5)
    assert mixed_cross_entropy(logits[poison], labels[poison], poison[poison], 0.3).item() == pytest.approx(
        0.3 * mean_log([1, 4, 6]), rel=1e-5
    )


def test_only_the_head_learns_in_stage_two_and_uncertain_samples_do_not_count():
    train = poisoned().train.channels_last()
    defense = defenses.create("dst", **TINY["dst"])
    tool = context()
    split = defense.distinguish(train, tool.build_model, tool)
    heads = []
    for touched in (False, True):
        tool, labels = context(), train.labels.clone()
        if touched:
            labels[split.uncertain] = 0
        model = tool.build_model()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        defense.classify(model, split, type(train)(train.images, labels), tool)
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {"head.weight", "head.bias"}
        heads.append(model.head.weight)
    assert torch.equal(heads[0], heads[1])


@pytest.mark.slow
def test_extractors_that_use_no_split_are_those_of_the_baselines():
    train = poisoned().train.channels_last()
    shared = {k: v for k, v in TINY["dst"].items() if k in TINY["simclr-baseline"]}
    for extractor, name in (("ctl", "simclr-baseline"), ("s-ctl", "supcon-baseline")):
        states = []
        for defense in (
            defenses.create("dst", **TINY["dst"], extractor=extractor),
            defenses.create(name, **shared),
        ):
            tool = context()
            states.append(defense.fit(train, tool.build_model, tool).model.state_dict())
        features = [key for key in states[0] if not key.startswith("head.")]
        assert all(torch.equal(states[0][key], states[1][key]) for key in features)


@pytest.mark.slow
def test_the_extractor_is_shared_by_all_weights_of_the_classifiers_loss():
    train, store = poisoned().train.channels_last(), {}

    def cache(key, make):
        if key not in store:
            store[key] = make()
        return store[key]

    def fitted(**more):
        tool = context(cache=cache)
        return defenses.create("dst", **TINY["dst"], **more).fit(train, tool.build_model, tool).model

    one, two = fitted(), fitted(poison_weight=1.0)
    assert len(store) == 2 and torch.equal(one.stem[0].weight, two.stem[0].weight)
    assert not torch.equal(one.head.weight, two.head.weight)
    fitted(transforms=("flip", "crop"))
    assert len(store) == 3, "another split needs another extractor, not another scoring model"


@pytest.mark.parametrize(
    "wrong", [{"extractor": "ssctl"}, {"positives": "all"}, {"poison_weight": -0.1}, {"clean_share": 0.0}]
)
def test_errors(wrong):
    with pytest.raises(DefenseLibError, match=next(iter(wrong))):
        defenses.create("dst", **wrong)
