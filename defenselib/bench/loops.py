"""The inner loop of every method by name, on random images: what is measured, counted, and looked through for reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment, CutoutAugment
from defenselib.data.types import ImageSet
from defenselib.defenses.asd import ASD
from defenselib.defenses.distinguish import intra_class_epoch
from defenselib.defenses.dst import DST, mixed_cross_entropy
from defenselib.defenses.scores import adversarial_sce, local_gradient_ascent, nesterov
from defenselib.defenses.vab import VAB
from defenselib.defenses.vab_beneficiary import Beneficiary
from defenselib.defenses.vab_victim import PLAIN
from defenselib.errors import check_choice
from defenselib.experiments import profile as profiles
from defenselib.learning.adversarial import Adversary, adversarial_epoch
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.contrastive import (
    Contrastive,
    ProjectionHead,
    contrastive_views,
    encoder_epoch,
    simclr_loss,
)
from defenselib.learning.losses import ascent, symmetric_cross_entropy
from defenselib.learning.remixmatch import ReMixMatch
from defenselib.learning.semi_contrastive import semi_contrastive_loss
from defenselib.learning.semi_supervised import MixMatch, Trainee
from defenselib.learning.supervised import LossFunction, head_epoch, make_optimizer, supervised_epoch
from defenselib.learning.uda import UDA
from defenselib.models import Classifier, build_model
from defenselib.seeds import initialised

Steps = Callable[[int], object]  # does so many iterations
RATE = 2.0**-7  # float32 holds it, so that a CUDA graph has the same


@dataclass(frozen=True)
class Size:
    """How large a profile's iterations are: its network and precision, and images in a batch of supervised training
    (`batch`), of each kind in MixMatch (`mixed`), of contrastive training, of which each has two views (`pairs`)."""

    model: str = "resnet18"
    width: int = 64
    precision: str = "bf16"
    batch: int = 128
    mixed: int = 64
    pairs: int = 512

    @classmethod
    def of(cls, profile: str) -> Size:
        """The sizes of a profile in `PROFILES`."""
        batches = PROFILES[check_choice("profile", profile, PROFILES)]
        found = profiles.load(profile)
        return cls(found.model or cls.model, found.width or cls.width, found.precision, *batches)


PROFILES: Mapping[str, tuple[int, int, int]] = {"demo": (32, 32, 64), "laptop": (64, 64, 128), "gpu": (128, 64, 512)}


@dataclass(frozen=True)
class Bench:
    """Where loops run: `steps` of a size at most fit the random images of 32 pixels and ten classes."""

    size: Size
    context: Context
    train: ImageSet

    @classmethod
    def of(cls, size: Size, device: torch.device | str = "cpu", steps: int = 16) -> Bench:
        """Images, labels and weights are drawn from fixed seeds."""
        context = Context(
            model_factory=partial(build_model, size.model, width=size.width), device=device, precision=size.precision
        )
        count = steps * max(size.batch, size.mixed, size.pairs)
        images = torch.randint(
            0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        labels = (torch.arange(count) * 7) % 10
        return cls(size, context, ImageSet(images, labels).to(context.device).channels_last())

    def first(self, count: int) -> ImageSet:
        """The first images of all."""
        return ImageSet(self.train.images[:count], self.train.labels[:count])

    def positions(self, start: int, end: int) -> Tensor:
        """int64 positions, on the device."""
        return torch.arange(start, end, device=self.context.device)

    def trainee(self, kind: str = "sgd") -> Trainee:
        """A new network with its optimizer."""
        model = self.context.build_model()
        optimizer = make_optimizer(list(model.parameters()), kind, RATE if kind == "sgd" else RATE / 8)
        return Trainee(model, optimizer, self.train, self.context, Augment())


def _supervised(
    bench: Bench, kind: str = "sgd", loss: LossFunction = F.cross_entropy, augment: Augment | None = None
) -> Steps:
    it, batch = bench.trainee(kind), bench.size.batch
    how = augment or it.augment
    return lambda n: supervised_epoch(
        it.model, it.optimizer, bench.first(n * batch), bench.context, how, batch, loss_function=loss
    )


def _isolation(bench: Bench) -> Steps:
    model, batch, plain = bench.context.build_model(), bench.size.batch, Augment(0, flip=False)
    optimizer, loss = nesterov(model, RATE), partial(local_gradient_ascent, gamma=0.5)
    return lambda n: supervised_epoch(
        model, optimizer, bench.first(n * batch), bench.context, plain, batch, loss_function=loss
    )


def _virtual(bench: Bench) -> Steps:
    it, asd = bench.trainee(), ASD(virtual_batch_size=bench.size.batch, virtual_learning_rate=RATE)
    return lambda n: asd.virtual_model(replace(it, train=bench.first(n * bench.size.batch)))


def _pools(bench: Bench) -> tuple[Tensor, Tensor]:
    """Two halves of the samples, one used with labels and one without."""
    half = len(bench.train) // 2
    return bench.positions(0, half), bench.positions(half, 2 * half)


def _mixmatch(bench: Bench, kind: type[MixMatch | UDA] = MixMatch, **settings: Any) -> Steps:
    it, pools, learner = bench.trainee("adam"), _pools(bench), kind(batch_size=bench.size.mixed, **settings)
    return lambda n: replace(learner, iterations=n).train_epoch(it, *pools, 0)


def _remixmatch(bench: Bench) -> Steps:
    it, pools = bench.trainee("adam"), _pools(bench)
    head = it.model.head
    learner = ReMixMatch(head.in_features, head.out_features, bench.context, batch_size=bench.size.mixed, views=2)

    def steps(n: int) -> object:
        learner.iterations = n
        return learner.train_epoch(it, *pools, 0)

    return steps


def _beneficiary(bench: Bench) -> Beneficiary:
    vab = VAB()
    return Beneficiary(bench.trainee(), vab._mixing(), bench.size.batch, vab.views)


def _clean(bench: Bench) -> Steps:
    it = _beneficiary(bench)
    return lambda n: it.clean_epoch(bench.positions(0, n * it.batch_size))


def _suppression(bench: Bench) -> Steps:
    it, size = _beneficiary(bench), bench.size.batch
    victim = torch.full((len(bench.train), 10), 0.1, device=bench.context.device)

    def steps(n: int) -> object:  # as many steps as full batches of credible samples, and one
        credible, suspicious = bench.positions(0, n * size - 1), bench.positions(0, n * max(1, size // 8))
        return it.suppression_epoch(credible, suspicious, victim, 0.5, "both")

    return steps


def _contrastive(bench: Bench, semi: bool) -> Steps:
    settings = Contrastive(1, bench.size.pairs, RATE, blur=not semi, head_norm=not semi)
    coded = ImageSet(bench.train.images, 2 * bench.train.labels + bench.positions(0, len(bench.train)) % 2)

    def loss(z1: Tensor, z2: Tensor, codes: Tensor) -> Tensor:
        if not semi:
            return simclr_loss(z1, z2, settings.temperature)
        return semi_contrastive_loss(z1, z2, codes // 2, codes % 2 == 1, settings.temperature)

    stage, context = "ss-ctl" if semi else "simclr", bench.context
    model = context.build_model(stage)
    make_head = partial(ProjectionHead, model.head.in_features, norm=settings.head_norm)
    head = initialised(make_head, context.generator(f"{stage}/head")).to(context.device)
    optimizer = make_optimizer([*model.parameters(), *head.parameters()], "sgd", settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)

    def steps(n: int) -> object:
        part = ImageSet(*(item[: n * settings.batch_size] for item in (coded.images, coded.labels)))
        return encoder_epoch(stage, settings, loss, part, model, head, optimizer, schedule, context)

    return steps


def _head(bench: Bench) -> tuple[Classifier, torch.optim.Optimizer]:
    model = bench.context.build_model()
    return model, make_optimizer(list(model.head.parameters()), "sgd", RATE)


def _dst_linear(bench: Bench) -> Steps:
    (model, optimizer), context, train, size = _head(bench), bench.context, bench.train, bench.size.pairs
    poison, dst = bench.positions(0, len(train)) % 10 == 0, DST()
    views, draws = contrastive_views(dst.blur, context), context.generator("linear/views")

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return mixed_cross_entropy(logits, train.labels[index], poison[index], dst.poison_weight)

    def look(index: Tensor) -> Tensor:
        return views(train.images, index, draws)

    return lambda n: head_epoch(model.eval(), optimizer, bench.positions(0, n * size).split(size), look, loss, context)


def _dbd_linear(bench: Bench) -> Steps:
    (model, optimizer), context, train, size = _head(bench), bench.context, bench.train, bench.size.batch
    it = Trainee(model, optimizer, train, context, Augment())
    draws = context.generator("linear/augment")

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return symmetric_cross_entropy(logits, train.labels[index]).mean()

    def look(index: Tensor) -> Tensor:
        return it.look(index, draws)

    return lambda n: head_epoch(model.train(), optimizer, bench.positions(0, n * size).split(size), look, loss, context)


def _spread(bench: Bench) -> Steps:
    it, size = bench.trainee(), bench.size.batch
    return lambda n: intra_class_epoch(it.model, it.optimizer, bench.first(n * size), size, bench.context)


def _split(bench: Bench) -> Steps:
    model, size = bench.context.build_model(), bench.size.batch

    def steps(n: int) -> object:
        part = bench.first(n * size)
        return adversarial_sce(model, part.images, part.labels, bench.context, batch_size=size)

    return steps


def _ranking(bench: Bench) -> Steps:
    model, size, labels = bench.context.build_model(), bench.size.batch, bench.train.labels

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return symmetric_cross_entropy(logits, labels[index])

    return lambda n: infer(model, bench.first(n * size).images, bench.context, loss, batch_size=size)


def _adversarial(bench: Bench) -> Steps:
    it, size = bench.trainee(), bench.size.batch
    return lambda n: adversarial_epoch(
        it.model, it.optimizer, bench.first(n * size), bench.context, it.augment, Adversary(), size
    )


# One entry for each different inner loop; several methods share the first ones.
LOOPS: Mapping[str, Callable[[Bench], Steps]] = {
    "supervised (SGD)": _supervised,
    "MixMatch (ASD, BSD, DBD)": _mixmatch,
    "ranking (ASD, BSD, DBD)": _ranking,
    "ASD: virtual model": _virtual,
    "ASD: UDA": partial(_mixmatch, kind=UDA, unlabelled_ratio=1),
    "ASD: ReMixMatch": _remixmatch,
    "BSD: altruist": partial(_supervised, kind="adam"),
    "V&B: victim": partial(_supervised, kind="adam", augment=PLAIN),
    "V&B: clean": _clean,
    "V&B: suppression": _suppression,
    "D-ST, D-BR: spread": _spread,
    "D-ST: contrastive": partial(_contrastive, semi=True),
    "D-ST: linear": _dst_linear,
    "D-BR: unlearn": partial(_supervised, loss=ascent),
    "A-ABL: split": _split,
    "A-ABL: adversarial": _adversarial,
    "ABL: isolation": _isolation,
    "ABL: finetuning": partial(_supervised, augment=CutoutAugment()),
    "DBD: SimCLR": partial(_contrastive, semi=False),
    "DBD: linear": _dbd_linear,
}
