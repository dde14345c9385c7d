"""CBD's weights, critic and epochs against hand-computed numbers and loops."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from defenselib import defenses
from defenselib.data.augment.crop_flip import CutoutAugment
from defenselib.data.types import ImageSet
from defenselib.defenses.cbd import CBD, Critic, sample_weights, spectral_norm
from defenselib.defenses.scores import nesterov
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import Schedule
from defenselib.models import build_model

SMALL = dict(backdoor_epochs=1, epochs=2, batch_size=16, milestones=(1,))


def images(n=48):
    pixels = torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, torch.arange(n) % 3)


def context(**more):
    return Context(model_factory=lambda: build_model("resnet10", num_classes=3, image_size=16, width=8), **more)


def test_defaults_are_those_of_the_authors():
    cbd = defenses.create("cbd")
    assert (cbd.backdoor_epochs, cbd.epochs, cbd.batch_size, cbd.milestones) == (5, 100, 64, (20, 70))
    assert (cbd.learning_rate, cbd.backdoor_learning_rate, cbd.weight_decay) == (0.1, 0.1, 1e-4)
    assert (cbd.disentangle, cbd.disentangle_weight) == (False, 0.01)
    assert (cbd.critic_learning_rate, cbd.critic_dropout) == (0.2, 0.2)


def test_weights_by_hand():
    # 1/4, 3/4, 1/2, 0 sum to 3/2; times 4 / (3/2).
    found = sample_weights(torch.tensor([1.0, 3.0, 2.0, 0.0]), torch.tensor([3.0, 1.0, 2.0, 5.0]))
    torch.testing.assert_close(found, torch.tensor([2 / 3, 2, 4 / 3, 0]))
    one, other = torch.rand(2, 100, generator=torch.Generator().manual_seed(0))
    assert sample_weights(one, other).mean().item() == pytest.approx(1)
    torch.testing.assert_close(sample_weights(5 * one, 5 * other), sample_weights(one, other))
    assert torch.equal(sample_weights(torch.zeros(1), torch.zeros(1)), torch.zeros(1))


def test_an_epoch_is_weighted_descent_on_the_clean_model_alone():
    tool, train = context(), images(16)
    cbd = CBD(**SMALL | {"padding": 0, "cutout": 0, "momentum": 0.5, "weight_decay": 0.0, "learning_rate": 0.01})
    tool.flip = False
    model, twin, backdoored = tool.build_model(), tool.build_model(), tool.build_model("backdoored").eval()
    known = copy.deepcopy(backdoored.state_dict())
    optimizer = nesterov(model, 0.01, 0.5, 0.0)
    schedule = Schedule().attach(optimizer, 1, 1)
    trainee = Trainee(model, optimizer, train, tool, CutoutAugment(0, flip=False, length=0))
    numbers = cbd.clean_epoch(trainee, schedule, backdoored, None)
    losses = F.cross_entropy(twin.train()(train.images / 255), train.labels, reduction="none")
    with torch.no_grad():
        hints = F.cross_entropy(backdoored(train.images / 255), train.labels, reduction="none").numpy()
    plain = losses.detach().numpy()
    weights = hints / (hints + plain + 1e-8)
    weights = weights / weights.mean()
    loss = (torch.tensor(weights) * losses).mean()
    assert numbers == pytest.approx({"loss": loss.item(), "plain_loss": plain.mean()}, rel=1e-4)
    for new, old, slope in zip(
        model.parameters(), twin.parameters(), torch.autograd.grad(loss, list(twin.parameters())), strict=True
    ):
        torch.testing.assert_close(new, old - 1.5 * 0.01 * slope, rtol=1e-3, atol=1e-5)
    assert all(torch.equal(value, known[name]) for name, value in backdoored.state_dict().items())


def test_the_critic_is_two_layers_and_its_gap_pairs_neighbours():
    critic = Critic(3, 0.0)
    r, z = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    weights = {name: value.detach().numpy() for name, value in critic.named_parameters()}

    def score(x, y):
        hidden = weights["first.weight"] @ np.concatenate([x, y]) + weights["first.bias"]
        hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        return (weights["second.weight"] @ hidden + weights["second.bias"])[0]

    x, y = r.numpy(), z.numpy()
    wanted = np.mean([score(x[i], y[i]) for i in range(5)]) - np.mean([score(x[i], y[(i + 1) % 5]) for i in range(5)])
    found = critic.gap(r, z, torch.Generator())
    assert found.item() == pytest.approx(wanted, abs=1e-6)
    same = z[:1].expand(5, 3)
    assert critic.gap(r, same, torch.Generator()).item() == pytest.approx(0, abs=1e-6)  # z tells nothing about r


def test_dropout_draws_from_its_own_stream_and_keeps_the_mean():
    critic = Critic(8, 0.2)
    x = torch.ones(200, 50)
    state = torch.get_rng_state()
    out = critic._drop(x, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert set(out.unique().tolist()) == {0.0, 1.25} and out.mean().item() == pytest.approx(1, abs=0.02)


def test_spectral_norm_is_the_largest_singular_value_and_normalising_makes_it_one():
    random = np.random.default_rng(0)
    matrix = np.outer(random.random(6), random.random(9)) * 5 + 0.1 * random.normal(size=(6, 9))
    assert spectral_norm(torch.tensor(matrix)).item() == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-4)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # how far the iteration gets depends on the matrix
        critic = Critic(16, 0.2)
    for _ in range(3):  # five steps of power iteration are a lower bound
        critic.normalise()
    for layer in (critic.first, critic.second):
        assert np.linalg.norm(layer.weight.detach().numpy(), 2) == pytest.approx(1, abs=0.1)


def test_the_critic_learns_to_raise_the_gap():
    tool, train = context(), images()
    cbd = CBD(**SMALL | {"disentangle": True, "critic_dropout": 0.0})
    model, backdoored = tool.build_model(), tool.build_model().eval()  # equal networks: features depend entirely
    with torch.random.fork_rng():
        torch.manual_seed(0)  # its weights come from torch's global stream, which other tests move
        critic = Critic(model.head.in_features, 0.0)
    raising = torch.optim.Adam(critic.parameters(), 0.01)
    trainee = Trainee(model, None, train, tool, CutoutAugment(flip=False))
    gaps = [cbd.critic_epoch(critic, raising, trainee, backdoored) for _ in range(15)]
    assert np.mean(gaps[-3:]) > np.mean(gaps[:3])


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    settings = SMALL | {"disentangle": True, "critic_milestones": (1,)}
    whole = context()
    wanted = CBD(**settings).fit(images(), whole.build_model, whole).model.state_dict()
    cut = context(checkpoints=tmp_path, stop_after="train:1")
    with pytest.raises(Exception, match="stopped"):
        CBD(**settings).fit(images(), cut.build_model, cut)
    rest = context(checkpoints=tmp_path)
    found = CBD(**settings).fit(images(), rest.build_model, rest).model.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in found.items())


@pytest.mark.parametrize(
    "hyper",
    [{"backdoor_epochs": 0}, {"critic_dropout": 1.0}, {"disentangle_weight": -1.0}, {"critic_learning_rate": 0.0}],
)
def test_bad_hyper_parameters_are_errors_before_any_work(hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        defenses.create("cbd", **hyper)
