"""From a clean data set and an attack to what a defender gets, and to what the attack is measured on."""

from __future__ import annotations

import operator
from numbers import Real

import torch
from torch import Tensor

from defenselib.attacks.base import COUNTS, Attack, Plan, chunks, floor_share
from defenselib.data.types import Dataset, ImageSet, PoisonedDataset
from defenselib.errors import InvalidValueError, check_choice, check_range
from defenselib.seeds import generator


def poison(
    dataset: Dataset,
    attack: Attack,
    rate: float | None = None,
    target: int | None = None,
    seed: int = 0,
    count: str | None = None,
) -> PoisonedDataset:
    """Poison the training images of `dataset` and put the trigger on its test images; `dataset` stays as it is.

    rate: share in [0, 1] of what `count` counts. target: class that the attacker wants; none for all-to-all attacks.
    None takes the attack's plan. count:

    - bernoulli-nontarget: every sample that is not of the target class, with probability `rate` (ASD, BSD).
    - exact-nontarget: floor(rate * such samples) of them (D-ST, D-BR).
    - exact-all: floor(rate * N) of all classes, the target included (V&B, A-ABL).
    - exact-target: floor(rate * samples of the target class) of these (clean-label attacks).

    All-to-all attacks have no target class, so that every sample counts as non-target for them. Rate 0 poisons
    nothing, makes no cross samples, and keeps the trigger of the test images. The samples are drawn on the CPU by
    `seed`: the same on every device. Where nothing changes, images are shared with `dataset`, not copied.

    Raises UnknownNameError or InvalidValueError, before any image is touched, for a rate outside [0, 1] or one that
    poisons no sample though it is above 0, a target outside the classes, an attack made for another image size.
    """
    plan = _plan(dataset, attack, rate, target, count)
    labels = dataset.train.labels
    poisoned = _select(labels.cpu(), plan, seed)
    crossed = _select_cross(attack, poisoned, len(labels), seed)
    device = labels.device
    poisoned, crossed = poisoned.to(device), crossed.to(device)
    is_cross = torch.zeros(len(labels), dtype=torch.bool, device=device)
    is_poisoned = is_cross.clone()
    is_poisoned[poisoned] = True
    is_cross[crossed] = True
    return PoisonedDataset(
        train=_train(dataset, attack, plan.target, poisoned, crossed, seed),
        is_poisoned=is_poisoned,
        is_cross=is_cross,
        clean_labels=labels,
        test=dataset.test,
        triggered_test=_triggered(dataset, attack, plan.target),
        target=plan.target,
    )


def _plan(dataset: Dataset, attack: Attack, rate: float | None, target: int | None, count: str | None) -> Plan:
    """What was asked for, completed by the attack's own plan and checked."""
    if not isinstance(attack, Attack):
        raise InvalidValueError(f"attack is {attack!r}, it must come from attacks.create(...)")
    rate = attack.plan.rate if rate is None else rate
    if not isinstance(rate, Real) or isinstance(rate, bool):
        raise InvalidValueError(f"rate is {rate!r}, it must be a number in [0, 1]")
    check_range("rate", rate, 0.0, 1.0)
    if rate > 0 and not attack.poisons:
        raise InvalidValueError(f"attack {attack.name!r} poisons nothing: rate is {rate}, it must be 0")
    count = check_choice("count", attack.plan.count if count is None else count, COUNTS)
    if attack.clean_label and count != "exact-target":
        raise InvalidValueError(f"{attack.name!r} keeps labels: count is {count!r}, it must be 'exact-target'")
    if attack.all_to_all and count == "exact-target":
        raise InvalidValueError(f"{attack.name!r} has no target class: count 'exact-target' has no meaning")
    for images in (dataset.train.images, dataset.test.images):
        attack.check_images(images)
    return Plan(float(rate), target_of(attack, target, dataset.num_classes), count)


