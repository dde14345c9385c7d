"""The repairs of trained models against NumPy, naive loops and hand-computed cases."""

import copy
import functools
import math

import numpy as np
import pytest
import torch

from defenselib import defenses
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses import fp, mcr, nad
from defenselib.defenses.anp import ANP, Neurons
from defenselib.defenses.base import Fitted
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.learning.fine_tuning import FineTuning, hold_out
from defenselib.learning.semi_supervised import Trainee
from defenselib.models import build_model

REMOVALS = ("ft", "fp", "nad", "anp", "mcr")
# Fewest steps in which everything still happens.
SHORT = {
    "ft": {"epochs": 2, "batch_size": 10},
    "fp": {"epochs": 2, "batch_size": 10},
    "nad": {"epochs": 2, "teacher_epochs": 1, "batch_size": 10},
    "anp": {"iterations": 2, "batch_size": 10, "learning_rate": 0.2, "stop": "threshold", "threshold": 0.99},
    "mcr": {"epochs": 1, "curve_epochs": 2, "batch_size": 10, "curve_batch_size": 10, "curve_learning_rate": 0.1},
}


def images(n=30):
    generator = torch.Generator().manual_seed(0)
    return ImageSet(torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator), torch.arange(n) % 3)


def factory():
    return build_model("resnet10", num_classes=3, image_size=32, width=8)


@functools.cache
def upstream():
    """A model in use: statistics that fit the data, channels that differ."""
    model = Context(model_factory=factory).build_model("upstream")
    with torch.no_grad():
        for _ in range(20):
            model.train()(images().images / 255)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    return model.eval()


def context(**more):
    return Context(model_factory=factory, clean=images(), upstream=Fitted(copy.deepcopy(upstream())), **more)


def fitted(name, tool, **hyper):
    return defenses.create(name, **{**SHORT[name], **hyper}).fit(images(), tool.build_model, tool)


def states_equal(one, two):
    a, b = one.state_dict(), two.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize("name", REMOVALS)
def test_upstream_stays_as_it_was_and_a_finished_stage_is_taken_up_where_it_ended(name, tmp_path):
    tool = context(checkpoints=tmp_path, checkpoint_every=0)
    before = copy.deepcopy(tool.upstream.model)
    one = fitted(name, tool)
    assert states_equal(tool.upstream.model, before) and not tool.upstream.model.training
    assert not states_equal(one.model, before)
    again = fitted(name, context(checkpoints=tmp_path, checkpoint_every=0))
    assert states_equal(one.model, again.model)
    assert one.metrics == again.metrics


