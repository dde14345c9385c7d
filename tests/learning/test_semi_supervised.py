"""MixMatch against what ASD's sheet says, step by step; copies of a network for the passes of a step: autograd's and
autocast's numbers, in fewer operations."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor

from defenselib.cpu import devices, small_maps
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.learning.batches import endless
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import MixMatch, Passes, Trainee, interleave
from defenselib.models import Classifier, build_model

from ..operators import Operators


def test_ramp_of_the_unlabelled_weight():
    learner = MixMatch()
    assert [learner.weight(e) for e in (0, 60, 90, 120, 500)] == [0, 7.5, 11.25, 15, 15]


def test_interleave_of_three_blocks_of_64_swaps_groups_21_21_22():
    blocks = [torch.arange(64), 100 + torch.arange(64), 200 + torch.arange(64)]
    a, b, c = interleave(blocks)
    assert a.tolist() == [*range(21), *range(121, 142), *range(242, 264)]
    assert b.tolist() == [*range(100, 121), *range(21, 42), *range(142, 164)]
    assert c.tolist() == [*range(200, 242), *range(42, 64)]
    assert all(torch.equal(x, y) for x, y in zip(interleave([a, b, c]), blocks, strict=True))


def test_mix_is_one_convex_combination_with_a_permutation():
    inputs, targets = torch.rand(12, 3, 2, 2), torch.rand(12, 4)
    mixed, mixed_targets = MixMatch.mix(inputs, targets, 0.8, torch.Generator().manual_seed(3))
    partner = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    for i in range(12):
        torch.testing.assert_close(mixed[i], 0.8 * inputs[i] + 0.2 * inputs[partner[i]])
        torch.testing.assert_close(mixed_targets[i], 0.8 * targets[i] + 0.2 * targets[partner[i]])


def test_mixing_coefficients_favour_the_first_and_follow_beta():
    drawn = MixMatch(iterations=4000)._draw_mixing(torch.Generator().manual_seed(0))
    assert drawn.min() >= 0.5 and drawn.max() <= 1
    reference = torch.distributions.Beta(0.75, 0.75).sample((40000,))
    expected = torch.maximum(reference, 1 - reference).mean()
    assert abs(drawn.mean() - expected) < 0.01


class Table(torch.nn.Module):
    """Logits looked up by the first pixel: predictions can be computed by hand."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.nn.Parameter(torch.tensor(rows))

    def forward(self, x):
        return self.rows[(x[:, 0, 0, 0] * 255).round().long()]


def context():
    return Context(model_factory=lambda: torch.nn.Identity())


def test_guess_averages_the_softmaxes_then_sharpens():
    model = Table([[0.0, 0.0], [100.0, 0.0]])
    zero, one = torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 1 / 255)
    guess = MixMatch().guess([model, model], [zero, one], context())
    # softmaxes (0.5, 0.5) and (1, 0): mean (0.75, 0.25), squared and normalised
    torch.testing.assert_close(guess, torch.tensor([[0.9, 0.1]]))


