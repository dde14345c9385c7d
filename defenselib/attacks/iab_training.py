"""Networks, losses and training of the input-aware attack (Nguyen and Tran 2020, Sec. 3), with a classifier of its own.

Symbols: P = pattern network, M = mask network, o = output in (0, 1), m = steep mask, d = distance of two samples.

Stage 1 (Sec. 3.3) trains M, which looks at no label: one for all target classes. Stage 2 trains P against a classifier
that learns at the same time. The authors' code never zeroes P's gradients, which then
add up over the whole run; here they are zeroed before every step.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from defenselib.attacks.networks import TensorDict, initialised, restored, tensors_of
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.augment.transforms import Rotate, draw
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.supervised import Schedule, check_finite, descend, make_optimizer
from defenselib.models.classifier import BatchNorm2d

# Keeps outputs inside (0, 1), and quotients finite.
EPS = 1e-7
_ENCODER = ((3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 128))
_DECODER = ((128, 128), (128, 64), (64, 64), (64, 32), (32, 32))
_HALVE_AFTER, _DOUBLE_BEFORE = (1, 3, 5), (7, 9, 11)
# Mean and standard deviation by channel of what the generators are fed; the authors normalise no traffic signs.
NORMALISATIONS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "cifar": ((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
BETAS = (0.5, 0.9)


class Generator(nn.Module):
    """Encoder and decoder of 3x3 convolutions with BatchNorm, no skips: images (N, 3, H, W) to o (N, channels, H, W).

    channels: 3 for P, 1 for M. H and W must be divisible by 8. The output is float32 whatever the weights are.
    """

    def __init__(self, channels: int, folded: bool = False) -> None:
        super().__init__()
        self.channels = channels
        shapes = (*_ENCODER, *_DECODER, (32, channels))
        self.layers = nn.ModuleList(_convolution(a, b) if folded else _normalised(a, b) for a, b in shapes)

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.layers) - 1
        for position, layer in enumerate(self.layers):
            if position in _DOUBLE_BEFORE:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = layer(x)
            if position < last:
                x = F.relu(x, inplace=True)
            if position in _HALVE_AFTER:
                x = F.max_pool2d(x, 2)
        return squash(x.float())

    def folded(self) -> Generator:
        """The same function in evaluation mode, BatchNorm folded into the convolutions."""
        with torch.device("meta"):  # neither memory nor draws for weights that are replaced
            net = Generator(self.channels, folded=True)
        with torch.no_grad():
            for position, layer in enumerate(self.layers):
                convolution, norm = copy.deepcopy(layer).eval().children()
                assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
                net.layers[position] = fuse_conv_bn_eval(convolution, norm)
        return net.eval()


def _convolution(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=1)


def _normalised(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inside, outside), BatchNorm2d(outside, momentum=0.05))


def squash(x: Tensor) -> Tensor:
    """Any number to (0, 1): tanh(x) / (2 + 1e-7) + 1/2."""
    return x.tanh() / (2 + EPS) + 0.5


def steep(o: Tensor) -> Tensor:
    """The mask of M's output, nearly 0 below 1/2 and nearly 1 above: m = squash(20 o - 10)."""
    return squash(20 * o - 10)


def blend(x: Tensor, pattern: Tensor, mask: Tensor) -> Tensor:
    """x + (pattern - x) * mask: x where the mask is 0, the pattern where it is 1."""
    return x + (pattern - x) * mask


def distance(a: Tensor, b: Tensor) -> Tensor:
    """d(a, b) of every sample, (N,): root of the mean squared difference."""
    # The root has no finite slope at 0, where saturated masks can come to lie.
    return (a - b).square().flatten(1).mean(1).clamp_min(EPS**2).sqrt()


def diversity_loss(x1: Tensor, x2: Tensor, out1: Tensor, out2: Tensor) -> Tensor:
    """Mean of d(x1, x2) / d(out1, out2): small where different inputs get different outputs (Eq. 6)."""
    return (distance(x1, x2) / (distance(out1, out2) + EPS)).mean()


def density_loss(mask: Tensor, density: float) -> Tensor:
    """Mean of relu(m - density) over pixels: a bound on every pixel, not on their mean."""
    return F.relu(mask - density).mean()


def normalise(x: Tensor, normalisation: str) -> Tensor:
    """(x - mean) / std by channel; x float (N, 3, H, W) in [0, 1]."""
    mean, std = _constants(normalisation, x.device)
    return (x - mean) / std


@functools.lru_cache(maxsize=8)
def _constants(normalisation: str, device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(item, device=device).view(1, 3, 1, 1) for item in NORMALISATIONS[normalisation])
    return mean, std


