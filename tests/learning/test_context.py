"""Streams, resume, stopping."""

import pytest
import torch

from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context, Stopped


def make(path=None, **more):
    return Context(model_factory=lambda: torch.nn.Linear(4, 2), checkpoints=path, checkpoint_every=0, **more)


def train(context, epochs=6, die_after=None):
    """Two stages that use weights, an optimizer, a stream, a list and a tensor."""
    model = context.build_model()
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    votes, total = [], torch.zeros(1)
    for stage in ("warmup", "main"):
        state = {"model": model, "optimizer": optimizer, "votes": votes, "total": total}
        for epoch in context.epochs(stage, epochs, **state):
            if die_after == (stage, epoch):
                raise KeyboardInterrupt
            x = torch.randn(8, 4, generator=context.generator("data"))
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            votes.append(epoch)
            total += x.sum()
    return [*(p.detach().clone() for p in model.parameters()), total.clone(), torch.tensor(votes)]


@pytest.mark.parametrize("death", [("warmup", 0), ("warmup", 3), ("main", 0), ("main", 5)])
def test_a_killed_run_ends_with_the_same_numbers(tmp_path, death):
    expected = train(make())
    with pytest.raises(KeyboardInterrupt):
        train(make(tmp_path), die_after=death)
    resumed = train(make(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(expected, resumed, strict=True))


def test_streams_and_roles_are_independent_and_repeatable():
    one, two = make(seed=3), make(seed=3)
    one.generator("noise")  # an additional consumer
    assert torch.equal(torch.rand(5, generator=one.generator("order")), torch.rand(5, generator=two.generator("order")))
    assert not torch.equal(one.build_model().weight, one.build_model("altruistic").weight)
    torch.manual_seed(99)
    assert torch.equal(one.build_model().weight, two.build_model().weight)


def test_building_a_model_leaves_the_global_stream_alone():
    state = torch.get_rng_state()
    make().build_model()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("stop", "votes"), [("warmup:2", 2), ("warmup", 6), ("main:1", 7)])
def test_stop_after_a_stage_or_an_epoch(stop, votes):
    context = make(stop_after=stop)
    seen = []
    with pytest.raises(Stopped) as stopped:
        for stage in ("warmup", "main"):
            for epoch in context.epochs(stage, 6, model=torch.nn.Linear(1, 1)):
                seen.append(epoch)
    assert len(seen) == votes and stopped.value.model is not None


@pytest.mark.parametrize(("argument", "value"), [("stop_after", "main:x"), ("precision", "fp61")])
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(DefenseLibError, match=value):
        make(**{argument: value})


def test_a_checkpoint_of_other_code_is_set_aside(tmp_path):
    train(make(tmp_path), epochs=1)
    with pytest.warns(UserWarning, match=r"cannot be used .*saves something.*starts anew"):
        assert list(make(tmp_path).epochs("main", 2, something=[])) == [0, 1]
