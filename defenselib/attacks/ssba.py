"""Sample-specific invisible attack, SSBA or ISSBA (Li et al., ICCV 2021): a secret hidden by an encoder is the trigger.

Encoder and decoder are those of BackdoorBench, with the residual output of the paper: G(x) = clamp(x + E(secret, x)).
They are trained on the clean training set with random secrets; without a perceptual loss, which needs a network
trained on other data.

They are a StegaStamp for small images. As in the original (Tancik et al., CVPR 2020) the encoder gives a residual,
inputs are centred and weights start from Kaiming's normal distribution: uncentred, or from torch's default, the secret
is not found for thousands of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.attacks.base import Plan, Preset, TrainedAttack
from defenselib.attacks.bch import BITS, secret_bits
from defenselib.attacks.networks import TensorDict, by_chunks, initialised, precision_of, restored, tensors_of
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, check_counts, check_fields, check_positive, check_range
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.supervised import check_finite, descend
from defenselib.seeds import generator

SIDE = 16  # of the map that the secret becomes
REPORTED = 2000  # training images that the quality of the trained encoder is measured on


class Encoder(nn.Module):
    """U-Net E(secret, x): bits (N, bits) of 0 and 1, images (N, 3, H, W) in [0, 1] to the residual r (N, 3, H, W).

    size: side of the images, a multiple of 16. The residual lies in (-1, 1) by a tanh, which is nearly the identity on
    residuals that nobody sees; it is float32 whatever the weights are.
    """

    def __init__(self, size: int, bits: int) -> None:
        super().__init__()
        self.scale = size // SIDE
        self.secret = nn.Linear(bits, SIDE * SIDE * 3)
        self.first = _convolution(6, 32)
        self.down = nn.ModuleList(_convolution(a, b, 2) for a, b in ((32, 32), (32, 64), (64, 128), (128, 256)))
        up = ((256, 128), (128, 64), (64, 32), (32, 32))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 2) for a, b in up)
        joined = ((256, 128), (128, 64), (64, 32), (70, 32))
        self.merge = nn.ModuleList(_convolution(a, b) for a, b in joined)
        self.last = _convolution(32, 32)
        self.residual = nn.Conv2d(32, 3, 1)
        _kaiming(self)

    def forward(self, bits: Tensor, images: Tensor) -> Tensor:
        spread = F.relu(self.secret(bits - 0.5)).view(-1, 3, SIDE, SIDE)
        spread = F.interpolate(spread, scale_factor=self.scale, mode="nearest")
        inputs = torch.cat([spread.expand(len(images), -1, -1, -1), images - 0.5], 1)
        maps = [F.relu(self.first(inputs))]
        for down in self.down:
            maps.append(F.relu(down(maps[-1])))
        x = maps.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            # a 2x2 kernel keeps the size with one column on the right and one row at the bottom
            x = F.relu(up(F.pad(F.interpolate(x, scale_factor=2, mode="nearest"), (0, 1, 0, 1))))
            skips = [maps.pop()] if len(maps) > 1 else [maps.pop(), inputs]
            x = F.relu(merge(torch.cat([*skips, x], 1)))
        return self.residual(F.relu(self.last(x))).float().tanh()


class Decoder(nn.Module):
    """Reads the secret: images (N, 3, H, W) in [0, 1] to logits (N, bits)."""

    def __init__(self, size: int, bits: int) -> None:
        super().__init__()
        shapes = ((3, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 2), (64, 128, 2), (128, 128, 2))
        self.layers = nn.ModuleList(_convolution(*shape) for shape in shapes)
        side = -(-size // 32)
        self.hidden = nn.Linear(128 * side * side, 512)
        self.bits = nn.Linear(512, bits)
        _kaiming(self)

    def forward(self, images: Tensor) -> Tensor:
        x = images - 0.5
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.bits(F.relu(self.hidden(x.flatten(1)))).float()


def _convolution(inside: int, outside: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride, padding=1)


def _kaiming(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def clamped(images: Tensor) -> Tensor:
    """Images clamped to [0, 1]; gradients pass as if they were not, else an early, large residual learns no more."""
    return images + (images.clamp(0, 1) - images).detach()


@dataclass(frozen=True, kw_only=True)
class SampleSpecific(TrainedAttack):
    """floor8(clamp(x + E(secret, x))): one secret, another residual on every image.

    secret: 1 to 7 ASCII characters, encoded in 100 bits by a BCH code (127, t = 5). Training: cross-entropy of the bits
    that the decoder reads, plus image_weight * mean(r^2), which sets in `wait` steps after a batch was first read with
    more than `read_first` of its bits right, and grows over `ramp` steps. Adam with `learning_rate`.
    `trained` holds beside the networks "bit_accuracy" and "psnr" (dB), the decoder's share of right bits and the
    images' fidelity on stored training images with the secret, and "largest_residual" (grey levels).
    Raises InvalidValueError.
    """

    name: ClassVar[str] = "ssba"
    presets: ClassVar[Mapping[str, Preset]] = {
        "asd": Preset(Plan(0.05, 3, "bernoulli-nontarget")),
        "aabl": Preset(Plan(0.1, 0, "exact-all")),
        "dst_dbr": Preset(Plan(0.1, 0, "exact-nontarget")),
    }

    secret: str = "a"
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-4
    image_weight: float = 10.0
    read_first: float = 0.9
    wait: int = 1000
    ramp: int = 3000

    def __post_init__(self) -> None:
        super().__post_init__()
        secret_bits(self.secret)
        check_range("read_first", self.read_first, 0.0, 1.0)
        check_counts(self, "epochs", "batch_size", "ramp")
        check_fields(self, 0.0, float("inf"), "image_weight", "wait")
        check_positive(self, "learning_rate")
        if self.image_size % SIDE:
            raise InvalidValueError(f"image_size is {self.image_size}, {self.name!r} needs a multiple of {SIDE}")

    def learned_from(self, target: int | None) -> dict[str, object]:
        # One encoder serves every target class. The secret is only used in what is measured at the end.
        return super().learned_from(None)

    def learn(self, train: ImageSet, target: int | None, context: Context) -> TensorDict:
        stage = "ssba"
        start = context.generator(f"{stage}/init")
        encoder = initialised(partial(Encoder, self.image_size, BITS), start)
        decoder = initialised(partial(Decoder, self.image_size, BITS), start)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], self.learning_rate, fused=True)
        order, secrets = context.generator(f"{stage}/order"), context.generator(f"{stage}/secrets")
        since = torch.full((), -1.0, device=context.device)  # steps since the secret was first read; -1: not yet
        state = {"encoder": encoder, "decoder": decoder, "optimizer": optimizer, "since": since}
        for _ in context.epochs(stage, self.epochs, **state):
            total = torch.zeros((), device=context.device)
            for index in shuffled(len(train), self.batch_size, order):
                images = to_float(train.images[index])
                bits = torch.randint(0, 2, (len(index), BITS), generator=secrets, device=context.device).float()
                with context.autocast():
                    residual = encoder(bits, images)
                    read = decoder(clamped(images + residual))
                loss = F.binary_cross_entropy_with_logits(read, bits)
                loss = loss + self._weight(since) * residual.square().mean()
                total += descend(loss, optimizer)
                found = ((read > 0) == bits.bool()).float().mean() > self.read_first
                since.copy_(torch.where((since >= 0) | found, since + 1, since))
            check_finite(total.item(), stage)
        tensors = tensors_of(encoder, "encoder", context.precision) | tensors_of(decoder, "decoder")
        return tensors | self.with_trained(tensors).quality(train.images[:REPORTED])

    def _weight(self, since: Tensor) -> Tensor:
        """Weight of the image loss, `since` steps after the secret was first read."""
        return self.image_weight * ((since - self.wait) / self.ramp).clamp(0, 1)

    def quality(self, images: Tensor) -> TensorDict:
        """How well the secret is hidden and read: bit_accuracy in [0, 1], psnr in dB, largest_residual in levels."""
        stored = self(images)
        difference = stored.float() - images.float()
        right = (self.read(stored) == self._bits(images.device).bool()).float().mean()
        psnr = 10 * torch.log10(255**2 / difference.square().mean().clamp_min(1e-9))
        return {"bit_accuracy": right, "psnr": psnr, "largest_residual": difference.abs().max()}

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """The decoder's bits, bool (N, 100), of uint8 images (N, 3, H, W)."""
        make = partial(Decoder, self.image_size, BITS)
        decoder = restored(make, self.ready(), "decoder", images.device)
        return torch.cat([decoder(to_float(part)) > 0 for part in images.split(500)])

    def untrained(self, precision: str = "bf16") -> Self:
        """Ready to use with networks as initialised: for measurements of speed and shape."""
        stream = generator(self.seed, "ssba/untrained")
        encoder = initialised(partial(Encoder, self.image_size, BITS), stream)
        return self.with_trained(tensors_of(encoder, "encoder", precision))

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(images)
        encoder = self._encoder(images.device)
        bits = self._bits(images.device).to(precision_of(encoder))

        def put(images: Tensor) -> Tensor:
            residual = encoder(bits, to_float(images).to(bits.dtype))
            return (images.float() + 255 * residual).clamp_(0, 255).to(torch.uint8)  # rounds down

        return by_chunks(put, images)

    def _bits(self, device: torch.device) -> Tensor:
        return torch.tensor([secret_bits(self.secret)], dtype=torch.float32, device=device)

    def _encoder(self, device: torch.device) -> Encoder:
        """E on the device, made once."""
        trained = self.ready()
        if device not in self._made:
            self._made[device] = restored(partial(Encoder, self.image_size, BITS), trained, "encoder", device)
        return self._made[device]

    @cached_property
    def _made(self) -> dict[torch.device, Encoder]:
        return {}
