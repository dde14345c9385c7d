"""From a folder that nobody vouches for to a defended model: hold a part out, scan, train, judge, write."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from defenselib import folders
from defenselib.audit import outfolder
from defenselib.audit import suspects as tables
from defenselib.audit.amount import PROFILES, Work, work_for
from defenselib.audit.counts import pictures
from defenselib.audit.export import write_model
from defenselib.audit.folder import UserData
from defenselib.audit.inputs import matched
from defenselib.audit.methods import check_defense, needs_clean
from defenselib.audit.page import write_report
from defenselib.audit.results import Accuracy, Delivery, Measured, ScanReport, accuracy, held_out, unseen
from defenselib.audit.scan import scan, scanned, seconds_for
from defenselib.audit.training import MEAN, STD, Fit, Trainer
from defenselib.cpu.devices import chosen_device
from defenselib.data.types import ImageSet, digest_of
from defenselib.errors import InvalidValueError, check_choice, check_range
from defenselib.experiments import provenance
from defenselib.experiments.experiment import LAST_SEED
from defenselib.experiments.spec import hash_of
from defenselib.experiments.store import Store
from defenselib.learning.evaluation import predict
from defenselib.plots.words import plural

HELD_OUT = 0.1
LEAST = 16  # images to train on: of fewer, some methods have none left for a batch (D-ST of 4, BSD of 3)
COMPARED = 16  # images on which the written programs must say what the model says
SKIPPED = "skipped.csv"
Scanner = Callable[..., ScanReport]


@dataclass(frozen=True)
class Settings:
    """What is asked for. holdout: share of the files that are not trained on, to measure accuracy; without effect where
    there is a test folder. flip: whether a mirrored image keeps its label (not so for signs and letters).

    Errors: UnknownNameError, InvalidValueError.
    """

    defense: str = "bsd"
    profile: str = "laptop"
    seed: int = 0
    holdout: float = HELD_OUT
    flip: bool = True

    def __post_init__(self) -> None:
        check_defense(self.defense, clean=True)
        check_choice("profile", self.profile, PROFILES)
        check_range("seed", self.seed, 0, LAST_SEED)
        check_range("holdout", self.holdout, 0.0, 0.5)


@dataclass(frozen=True)
class Plan:
    """All that `defend` will do, before it does it. Errors: InvalidValueError for folders that do not fit together.

    clean: images that somebody vouches for; test: images to measure accuracy on. Both are of classes of `data`, by
    name, at its size.
    """

    data: UserData
    settings: Settings
    clean: UserData | None = None
    test: UserData | None = None
    device: str | torch.device | None = None

    def __post_init__(self) -> None:
        check_defense(self.settings.defense, clean=self.clean is not None)
        # Made once, and whatever is wrong with them is raised here.
        _ = (self.clean_images, self.test_images)
        if len(self.train) < LEAST:
            raise InvalidValueError(
                f"{self.data.root} has {plural(len(self.data.files), 'image')}, of which {len(self.train)} are to be "
                f"trained on; {LEAST} are needed for a batch: add images of every class"
            )
        _ = self.work

    @property
    def folders(self) -> dict[str, UserData]:
        """What was read, by the name that reports and tables have for it."""
        read = {"data": self.data, "clean": self.clean, "test": self.test}
        return {name: part for name, part in read.items() if part is not None}

    @cached_property
    def clean_images(self) -> ImageSet | None:
        if self.clean is None or not needs_clean(self.settings.defense):
            return None
        return matched(self.clean, self.data, "--clean", every_class=True)

    @cached_property
    def test_images(self) -> ImageSet | None:
        return None if self.test is None else matched(self.test, self.data, "--test")

    @cached_property
    def pictures(self) -> list[bytes]:
        """A key of each file's pixels."""
        return pictures(self.data.images.images)

    @cached_property
    def held_out(self) -> Tensor:
        """bool (N,): drawn by seed in class proportions, copies together; the last image of a class is never taken."""
        labels, chosen = self.data.images.labels, self.settings
        if self.test is not None:
            return torch.zeros(len(labels), dtype=torch.bool)
        return held_out(labels, self.pictures, chosen.holdout, chosen.seed)

    @cached_property
    def measured(self) -> Measured:
        """What accuracy is measured on: test images or held-out ones, without those that are trained on too."""
        trained = {key for key, out in zip(self.pictures, self.held_out.tolist(), strict=True) if not out}
        if self.clean_images is not None:
            trained.update(pictures(self.clean_images.images))
        if self.test_images is not None:
            new = unseen(pictures(self.test_images.images), trained)
            return Measured("test folder", new, int((~new).sum()))
        new = unseen(self.pictures, trained)
        return Measured("held-out part", self.held_out & new, int((self.held_out & ~new).sum()))

    @cached_property
    def train(self) -> ImageSet:
        return self.data.images.select(~self.held_out)

    @cached_property
    def work(self) -> Work:
        images = len(self.train) + (0 if self.clean_images is None else len(self.clean_images))
        classes, side = len(self.data.classes), self.data.images.image_size
        return work_for(self.settings.defense, self.settings.profile, images, classes, side)

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of `build_model` for the network."""
        work, size = self.work, self.data.images.image_size
        return {"name": work.model, "num_classes": len(self.data.classes), "image_size": size, "width": work.width,
                "mean": list(MEAN), "std": list(STD)}  # fmt: skip

    def request(self) -> dict[str, Any]:
        """All that decides the outcome, as JSON: an unfinished run goes on only where it is the same."""
        seen = {"data": self.data, "clean": self.clean if self.clean_images is not None else None, "test": self.test}
        chosen = self.settings
        return {
            **{f"{name} digest": None if part is None else digest(part) for name, part in seen.items()},
            **self.work.describe(),
            "seed": chosen.seed,
            "held out": chosen.holdout if self.test is None else 0.0,
            "held-out files": hashlib.sha256(bytes(self.held_out.tolist())).hexdigest(),
            "flip": chosen.flip,
        }

    def trainer(self, store: Store, progress: bool = False, checkpoint_every: float = 60.0) -> Trainer:
        return Trainer(
            work=self.work,
            classes=len(self.data.classes),
            image_size=self.data.images.image_size,
            seed=self.settings.seed,
            flip=self.settings.flip,
            device=chosen_device(self.device),
            store=store,
            key=hash_of(self.request()),
            checkpoint_every=checkpoint_every,
            progress=progress,
        )


def expected_seconds(plan: Plan) -> tuple[float, float]:
    """About how long scan and training take here, after a short measurement."""
    return seconds_for(plan.data, device=plan.device), plan.trainer(Store("unused")).expected_seconds()


def digest(data: UserData) -> str:
    """SHA-256 over pixels, labels, file names and class names."""
    state = hashlib.sha256(digest_of(data.images).encode())
    for name in (*data.files, "", *data.classes):
        state.update(os.fsencode(name) + b"\0")
    return state.hexdigest()


def defend(
    plan: Plan,
    out: str | Path,
    *,
    progress: bool = False,
    checkpoint_every: float = 60.0,
    scanner: Scanner | None = None,
) -> Delivery:
    """Scan the data, train with the defense, and write model, lists and report to `out`.

    A run that is stopped goes on where it was when it is asked for again, with the same result. Errors:
    InvalidValueError for a folder that is not free, FolderError where nothing can be written.
    """
    place = folders.expanded(out)
    with outfolder.working_in(place, plan.request()) as work:
        seed, device = plan.settings.seed, chosen_device(plan.device)
        look = partial(scanner or scan, plan.data, seed=seed, device=device, progress=progress, out=work / "scan")
        found = scanned(work, look)
        fit = plan.trainer(Store(work), progress, checkpoint_every).fit(plan.train, plan.clean_images)
        delivery = judged(plan, found, fit)
        tables.write_suspects(place / tables.SUSPECTS, plan.data, delivery)
        tables.write_cleaned(place / tables.CLEANED, plan.data.files, delivery.removed)
        tables.write_skipped(place / SKIPPED, plan.folders)
        every = max(1, len(plan.pictures) // COMPARED)
        some, about = plan.data.images.images[::every][:COMPARED], _about(plan, delivery)
        files = write_model(place, delivery.model, plan.architecture, plan.data.classes, about, some)
        delivery = replace(delivery, files=files)
        write_report(place / outfolder.REPORT, plan.data, found, delivery)
    return delivery


def judged(plan: Plan, found: ScanReport, fit: Fit) -> Delivery:
    """The trained model looks at every file; what it says is put beside what the method and the scan say."""
    labels, count = plan.data.images.labels, len(plan.data.images)
    suspects = torch.zeros(count, dtype=torch.bool)
    suspects[~plan.held_out] = fit.suspects
    score = None
    if fit.score is not None:
        score = torch.full((count,), float("nan"))
        score[~plan.held_out] = fit.score
    predicted = predict(fit.model, plan.data.images.images).cpu()
    return Delivery(
        defense=plan.settings.defense,
        scan=found,
        model=fit.model.cpu(),
        suspects=suspects,
        score=score,
        target=fit.target,
        predicted=predicted,
        held_out=plan.held_out,
        removed=tables.removed_by_rule(found, labels, suspects, predicted),
        accuracy=_accuracy(plan, found, fit, predicted),
        settings=described(plan),
        measured=plan.measured.words,
        beside={name: part for name, part in plan.folders.items() if name != "data"},
        seconds=fit.seconds,
    )


def described(plan: Plan) -> dict[str, str]:
    """What was asked for and what came of it, in words."""
    work, chosen = plan.work, plan.settings
    held = "none, there is a test folder" if plan.test is not None else f"{chosen.holdout:.0%}, drawn by seed"
    return {
        "defense": f"{chosen.defense}: {check_defense(chosen.defense, clean=True).words}",
        "profile": chosen.profile,
        "trained on": f"{work.images} images, passes times {work.scale:.3g} of the profile's, whose data have "
        f"{work.reference}",
        "clean images": "none" if plan.clean_images is None else f"{len(plan.clean_images)}, put to the training set",
        "held out": held,
        "accuracy": plan.measured.words,
        "network": f"{work.model}, width {work.width}, {work.precision}",
        "mirrored images": "keep their label" if chosen.flip else "are not used",
        "seed": str(chosen.seed),
    }


def _accuracy(plan: Plan, found: ScanReport, fit: Fit, predicted: Tensor) -> Accuracy | None:
    classes, test = len(plan.data.classes), plan.test_images
    if test is not None:
        return accuracy(plan.measured, predict(fit.model, test.images).cpu(), test.labels, classes)
    return accuracy(plan.measured, predicted, plan.data.images.labels, classes, found.flagged)


def _about(plan: Plan, delivery: Delivery) -> dict[str, Any]:
    """What model.json says beside the network: the scan's verdict, and apart from it what the method guesses."""
    seen, guess, said = delivery.accuracy, delivery.target, tables.summary(plan.data, delivery.scan)
    told: dict[str, Any] | None = None
    if seen is not None:
        told = {"on": seen.where, "images": seen.images, "percent": round(seen.percent, 3)}
        if seen.where == "held-out part":
            told["note"] = "drawn from the suspect data, and possibly poisoned itself"
        if seen.unflagged is not None:
            told["percent without flagged files"] = round(seen.unflagged, 3)
        if seen.copies:
            told["not counted, copies of images trained on"] = seen.copies
    return {
        "accuracy": told,
        "accuracy_words": delivery.measured,
        "settings": dict(delivery.settings),
        "request": plan.request(),
        "scan": {key: said[key] for key in ("alarm", "words", "target", "target_votes", "flagged", "not_searched")},
        "method": {"name": delivery.defense, "target_guess": None if guess is None else plan.data.classes[guess]},
        "seconds": dict(delivery.seconds),
        "versions": provenance.versions(),
        "machine": provenance.machine(chosen_device(plan.device)),
    }