@pytest.mark.parametrize("name", REMOVALS)
def test_only_the_granted_samples_count(name):
    tool, other = context(), context()
    nothing = ImageSet(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    one = fitted(name, tool)
    two = defenses.create(name, **SHORT[name]).fit(nothing, other.build_model, other)
    assert states_equal(one.model, two.model)


def test_fine_tuning_changes_every_weight_and_equals_a_naive_loop():
    tool = context(flip=False)
    model = fitted("ft", tool, padding=0, epochs=3, weight_decay=0.01, momentum=0.5).model
    naive = copy.deepcopy(tool.upstream.model).train()
    order = torch.Generator().manual_seed(0)
    # The order of the batches is the stream's; everything else is written out.
    order.set_state(context(flip=False).generator("ft/order").get_state())
    velocity = [torch.zeros_like(p) for p in naive.parameters()]
    clean, step = images(), 0
    for _ in range(3):
        for index in torch.randperm(30, generator=order).split(10):
            loss = torch.nn.functional.cross_entropy(naive(clean.images[index] / 255), clean.labels[index])
            gradients = torch.autograd.grad(loss, list(naive.parameters()))
            rate = 0.01 * (1 + math.cos(math.pi * step / 9)) / 2
            with torch.no_grad():
                for p, v, g in zip(naive.parameters(), velocity, gradients, strict=True):
                    v.mul_(0.5).add_(g + 0.01 * p)
                    p.sub_(rate * v)
            step += 1
    for found, wanted, old in zip(
        model.parameters(), naive.parameters(), tool.upstream.model.parameters(), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
        assert not torch.equal(found, old)


def test_hold_out_cuts_the_samples_in_two():
    clean = images()
    rest, held = hold_out(clean, 0.2, torch.Generator().manual_seed(1))
    assert (len(rest), len(held)) == (24, 6)
    both = torch.cat([rest.images, held.images]).flatten(1)
    assert sorted(map(bytes, both.numpy())) == sorted(map(bytes, clean.images.flatten(1).numpy()))
    with pytest.raises(DefenseLibError, match="holdout"):
        hold_out(clean, 1.0, torch.Generator())


# FP


def ranked_model():
    """A network whose last feature maps have the known mean activations 3, 0, 2, 1, ... on any image."""
    model = build_model("resnet10", num_classes=3, image_size=32, width=1).eval()
    wanted = torch.tensor([3.0, 0.0, 2.0, 1.0, 7.0, 6.0, 5.0, 4.0])
    block = model.stages[-1][-1]
    with torch.no_grad():
        block.bn2.weight.zero_(), block.downsample[1].weight.zero_()
        block.bn2.bias.copy_(wanted), block.downsample[1].bias.zero_()
    return model, wanted


def test_fp_ranks_by_mean_activation_and_cuts_exactly_the_least_active():
    model, wanted = ranked_model()
    tool = context()
    torch.testing.assert_close(fp.FP().activity(model, images().images, tool), wanted)
    keep = fp.least_active_cut(wanted, 3)
    assert keep.tolist() == [True, False, False, False, True, True, True, True]
    before = copy.deepcopy(model)
    fp.prune(model, "linear", keep)
    changed = [name for name, p in model.named_parameters() if not torch.equal(p, before.get_parameter(name))]
    assert changed == ["head.weight"]
    assert (model.head.weight[:, 1:4] == 0).all() and torch.equal(model.head.weight[:, 4:], before.head.weight[:, 4:])
    fp.prune(model, "convolution", keep)
    filters = model.stages[-1][-1].conv2.weight
    assert (filters[1:4] == 0).all() and (filters[[0, 4, 5, 6, 7]] != 0).any((1, 2, 3)).all()


def test_fp_stops_at_the_first_step_that_costs_too_much():
    model, wanted = ranked_model()
    # Channel 7 (the fourth to go: 1, 3, 2, 0, then 7) alone carries class 0, the right answer everywhere.
    with torch.no_grad():
        model.head.weight.zero_(), model.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
        model.head.weight[0, 7] = 1.0
    held_out = ImageSet(images().images, torch.zeros(30, dtype=torch.int64))
    tool = context()
    assert fp.FP(step_ratio=0.1).search(model, wanted, held_out, tool) == (5, 0.0)
    assert fp.FP(step_ratio=0.25).search(model, wanted, held_out, tool) == (6, 0.0)
    assert fp.FP(step_ratio=0.1, acc_drop=1.0).search(model, wanted, held_out, tool) == (7, 0.0)
    assert (model.head.weight[0, 7] == 1).all(), "the search works on a copy"


@pytest.mark.parametrize("layer", fp.LAYERS)
def test_fp_keeps_pruned_channels_at_zero_while_it_tunes_the_others(layer):
    tool = context()
    result = fitted("fp", tool, layer=layer, stop="ratio", ratio=0.5, weight_decay=0.1)
    gone = result.arrays["pruned"]
    assert result.metrics["pruned"] == 32 == int(gone.sum()) and result.metrics["channels"] == 64
    activity = result.arrays["activity"]
    assert activity[gone].max() <= activity[~gone].min()
    before = tool.upstream.model
    if layer == "linear":
        weight, old = result.model.head.weight.T, before.head.weight.T
    else:
        weight, old = result.model.stages[-1][-1].conv2.weight, before.stages[-1][-1].conv2.weight
    assert (weight[gone] == 0).all() and (weight[~gone] != old[~gone]).any(1).all()
    assert all(p._backward_hooks is None or not p._backward_hooks for p in result.model.parameters())


# NAD


def test_nad_attention_and_distance_equal_numpy():
    generator = torch.Generator().manual_seed(0)
    student = [torch.randn(4, 5, 3, 2, generator=generator), torch.randn(4, 6, 2, 2, generator=generator)]
    teacher = [torch.randn(4, 5, 3, 2, generator=generator), torch.randn(4, 6, 2, 2, generator=generator)]

    def reference(maps, p):
        out = []
        for sample in maps.double().numpy():
            summed = sum(np.abs(channel) ** p for channel in sample)
            out.append(summed / np.sqrt((summed**2).sum()))
        return np.stack(out)

    for p in (2.0, 3.0):
        for maps in student:
            found = nad.attention(maps, p).view(4, *maps.shape[2:]).numpy()
            np.testing.assert_allclose(found, reference(maps, p), rtol=1e-5)
        wanted = sum(
            beta * ((reference(s, p) - reference(t, p)) ** 2).mean()
            for beta, s, t in zip((500, 1000), student, teacher, strict=True)
        )
        found = nad.attention_distance(student, teacher, (500.0, 1000.0), p)
        assert found.item() == pytest.approx(wanted, rel=1e-5)
    pooled = torch.rand(4, 7, 1, 1)
    assert nad.attention_distance([pooled], [pooled + 1], (1e3,), 2.0) == 0, "a single position has no attention"


def test_nad_student_takes_the_step_of_its_loss():
    tool = context(flip=False)
    model, teacher, clean = tool.upstream.model, tool.build_model("teacher").eval(), images()
    x = clean.images / 255
    logits, maps = nad.logits_and_maps(model, x, 2)
    torch.testing.assert_close(logits, model(x))
    torch.testing.assert_close(maps[1], model.maps(x))
    assert len(maps) == 2 and not any(stage._forward_hooks for stage in model.stages)

    student, naive = copy.deepcopy(model), copy.deepcopy(model).train()
    distil = nad.NAD(beta=(3.0, 7.0), batch_size=30, momentum=0.0, weight_decay=0.0, learning_rate=0.1)
    augment = Augment(0, flip=False)
    optimizer, schedule = distil.tuning(1, augment).optimizer(student, len(clean))
    distil.distil(Trainee(student, optimizer, clean, tool, augment), teacher, schedule)

    # In float64: in float32 a rounding can move an activation over the kink of its ReLU.
    x, naive, teacher = x.double(), naive.double(), copy.deepcopy(teacher).double()

    def outputs(net):
        out = net.stages[1](net.stages[0](net.stem((x - net.mean) / net.std)))
        return [third := net.stages[2](out), net.stages[3](third)]

    mine, theirs = outputs(naive), outputs(teacher)
    loss = torch.nn.functional.cross_entropy(naive.head(mine[1].mean((2, 3))), clean.labels)
    loss = loss + nad.attention_distance(mine, [item.detach() for item in theirs], (3.0, 7.0), 2.0)
    gradients = torch.autograd.grad(loss, list(naive.parameters()))
    for found, old, gradient in zip(student.parameters(), naive.parameters(), gradients, strict=True):
        torch.testing.assert_close(found.double(), old - 0.1 * gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_shared_stages_are_trained_once_for_a_grid_and_change_nothing():
    kept, made = {}, []

    def cache(key, make):
        if key not in kept:
            made.append(key.split()[0])
            kept[key] = make()
        return kept[key]

    for beta in (500.0, 1000.0):
        shared = fitted("nad", context(cache=cache), beta=(beta,))
        assert states_equal(shared.model, fitted("nad", context(), beta=(beta,)).model)
    for t in (0.3, 0.7):
        assert states_equal(fitted("mcr", context(cache=cache), t=t).model, fitted("mcr", context(), t=t).model)
    assert made == ["nad-teacher", "mcr-curve"]
    fitted("nad", context(cache=cache), learning_rate=0.02)
    assert len(made) == 3


# ANP


def naive_anp_step(model, names, mask, noise, eps, steps, alpha, x, y):
    """Gradient of the objective at the mask and the final noise, BatchNorm by BatchNorm, from gradients of w and b."""

    def grads(scales, shifts):
        net = copy.deepcopy(model).train()
        for name in names:
            layer = net.get_submodule(name)
            layer.weight.data = scales[name] * layer.weight.data
            layer.bias.data = shifts[name] * layer.bias.data
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        w = {name: net.get_submodule(name).weight.grad for name in names}
        b = {name: net.get_submodule(name).bias.grad for name in names}
        return loss.item(), w, b

    old = {name: model.get_submodule(name) for name in names}
    one = {name: torch.ones_like(mask[name]) for name in names}
    delta, xi = noise
    for _ in range(steps):
        _, w, b = grads({n: mask[n] + delta[n] for n in names}, {n: 1 + xi[n] for n in names})
        delta = {n: (delta[n] + eps / steps * (w[n] * old[n].weight).sign()).clamp(-eps, eps) for n in names}
        xi = {n: (xi[n] + eps / steps * (b[n] * old[n].bias).sign()).clamp(-eps, eps) for n in names}
    natural, w1, _ = grads(mask, one)
    robust, w2, _ = grads({n: mask[n] + delta[n] for n in names}, {n: 1 + xi[n] for n in names})
    gradient = {n: (alpha * w1[n] + (1 - alpha) * w2[n]) * old[n].weight.detach() for n in names}
    return alpha * natural + (1 - alpha) * robust, gradient


@pytest.mark.parametrize("steps", [1, 3])
def test_anp_step_equals_a_naive_one(steps):
    tool = context()
    model, clean = tool.upstream.model, images()
    x, y = clean.images[:12] / 255, clean.labels[:12]
    neurons = Neurons(model)
    names = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert neurons.names == names and len(neurons) == sum(neurons.sizes) == len(neurons.weight)
    start = torch.rand(len(neurons), generator=torch.Generator().manual_seed(3))
    drawn = (2 * torch.rand(2, len(neurons), generator=torch.Generator().manual_seed(4)) - 1) * 0.4

    def split(flat):
        return dict(zip(names, flat.split(neurons.sizes), strict=True))

    wanted, gradient = naive_anp_step(
        model, names, split(start), (split(drawn[0]), split(drawn[1])), 0.4, steps, 0.2, x, y
    )
    mask = torch.nn.Parameter(start.clone())
    frozen = copy.deepcopy(model).train().requires_grad_(False)
    found = ANP(steps=steps, learning_rate=0.5).step(
        frozen, neurons, mask, torch.optim.SGD([mask], 0.5), x, y, torch.Generator().manual_seed(4), tool
    )
    assert found.item() == pytest.approx(wanted, rel=1e-4)
    flat = torch.cat([gradient[name] for name in names])
    torch.testing.assert_close(mask.detach(), (start - 0.5 * flat).clamp(0, 1), rtol=1e-3, atol=1e-4)


def test_anp_prunes_the_weights_below_the_threshold_and_nothing_else():
    tool = context()
    result = fitted("anp", tool, stop="threshold", threshold=0.95, iterations=20, learning_rate=0.5)
    mask, before = result.arrays["mask"], tool.upstream.model
    assert mask.min() >= 0 and mask.max() <= 1 and 0 < result.metrics["pruned"] < result.metrics["channels"]
    weight = torch.where(mask > 0.95, Neurons(before).weight, 0.0)
    after = Neurons(result.model)
    assert torch.equal(after.weight, weight) and torch.equal(after.bias, Neurons(before).bias)
    norm_weights = {f"{name}.weight" for name in after.names}
    state = before.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in result.model.state_dict().items() if k not in norm_weights)


def test_anp_takes_the_last_threshold_before_the_accuracy_falls():
    tool = context()
    model = tool.upstream.model
    neurons = Neurons(model)
    with torch.no_grad():
        predicted = model(images().images / 255).argmax(1)
    held_out = ImageSet(images().images, predicted)
    mask = torch.ones(len(neurons))
    mask[: neurons.sizes[0]] = 0.31  # the stem: without it every image looks alike
    chosen, left = ANP(acc_drop=0.0).search(copy.deepcopy(model), neurons, mask, held_out, tool)
    assert len(predicted.unique()) > 1 and (chosen, left) == (pytest.approx(0.30), 100.0)
    mask[:] = 0.0
    assert ANP(acc_drop=0.0).search(copy.deepcopy(model), neurons, mask, held_out, tool) == (-1.0, 100.0)


# MCR


def test_mcr_curve_passes_through_its_ends_and_by_its_bend():
    start, bend, end = ([torch.tensor([a, 1.0])] for a in (1.0, 5.0, 3.0))
    target = [torch.empty(2)]
    for t, wanted in ((0.0, 1.0), (1.0, 3.0), (0.5, 3.5), (0.1, 0.81 * 1 + 0.18 * 5 + 0.01 * 3)):
        mcr.place(target, start, bend, end, torch.tensor(t))
        torch.testing.assert_close(target[0], torch.tensor([wanted, 1.0]))


def test_mcr_moves_the_bend_along_the_gradient_through_the_curve():
    tool = context(flip=False)
    start, bend, end = (tool.build_model(role) for role in ("a", "b", "c"))
    theta = [p.detach().clone().requires_grad_(True) for p in bend.parameters()]
    stream = context(flip=False).generator("mcr-curve/t").get_state()
    draw = torch.Generator()
    draw.set_state(stream)
    t = torch.rand((), generator=draw)
    clean = images()
    weights = {
        name: (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        for (name, a), b, c in zip(start.named_parameters(), theta, end.parameters(), strict=True)
    }
    logits = torch.func.functional_call(copy.deepcopy(start).train(), weights, (clean.images / 255,))
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, clean.labels), theta)
    tuning = FineTuning(1, 30, 0.5, 0.0, 0.0, "constant", Augment(0, flip=False))
    optimizer, schedule = tuning.optimizer(bend, len(clean))
    ends = list(start.parameters()), list(end.parameters())
    mcr.curve_epoch(copy.deepcopy(start), bend, *ends, optimizer, schedule, clean, tuning, tool)
    for found, old, gradient in zip(bend.parameters(), theta, gradients, strict=True):
        torch.testing.assert_close(found, old - 0.5 * gradient, rtol=1e-3, atol=1e-4)


def test_mcr_takes_batch_norm_statistics_anew():
    tool = context(flip=False)
    model = copy.deepcopy(tool.upstream.model)
    mcr.refresh_statistics(model, images(), Augment(0, flip=False), tool, 15)
    with torch.no_grad():
        seen = model.stem[0]((images().images / 255 - model.mean) / model.std)
    torch.testing.assert_close(model.stem[1].running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert model.stem[1].momentum == 0.1 and not model.training


def test_mcr_at_its_ends_is_the_backdoored_and_the_fine_tuned_model():
    tool = context()
    zero, one = fitted("mcr", tool, t=0.0).model, fitted("mcr", context(), t=1.0).model
    tuned = copy.deepcopy(tool.upstream.model)
    FineTuning(1, 10, 0.01, 0.9, 5e-4, "cosine", Augment(4, "zeros")).run(tuned, images(), context(), "mcr-end")
    for a, b in ((zero, tool.upstream.model), (one, tuned)):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


# All


def test_defaults_are_backdoorbenchs():
    ft, fine, distil, prune, connect = (defenses.create(name) for name in REMOVALS[:3] + REMOVALS[3:])
    for defense in (ft, fine, distil, prune, connect):
        assert (defense.clean_share, defense.batch_size, defense.learning_rate, defense.momentum) == (
            0.05, 256, 0.01, 0.9,
        )  # fmt: skip
    assert (ft.epochs, fine.epochs, connect.epochs, ft.schedule, ft.weight_decay) == (100, 100, 100, "cosine", 5e-4)
    assert (fine.layer, fine.stop, fine.step_ratio, fine.acc_drop) == ("linear", "accuracy", 0.01, 0.1)
    assert (distil.teacher_epochs, distil.epochs, distil.beta, distil.power) == (10, 10, (500.0, 1000.0), 2.0)
    assert (prune.eps, prune.steps, prune.alpha, prune.iterations) == (0.4, 1, 0.2, 2000)
    assert (prune.threshold_step, prune.threshold_max, prune.acc_drop) == (0.05, 0.9, 0.1)
    assert (connect.t, connect.curve_epochs, connect.curve_learning_rate, connect.curve_batch_size) == (
        0.1, 100, 3e-5, 128,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("ft", {"epochs": 0}), ("ft", {"clean_share": 0.0}), ("ft", {"weight_decay": -1.0}), ("ft", {"schedule": "x"}),
        ("fp", {"layer": "linaer"}), ("fp", {"ratio": 1.5}), ("fp", {"step_ratio": 0.0}), ("fp", {"padding_mode": "x"}),
        ("nad", {"beta": ()}), ("nad", {"beta": (-1.0,)}), ("nad", {"teacher_epochs": 0}), ("nad", {"power": 0.5}),
        ("anp", {"steps": 0}), ("anp", {"alpha": 1.5}), ("anp", {"eps": -0.1}), ("anp", {"stop": "asr"}),
        ("mcr", {"t": 1.1}), ("mcr", {"curve_learning_rate": 0.0}), ("mcr", {"curve_epochs": 0}),
    ],
)  # fmt: skip
def test_bad_hyper_parameters_are_errors_before_any_work(name, hyper):
    (key,) = hyper
    # Messages of shared checks name the setting without its prefix.
    short = key.replace("curve_", "").replace("teacher_", "").replace("_mode", " mode")
    with pytest.raises(DefenseLibError, match=short):
        defenses.create(name, **hyper)


def test_needs_a_model_to_repair_and_clean_samples():
    tool = context()
    tool.clean = None
    with pytest.raises(DefenseLibError, match=r"context\.clean"):
        fitted("ft", tool)
    with pytest.raises(DefenseLibError, match="5 weights"):
        fitted("nad", context(), beta=(1.0,) * 5)
