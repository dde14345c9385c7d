"""ReMixMatch's parts against hand-computed cases, and its state."""

import math

import pytest
import torch

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.learning.remixmatch import ReMixMatch, align, rotate
from defenselib.learning.semi_supervised import Trainee
from defenselib.models import build_model

SMALL = {"iterations": 2, "batch_size": 4, "views": 2, "memory": 4, "rampup": 2.0}


def context(**more):
    return Context(model_factory=lambda: build_model("resnet10", 3, 8, width=8), **more)


def learner_for(ctx, **hyper):
    return ReMixMatch(64, 3, ctx, **{**SMALL, **hyper})


def test_alignment_multiplies_by_the_ratio_of_the_distributions():
    predictions = torch.tensor([[0.5, 0.5], [0.8, 0.2]])
    out = align(predictions, torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(out, torch.tensor([[0.25, 0.75], [0.4 / 0.7, 0.3 / 0.7]]), atol=1e-5, rtol=0)
    # Predictions that follow the wanted distribution stay; a class never seen divides by nothing.
    same = torch.tensor([0.3, 0.7])
    torch.testing.assert_close(align(predictions, same, same), predictions)
    assert align(predictions, same, torch.tensor([0.0, 1.0])).isfinite().all()


class Fixed(torch.nn.Module):
    """Predicts the same for every image."""

    def __init__(self, p):
        super().__init__()
        self.p = torch.tensor(p)

    def forward(self, x):
        return self.p.log().expand(len(x), -1)


def test_guess_aligns_with_what_was_seen_before_then_sharpens_and_remembers():
    learner = learner_for(context())
    labels = torch.eye(3)[[0, 0, 1, 2]]
    model, weak = Fixed([0.6, 0.3, 0.1]), torch.rand(5, 3, 8, 8)
    first = learner.guess(model, weak, labels, context())
    squared = torch.tensor([0.36, 0.09, 0.01])  # both memories are uniform at first; T = 0.5
    torch.testing.assert_close(first, (squared / squared.sum()).expand(5, -1))
    torch.testing.assert_close(learner.labelled_share[-1], torch.tensor([0.5, 0.25, 0.25]))
    torch.testing.assert_close(learner.guessed_share[-1], torch.tensor([0.6, 0.3, 0.1]))
    second = learner.guess(model, weak, labels, context())
    wanted = (3 * torch.full((3,), 1 / 3) + torch.tensor([0.5, 0.25, 0.25])) / 4
    seen = (3 * torch.full((3,), 1 / 3) + torch.tensor([0.6, 0.3, 0.1])) / 4
    aligned = torch.tensor([0.6, 0.3, 0.1]) * wanted / seen
    expected = (aligned / aligned.sum()) ** 2
    torch.testing.assert_close(second, (expected / expected.sum()).expand(5, -1), atol=1e-5, rtol=1e-4)


def test_rotation_turns_each_image_by_its_quarters():
    images, turns = torch.rand(6, 3, 4, 4), torch.tensor([0, 1, 2, 3, 1, 0])
    out = rotate(images, turns)
    for i in range(6):
        assert torch.equal(out[i], torch.rot90(images[i], int(turns[i]), (1, 2)))
    assert torch.equal(rotate(out, -turns % 4), images)
    assert out[1, 0, 0, 0] == images[1, 0, 0, 3]  # counter-clockwise: the right upper corner comes to the left


def test_mix_is_a_convex_combination_with_a_partner_that_weighs_less():
    learner = learner_for(context())
    inputs, targets = torch.rand(9, 3, 2, 2), torch.rand(9, 3)
    mixed, mixed_targets = learner.mix(inputs, targets, torch.Generator().manual_seed(2))
    draws = torch.Generator().manual_seed(2)
    a, b = torch._standard_gamma(torch.full((2, 9), 0.75), generator=draws)
    partner = torch.randperm(9, generator=draws)
    for i in range(9):
        share = max(float(a[i] / (a[i] + b[i])), float(b[i] / (a[i] + b[i])))
        torch.testing.assert_close(mixed[i], share * inputs[i] + (1 - share) * inputs[partner[i]])
        torch.testing.assert_close(mixed_targets[i], share * targets[i] + (1 - share) * targets[partner[i]])


class Linear(torch.nn.Module):
    """Features are the pixels' means by channel."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 3)

    def features(self, x):
        return x.mean((2, 3))


def test_losses_are_those_of_mixed_unmixed_and_rotated_images():
    ctx = context()
    learner, model = ReMixMatch(3, 3, ctx, **SMALL), Linear()
    learner.mix = lambda inputs, targets, draws: (inputs.flip(0), targets.flip(0))
    x, views = torch.rand(2, 3, 4, 4), [torch.rand(2, 3, 4, 4) for _ in range(3)]
    targets_x, targets_u = torch.eye(3)[:2], torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    losses = learner.losses(model, x, targets_x, views, targets_u, ctx)
    inputs = torch.cat([x, *views]).flip(0)
    targets = torch.cat([targets_x, targets_u, targets_u, targets_u]).flip(0)

    def entropy(images, wanted):
        p = model.head(model.features(images)).softmax(1)
        return -sum((t * q.log()).sum() for t, q in zip(wanted, p, strict=True)) / len(images)

    torch.testing.assert_close(losses[0], entropy(inputs[:2], targets[:2]))
    torch.testing.assert_close(losses[1], entropy(inputs[2:], targets[2:]))
    torch.testing.assert_close(losses[2], entropy(views[0], targets_u))
    turns = torch.randint(4, (2,), generator=context().generator("remixmatch/mixup"))
    p = learner.rotation(model.features(views[0])).softmax(1)  # means do not see the rotation
    torch.testing.assert_close(losses[3], -(p[0, turns[0]].log() + p[1, turns[1]].log()) / 2)


def test_unlabelled_losses_rise_linearly():
    learner = ReMixMatch(4, 3, context())
    assert [learner.weight(epoch) for epoch in (0, 4, 16, 50)] == [0, 0.25, 1, 1]


def run(epochs=(0, 1), labels=None, state=None, seed=0, **hyper):
    """Train; state: what an earlier run gave back, to go on from."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=generator)
    train = ImageSet(images, torch.arange(40) % 3 if labels is None else labels)
    ctx = context(seed=seed)
    model, learner = ctx.build_model(), learner_for(ctx, **hyper)
    optimizer = torch.optim.Adam([*model.parameters(), *learner.parameters()], 0.01)
    parts = {"model": model, "learner": learner, "optimizer": optimizer}
    if state is not None:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        for name, stream in state["streams"].items():
            ctx.generator(name).set_state(stream)
    sets = torch.arange(20), torch.arange(20, 40)
    for epoch in epochs:
        losses = learner.train_epoch(Trainee(model, optimizer, train, ctx, Augment(1)), *sets, epoch)
        assert len(losses) == 4 and all(map(math.isfinite, losses.values()))
    streams = {name: ctx.generator(name).get_state() for name in ctx._generators}
    return {name: part.state_dict() for name, part in parts.items()} | {"streams": streams}


def same(one, two):
    pairs = [(one[part][name], two[part][name]) for part in ("model", "learner") for name in one[part]]
    return all(torch.equal(a, b) for a, b in pairs)


def test_state_survives_saving_and_the_seed_decides():
    through = run()
    assert same(through, run(epochs=(1,), state=run(epochs=(0,))))
    assert not same(through, run(seed=1))
    fresh = learner_for(context()).state_dict()
    for name in ("labelled_share", "guessed_share", "strong.weights", "rotation.weight"):
        assert not torch.equal(through["learner"][name], fresh[name]), name


@pytest.mark.slow
def test_labels_of_unlabelled_samples_are_never_read_and_every_setting_counts():
    labels = torch.arange(40) % 3
    assert same(run(labels=labels), run(labels=torch.cat([labels[:20], (labels[20:] + 1) % 3])))
    for hyper in (
        {"temperature": 0.9}, {"mixup_alpha": 0.2}, {"lambda_u": 9.0}, {"lambda_pre": 9.0}, {"lambda_rotation": 9.0},
        {"rampup": 9.0}, {"iterations": 3}, {"batch_size": 5}, {"views": 3}, {"memory": 9},
    ):  # fmt: skip
        assert not same(run(), run(**hyper)), hyper


@pytest.mark.parametrize("hyper", [{"views": 0}, {"memory": 0}, {"temperature": 0.0}, {"mixup_alpha": -1.0}])
def test_bad_settings_are_named(hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        learner_for(context(), **hyper)
