"""CLB against naive PGD, the printed patches, and the properties of a label-consistent attack."""

import numpy as np
import pytest
import torch

from defenselib import attacks, data
from defenselib.attacks.clb import patches
from defenselib.attacks.surrogates import surrogate
from defenselib.errors import DefenseLibError, InvalidValueError, NotPreparedError
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.models import build_model

QUICK = dict(
    surrogate_epochs=4, surrogate_batch_size=32, surrogate_learning_rate=0.1, surrogate_schedule="onecycle",
    surrogate_steps=1,
)  # fmt: skip
TARGET = 3


def context(**more):
    return Context(model_factory=lambda: build_model("resnet10", 10, 32, width=8), **more)


@pytest.fixture(scope="module")
def shapes():
    return data.load_dataset("shapes", limit=300)


@pytest.fixture(scope="module")
def prepared(shapes):
    return attacks.create("clb", iterations=5, step=4.0, **QUICK).prepare(shapes.train, TARGET, context())


def test_presets_are_the_papers():
    def of(preset, *fields):
        made = attacks.create("clb", preset=preset)
        return (made.plan.rate, made.plan.target, made.plan.count, *(getattr(made, field) for field in fields))

    strength = ("eps", "step", "iterations", "random_start", "pattern", "surrogate")
    for preset in ("asd", "bsd"):
        assert of(preset, *strength) == (0.25, 3, "exact-target", 16, 1.5, 30, False, "dbd2", "robust")
    assert of("vab", *strength) == of("cl-16", *strength) == (0.1, 0, "exact-target", *of("asd", *strength)[3:])
    assert of("cl-32", "eps", "step", "iterations") == (0.1, 0, "exact-target", 32, 1.5, 30)
    assert of("aabl", *strength[:3]) == (0.5, 0, "exact-target", 16, 2, 30)
    assert attacks.create("clb", 64, preset="aabl").plan.rate == 1.0
    assert of("dst_dbr", *strength) == (0.1, 0, "exact-target", 8, 2, 4, True, "grids4", "standard")
    robust = attacks.create("clb").training()
    assert (robust.epochs, robust.learning_rate, robust.schedule) == (15, 0.2, "triangle")
    assert (robust.eps, robust.step, robust.steps, robust.batch_size) == (16, 2, 7, 128)
    standard = attacks.create("clb", preset="dst_dbr").training()
    assert (standard.epochs, standard.learning_rate, standard.schedule) == (200, 0.01, "step")
    assert standard.milestones == (100, 150)


GRIDS = {  # '#': 255, '.': 0, ' ': untouched
    "grids4": [
        "        ",
        " #.#   #.#",
        " .#.   .#.",
        " #..   ..#",
        "",
        "",
        "",
        " #..   ..#",
        " .#.   .#.",
        " #.#   #.#",
    ],
    "corners4": ["#..    ..#", ".#.    .#.", "#.#    #.#", "", "", "", "", "#..    ..#", ".#.    .#.", "#.#    #.#"],
}


@pytest.mark.parametrize("pattern", GRIDS)
def test_grids_are_drawn_as_printed(pattern):
    images = torch.full((2, 3, 10, 10), 77, dtype=torch.uint8)
    drawn = attacks.create("clb", 10, pattern=pattern).trigger(images)
    expected = np.full((10, 10), 77)
    for row, line in enumerate(GRIDS[pattern]):
        for column, mark in enumerate(line):
            expected[row, column] = {"#": 255, ".": 0, " ": 77}[mark]
    assert (drawn.numpy() == expected).all()
    assert (images == 77).all()


def test_other_patterns_are_badnets():
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for pattern in ("dbd2", "grid3", "white3"):
        expected = attacks.create("badnets", pattern=pattern)(images)
        assert torch.equal(attacks.create("clb", pattern=pattern).trigger(images), expected)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("random_start", [False, True])