def target_of(attack: Attack, target: int | None, num_classes: int) -> int | None:
    """The class that the attacker wants, None for all-to-all. Raises InvalidValueError for one that cannot be."""
    if attack.all_to_all:
        if target is not None:
            raise InvalidValueError(f"{attack.name!r} sends every class to the next: target is {target}, give None")
        return None
    target = attack.plan.target if target is None else target
    try:
        chosen = operator.index(target)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidValueError(f"target is {target!r}, it must be a class from 0 to {num_classes - 1}") from None
    if isinstance(target, bool) or not 0 <= chosen < num_classes:
        raise InvalidValueError(f"target is {target!r}, it must be a class from 0 to {num_classes - 1}")
    return chosen


def _select(labels: Tensor, plan: Plan, seed: int) -> Tensor:
    """Positions of the samples to poison, int64, ascending. `labels` on the CPU."""
    if plan.rate == 0:
        return torch.empty(0, dtype=torch.int64)
    of_target = torch.zeros_like(labels, dtype=torch.bool) if plan.target is None else labels == plan.target
    stream = generator(seed, "poison")
    if plan.count == "bernoulli-nontarget":
        # drawn for every sample, so that the choice among the others does not depend on the target class
        drawn = torch.rand(len(labels), generator=stream, dtype=torch.float64) < plan.rate
        chosen = (drawn & ~of_target).nonzero().flatten()
    else:
        allowed = {"exact-nontarget": ~of_target, "exact-all": torch.ones_like(of_target), "exact-target": of_target}
        pool = allowed[plan.count].nonzero().flatten()
        order = torch.randperm(len(pool), generator=stream)
        chosen = pool[order[: floor_share(plan.rate, len(pool))]].sort().values
    if not len(chosen):
        raise InvalidValueError(
            f"rate {plan.rate} with count {plan.count!r} poisons none of {len(labels)} training images; "
            "raise it, take more images, or give 0 for no poison"
        )
    return chosen


def _select_cross(attack: Attack, poisoned: Tensor, total: int, seed: int) -> Tensor:
    """Positions of the cross samples, int64, ascending, none of them poisoned."""
    wanted = attack.cross_count(len(poisoned), total) if len(poisoned) else 0
    if wanted > total - len(poisoned):
        raise InvalidValueError(
            f"attack {attack.name!r} needs {wanted} cross samples, but only {total - len(poisoned)} of {total} "
            "training images are not poisoned; lower the rate"
        )
    free = torch.ones(total, dtype=torch.bool)
    free[poisoned] = False
    pool = free.nonzero().flatten()
    return pool[torch.randperm(len(pool), generator=generator(seed, "cross"))[:wanted]].sort().values


def _train(
    dataset: Dataset, attack: Attack, target: int | None, poisoned: Tensor, crossed: Tensor, seed: int
) -> ImageSet:
    images, labels = dataset.train.images, dataset.train.labels
    if not len(poisoned):
        return dataset.train
    stored, given = images.clone(), labels.clone()
    given[poisoned] = attack.relabel(labels[poisoned], target, dataset.num_classes)
    for index in _parts(images, poisoned):
        stored[index] = attack(images[index], index)
    if len(crossed):
        # a fixed step to another image: never the sample itself
        step = int(torch.randint(1, len(images), (), generator=generator(seed, "partners")))
        for index in _parts(images, crossed):
            stored[index] = attack.cross(images[index], images[(index + step) % len(images)], index)
    return ImageSet(stored, given)


def _triggered(dataset: Dataset, attack: Attack, target: int | None) -> ImageSet:
    """Test images that count for the ASR: those not of the target class, all for all-to-all attacks."""
    images, labels = dataset.test.images, dataset.test.labels
    keep = torch.ones_like(labels, dtype=torch.bool) if target is None else labels != target
    chosen = keep.nonzero().flatten()
    out = images[chosen]  # images in files stay there
    for place in _parts(images, torch.arange(len(chosen), device=chosen.device)):
        out[place] = attack.trigger(images[chosen[place]], chosen[place])
    return ImageSet(out, attack.wanted(labels[chosen], target, dataset.num_classes))


def _parts(images: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """`index` in pieces of as many images as are worked on at a time."""
    step = next(chunks(images), slice(0, 1)).stop
    return index.split(step) if len(index) else ()
