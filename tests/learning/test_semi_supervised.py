"""MixMatch against what ASD's sheet says, step by step."""

import pytest
import torch

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.learning.batches import endless
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import MixMatch, Trainee, interleave
from defenselib.models import build_model


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