@dataclass(frozen=True)
class Pairs:
    """How images come: every image once an epoch, beside another one of an order of its own; cropped from a zero
    border of `padding` pixels, turned by up to `degrees`, flipped where the data set allows it."""

    batch_size: int
    padding: int
    degrees: float
    normalisation: str

    def epoch(self, train: ImageSet, context: Context, stage: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches x1 float (B, 3, H, W) in [0, 1], the labels of x1, x2 as x1."""
        orders = [context.generator(f"{stage}/order{side}") for side in (1, 2)]
        views = context.generator(f"{stage}/augment")
        for one, two in zip(*(shuffled(len(train), self.batch_size, order) for order in orders), strict=True):
            yield self._views(train, one, context, views), train.labels[one], self._views(train, two, context, views)

    def _views(self, train: ImageSet, index: Tensor, context: Context, views: torch.Generator) -> Tensor:
        crop, turn = Augment(self.padding, "zeros", flip=context.flip), Rotate(self.degrees)
        return turn(to_float(crop(train.images, index, views)), draw(turn, len(index), views))


@dataclass(frozen=True)
class MaskTraining:
    """Stage 1: `density_weight` times the excess of mask pixels over `density`, plus the diversity of masks."""

    pairs: Pairs
    epochs: int
    learning_rate: float
    milestones: tuple[int, ...]
    density: float
    density_weight: float

    def run(self, train: ImageSet, context: Context) -> TensorDict:
        """M with BatchNorm folded in, as "mask.*"."""
        stage = "iab/mask"
        net = initialised(lambda: Generator(1), context.generator(f"{stage}/init"))
        optimizer, schedule = _adam(net, self.learning_rate, self.milestones)
        for _ in context.epochs(stage, self.epochs, net=net, optimizer=optimizer, schedule=schedule):
            net.train()
            total = torch.zeros((), device=context.device)
            for x1, _, x2 in self.pairs.epoch(train, context, stage):
                x1, x2 = (normalise(x, self.pairs.normalisation) for x in (x1, x2))
                with context.autocast():
                    o1, o2 = net(x1), net(x2)
                loss = self.loss(x1, x2, steep(o1), steep(o2))
                total += descend(loss, optimizer)
            check_finite(total.item(), stage)
            schedule.step()
        return tensors_of(net.folded(), "mask")

    def loss(self, x1: Tensor, x2: Tensor, m1: Tensor, m2: Tensor) -> Tensor:
        """What stage 1 minimises; x normalised, m of the same samples."""
        return self.density_weight * density_loss(m1, self.density) + diversity_loss(x1, x2, m1, m2)


@dataclass(frozen=True)
class JointTraining:
    """Stage 2: in every batch the share `backdoor_share` gets its own trigger and the target label, as many others
    a trigger made for another image, with their labels kept. Cross-entropy on all, plus `diversity_weight` times the
    diversity of patterns."""

    pairs: Pairs
    epochs: int
    learning_rate: float
    milestones: tuple[int, ...]
    classifier_learning_rate: float
    classifier_milestones: tuple[int, ...]
    backdoor_share: float
    diversity_weight: float

    def run(self, train: ImageSet, target: int, context: Context, masks: Mapping[str, Tensor]) -> TensorDict:
        """P and M with BatchNorm folded in, as "pattern.*" and "mask.*", in the precision of the experiment."""
        stage = "iab/joint"
        mask = restored(lambda: Generator(1, folded=True), masks, "mask", context.device)
        net = initialised(lambda: Generator(3), context.generator(f"{stage}/init"))
        classifier = context.build_model("iab-classifier")
        optimizer, schedule = _adam(net, self.learning_rate, self.milestones)
        learner = make_optimizer(list(classifier.parameters()), "sgd", self.classifier_learning_rate, 0.9, 5e-4)
        rate = Schedule("step", self.classifier_milestones).attach(learner, self.epochs, 1)
        state = {"net": net, "optimizer": optimizer, "schedule": schedule}
        state |= {"model": classifier, "learner": learner, "rate": rate}
        for _ in context.epochs(stage, self.epochs, **state):
            net.train()
            classifier.train()
            total = torch.zeros((), device=context.device)
            for x1, labels, x2 in self.pairs.epoch(train, context, stage):
                loss = self._loss(x1, labels, x2, target, net, mask, classifier, context)
                for each in (optimizer, learner):
                    each.zero_grad(set_to_none=True)
                loss.backward()
                for each in (optimizer, learner):
                    each.step()
                total += loss.detach()
            check_finite(total.item(), stage)
            schedule.step()
            rate.step()
        frozen = tensors_of(net.folded(), "pattern", context.precision)
        return frozen | tensors_of(mask, "mask", context.precision)

    def _loss(
        self,
        x1: Tensor,
        labels: Tensor,
        x2: Tensor,
        target: int,
        net: nn.Module,
        mask: nn.Module,
        classifier: nn.Module,
        context: Context,
    ) -> Tensor:
        count = int(self.backdoor_share * len(x1))
        own, other = (normalise(x, self.pairs.normalisation) for x in (x1[:count], x2[count : 2 * count]))
        diversity = torch.zeros((), device=x1.device)
        images = x1
        if count:  # an incomplete last batch may be too small to hold one
            with context.autocast():
                patterns = [net(own), net(other)]
                with torch.no_grad():
                    masks = steep(mask(torch.cat([own, other])))
            images = torch.cat([blend(x1[: 2 * count], torch.cat(patterns), masks), x1[2 * count :]])
            diversity = diversity_loss(own, other, *(normalise(p, self.pairs.normalisation) for p in patterns))
        with context.autocast():
            logits = classifier(images)
        wanted = torch.cat([torch.full_like(labels[:count], target), labels[count:]])
        return F.cross_entropy(logits.float(), wanted) + self.diversity_weight * diversity


def _adam(
    net: nn.Module, learning_rate: float, milestones: tuple[int, ...]
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Adam and its rate, divided by ten at the milestones; to be stepped once an epoch."""
    optimizer = torch.optim.Adam(net.parameters(), learning_rate, BETAS, fused=True)
    return optimizer, Schedule("step", milestones).attach(optimizer, 1, 1)
