"""D-BR against its own steps written out, its variants, and what its probes report."""

import pytest
import torch
import torch.nn.functional as F

from defenselib import attacks, data, defenses
from defenselib.defenses.base import Fitted
from defenselib.errors import DefenseLibError
from defenselib.experiments.measure import figures
from defenselib.experiments.measure.observer import Observer
from defenselib.learning.context import Context
from defenselib.learning.losses import ascent
from defenselib.models import build_model

from .tiny import TINY

PLAIN = {**TINY["dbr"], "learning_rate": 1e-3, "padding": 0, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 64}


def poisoned():
    return attacks.poison(data.load_dataset("shapes", limit=64), attacks.create("badnets"), rate=0.2)


def context(**more):
    def fresh():
        return build_model("resnet10", width=8)

    # No flip: with whole parts as batches a round is then two steps of gradient descent that can be written out.
    tool = Context(model_factory=fresh, flip=False, **more)
    tool.upstream = Fitted(tool.build_model("backdoored"))
    return tool


def fitted(**more):
    tool = context()
    train = poisoned().train.channels_last()
    return defenses.create("dbr", **{**PLAIN, **more}).fit(train, tool.build_model, tool)


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["both", "unlearn", "relearn"])
def test_a_round_is_one_step_up_on_the_poison_then_one_down_on_the_clean(steps):
    data_set, tool = poisoned(), context()
    train = data_set.train.channels_last()
    found = defenses.create("dbr", **PLAIN, steps=steps).fit(train, tool.build_model, tool)
    again = context()
    split = defenses.create("dbr", **PLAIN).distinguish(train, again.build_model, again)
    model = again.upstream.model
    for _ in range(PLAIN["rounds"]):
        for name, part, sign in (("unlearn", split.poison, -1.0), ("relearn", split.clean, 1.0)):
            if steps in (name, "both"):
                model.train().zero_grad()
                x = train.images[part].float() / 255
                loss = sign * F.cross_entropy(model(x), train.labels[part])
                loss.backward()
                with torch.no_grad():
                    for weight in model.parameters():
                        weight -= PLAIN["learning_rate"] * weight.grad
    for name, value in model.state_dict().items():
        # Batch normalization adds in the order of the batch, so that the last digits differ.
        assert torch.allclose(found.model.state_dict()[name].float(), value.float(), atol=2e-5), name
    moved = (model.head.weight - context().upstream.model.head.weight).abs().max()
    assert moved > 2e-4
    assert torch.equal(found.suspects, split.poison)


def test_ascent_is_the_mean_log_probability():
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    expected = (torch.tensor(0.5).log() + torch.tensor(2.0).exp().div(1 + torch.tensor(2.0).exp()).log()) / 2
    assert ascent(logits, torch.tensor([0, 0])).item() == pytest.approx(expected.item())


def test_empty_parts_and_no_rounds_leave_the_model():
    before = context().upstream.model.state_dict()
    for more in ({"rounds": 0}, {"clean_share": 0.0, "poison_share": 0.0}):
        after = fitted(**more).model.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_upstream_model_is_not_touched():
    tool, train = context(), poisoned().train.channels_last()
    before = {name: value.clone() for name, value in tool.upstream.model.state_dict().items()}
    defenses.create("dbr", **PLAIN).fit(train, tool.build_model, tool)
    assert all(torch.equal(value, before[name]) for name, value in tool.upstream.model.state_dict().items())
    tool.upstream = None
    with pytest.raises(DefenseLibError, match="undefended"):
        defenses.create("dbr", **PLAIN).fit(train, tool.build_model, tool)


@pytest.mark.slow
def test_probes_report_and_change_nothing():
    data_set = poisoned()
    train, states = data_set.train.channels_last(), []
    for name in ("none", "pairs", "features"):
        watch = Observer(data_set, 0)
        found = defenses.create("dbr", **PLAIN, probe=name)
        tool = context(observer=watch)
        result = found.fit(train, tool.build_model, tool)
        arrays = figures.arrays_of(found, train, tool)
        states.append(result.model.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[-1].values(), strict=True))
        pairs = {key.partition("/")[2] for key in watch.metrics if key.startswith("clean_precision/")}
        assert len(pairs) == (36 if name == "pairs" else 0)
        assert {"clean_precision", "poison_precision", "clean_size"} <= set(watch.metrics)
        assert (name == "features") == ("d_intra/tuned" in watch.metrics) == ("features" in arrays)
    assert arrays["features"].shape[:2] == (64, 2) and arrays["features"].dtype == torch.float16
    assert set(watch.arrays()) >= {"scores/fct/3", "scores/fct_before/1", "scores/fitted/1"}
    assert [row["epoch"] for row in watch.history] == [0, 1, 2]
    assert "poison_precision" in watch.history[0] and "unlearn" in watch.history[1]


@pytest.mark.parametrize(
    "wrong", [{"steps": "unlern"}, {"probe": "all"}, {"rounds": -1}, {"learning_rate": 0.0}, {"momentum": 2.0}]
)
def test_errors(wrong):
    with pytest.raises(DefenseLibError, match=next(iter(wrong))):
        defenses.create("dbr", **wrong)