def test_losses_are_means_over_samples_and_classes():
    model = Table([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.0], [0.0, 3.0]])
    inputs = torch.arange(6).view(6, 1, 1, 1).expand(6, 3, 1, 1) / 255
    targets = torch.tensor([[1.0, 0], [0.25, 0.75], [1, 0], [0, 1], [0.5, 0.5], [0, 1]])
    loss_x, loss_u = MixMatch(batch_size=2).losses([model] * (len(inputs) // 2), inputs, targets, context())
    log_p = model.rows.log_softmax(1)
    expected_x = -(targets[:2] * log_p[:2]).sum() / 2
    expected_u = ((log_p[2:].exp() - targets[2:]) ** 2).sum() / 8
    torch.testing.assert_close(loss_x, expected_x)
    torch.testing.assert_close(loss_u, expected_u)


def test_labels_of_unlabelled_samples_are_never_read():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 3, (40,), generator=generator)
    changed = labels.clone()
    changed[20:] = (changed[20:] + 1) % 3
    learner = MixMatch(iterations=2, batch_size=8)
    weights = []
    for given in (labels, changed):
        ctx = Context(model_factory=lambda: build_model("resnet10", 3, 8, width=8))
        model = ctx.build_model()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        trainee = Trainee(model, optimizer, ImageSet(images, given), ctx, Augment(2))
        learner.train_epoch(trainee, torch.arange(20), torch.arange(20, 40), 1)
        weights.append(model.head.weight.detach().clone())
    assert torch.equal(*weights)


@pytest.mark.parametrize(("n", "batch", "batches"), [(10, 4, 7), (3, 8, 2), (8, 8, 3), (100, 7, 50)])
def test_endless_passes_over_the_pool(n, batch, batches):
    pool = torch.arange(n) + 1000
    drawn = endless(pool, batch, batches, torch.Generator().manual_seed(0))
    assert drawn.shape == (batches, batch)
    kept = n - n % batch if n >= batch else n
    for chunk in drawn.flatten().split(kept):
        assert len(set(chunk.tolist())) == len(chunk)  # no sample twice within a pass
    assert set(drawn.flatten().tolist()) <= set(pool.tolist())


def test_merged_passes_give_what_separate_ones_give_where_no_statistics_are_taken():
    torch.manual_seed(0)
    model, mixed, targets = build_model("resnet10", width=8).eval(), torch.rand(12, 3, 32, 32), torch.rand(12, 10)
    apart, merged = MixMatch(batch_size=4), MixMatch(batch_size=4, merged=True)
    models = [model] * 3
    guesses = [learner.guess(models, mixed.split(4), context()) for learner in (apart, merged)]
    torch.testing.assert_close(*guesses)
    losses = [learner.losses(models, mixed, targets, context()) for learner in (apart, merged)]
    torch.testing.assert_close(*losses)


def test_merged_passes_are_two_with_the_statistics_of_larger_batches_and_off_by_default():
    assert MixMatch().merged is False
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    train = ImageSet(images, torch.arange(40) % 10)
    sizes = {}
    for merged in (False, True):
        model = build_model("resnet10", width=8)
        seen: list[int] = []
        model.stem.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(len(inputs[0])))
        trainee = Trainee(model, torch.optim.SGD(model.parameters(), 0.01), train, context(), Augment())
        learner = MixMatch(iterations=1, batch_size=8, merged=merged)
        found = learner.train_epoch(trainee, torch.arange(20), torch.arange(20, 40), 1)
        assert found["loss_x"] > 0
        sizes[merged] = seen
        assert int(model.stem[1].num_batches_tracked) == len(seen)
    assert sizes == {False: [8, 8, 8, 8, 8], True: [16, 24]}


def network(precision: str) -> tuple[Classifier, Context]:
    context = Context(model_factory=partial(build_model, "resnet10", 4, 16, 8), precision=precision)
    return context.build_model().train(), context


def blocks(count: int) -> list[Tensor]:
    draws = torch.Generator().manual_seed(3)
    return [torch.rand(6, 3, 16, 16, generator=draws) for _ in range(count)]


def by_autograd(model: Classifier, context: Context, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        with context.autocast():
            outputs = [model(block).float() for block in blocks(3)]
        torch.cat(outputs).log_softmax(1).square().mean().backward()
        optimizer.step()


def by_passes(model: Classifier, context: Context, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    passes = Passes(model, 3, context)
    for _ in range(steps):
        passes.convert()
        with context.autocast():
            outputs = [one(block).float() for one, block in zip(passes.models, blocks(3), strict=True)]
        torch.cat(outputs).log_softmax(1).square().mean().backward()
        passes.hand_over()
        optimizer.step()


@pytest.mark.parametrize("kind", ["fp32", "bf16", "bf16 as fp32"])
def test_weights_gradients_and_statistics_are_the_same_to_the_last_bit(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "bf16 as fp32":
        monkeypatch.setattr(devices, "hardware_has_bf16", lambda: False)
    one, context = network("fp32" if kind == "fp32" else "bf16")
    other = copy.deepcopy(one)
    by_autograd(one, context, 3)
    by_passes(other, context, 3)
    state = other.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
    assert int(state["stem.1.num_batches_tracked"]) == 9
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None and theirs.grad.dtype == torch.float32
        assert torch.equal(mine.grad, theirs.grad), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_asks_for_less(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_maps, "hardware_has_bf16", lambda: True)  # torch's convolutions, on any processor
    seen = []
    for work in (by_autograd, by_passes):
        model, context = network(precision)
        with Operators() as operators:
            work(model, context, 2)
        seen.append(operators.launched.total())
    assert seen[1] < 0.85 * seen[0]


def test_copies_share_memory_and_parameters_without_gradient_stay_out() -> None:
    model, context = network("fp32")
    model.stem.requires_grad_(False)
    passes = Passes(model, 2, context)
    for one in passes.models:
        for mine, theirs in zip(model.state_dict().values(), one.state_dict().values(), strict=True):
            assert mine.data_ptr() == theirs.data_ptr()
    passes.models[0](blocks(1)[0]).sum().backward()
    passes.models[1](blocks(1)[0]).sum().backward()
    passes.hand_over()
    assert all((item.grad is None) == name.startswith("stem.") for name, item in model.named_parameters())
    assert all(item.grad is None for one in passes.models for item in one.parameters())