def test_perturbation_equals_a_naive_loop(wrap, random_start):
    size, classes, eps, step, iterations = 8, 4, 16, 1.5, 9
    attack = attacks.create("clb", size, eps=float(eps), step=step, iterations=iterations, wrap=wrap)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * size * size, classes))
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, size, size), generator=stream).to(torch.uint8)
    labels = torch.arange(6) % classes
    start = torch.Generator().manual_seed(5) if random_start else None
    found = attack._perturbation(model, images, labels, context(), start).numpy()

    weight, bias = (p.detach().numpy().astype(np.float64) for p in model[1].parameters())
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(5)).numpy().astype(np.float64)
    for i in range(6):
        clean = images[i].numpy().flatten().astype(np.float64)  # in grey levels
        moved = clean + (2 * noise[i].flatten() - 1) * eps if random_start else clean.copy()
        for _ in range(iterations):
            moved = moved if wrap else np.clip(moved, 0, 255)
            logits = weight @ (moved / 255) + bias
            p = np.exp(logits - logits.max())
            p /= p.sum()
            p[labels[i]] -= 1
            moved = np.clip(moved + step * np.sign(weight.T @ p), clean - eps, clean + eps)
        if wrap:
            stored = np.array([int(level) % 256 for level in moved + np.sign(moved) * 1e-3])
            assert (moved < 0).any() and (moved > 255).any()
        else:
            stored = np.floor(np.clip(moved, 0, 255) + 1e-3)
        # a start that falls within 1e-3 of a whole level may come out one level apart
        differs = (stored - clean) != found[i].flatten()
        assert differs.mean() < 0.01


@pytest.mark.slow
def test_training_images_of_the_target_class_move_within_eps(prepared, shapes):
    train = shapes.train
    index = (train.labels == TARGET).nonzero().flatten()
    assert torch.equal(prepared.ready()["index"], index)
    out = prepared(train.images[index], index).int() - train.images[index].int()
    inside = torch.ones(32, 32, dtype=torch.bool)
    inside[4:6, 4:6] = False
    assert int(out[:, :, inside].abs().max()) <= 16
    assert float((out[:, :, inside] != 0).float().mean()) > 0.8
    assert torch.equal(
        prepared(train.images[index], index)[:, :, ~inside], prepared.trigger(train.images[index])[:, :, ~inside]
    )


def test_an_image_gets_the_same_perturbation_in_any_batch(prepared, shapes):
    index = prepared.ready()["index"][:6]
    whole = prepared(shapes.train.images[index], index)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    assert torch.equal(prepared(shapes.train.images[index[order]], index[order]), whole[order])
    strangers = torch.tensor([len(shapes.train), 10**6])
    assert torch.equal(prepared(shapes.train.images[:2], strangers), prepared.trigger(shapes.train.images[:2]))


def test_poisoned_data(prepared, shapes):
    made = attacks.poison(shapes, prepared, rate=0.5, target=TARGET, seed=1)
    touched = (made.train.images != shapes.train.images).flatten(1).any(1)
    assert torch.equal(touched, made.is_poisoned)
    assert (shapes.train.labels[touched] == TARGET).all() and int(touched.sum()) == 15
    assert torch.equal(made.train.labels, shapes.train.labels)
    others = shapes.test.images[shapes.test.labels != TARGET]
    differs = (made.triggered_test.images != others).any(1).any(0)
    assert differs[4:6, 4:6].all() and int(differs.sum()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["robust", "standard"])
def test_the_surrogate_fails_on_its_images(shapes, kind):
    tool = context()
    how = {**QUICK, "surrogate_epochs": 15, "surrogate_eps": 2.0}
    attack = attacks.create("clb", surrogate=kind, iterations=8, step=3.0, **how)
    model = surrogate(shapes.train, attack.training(), tool)
    images = shapes.train.images[shapes.train.labels == TARGET]
    labels = torch.full((len(images),), TARGET)
    moved = (images.int() + attack._perturbation(model, images, labels, tool, None)).to(torch.uint8)
    right = [infer(model, x, tool, lambda z, i: (z.argmax(1) == TARGET).float()).mean() for x in (images, moved)]
    assert right[0] > 0.5 and right[1] < 0.2


def test_errors():
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    attack = attacks.create("clb")
    with pytest.raises(NotPreparedError):
        attack(images, torch.arange(2))
    ready = attack.with_trained(
        {"index": torch.arange(0), "perturbation": torch.zeros(0, 3, 32, 32, dtype=torch.int16)}
    )
    assert torch.equal(ready(images, torch.arange(2)), attack.trigger(images))
    with pytest.raises(InvalidValueError, match="index"):
        ready(images)
    for bad in ({"pattern": "dbd3"}, {"eps": -1.0}, {"iterations": 0}, {"surrogate": "x"}, {"surrogate_steps": 0}):
        with pytest.raises(DefenseLibError, match=next(iter(bad)).split("_")[-1]):
            attacks.create("clb", **bad)
    with pytest.raises(InvalidValueError, match="does not fit"):
        patches("grids4", 7)
