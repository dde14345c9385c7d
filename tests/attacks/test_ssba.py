"""The sample-specific attack: its secret, its networks, and that the secret can be read."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib import attacks
from defenselib.attacks.bch import generator_polynomial, secret_bits
from defenselib.attacks.networks import by_chunks
from defenselib.attacks.ssba import Decoder, Encoder, SampleSpecific
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, NotPreparedError, TrainingDivergedError
from defenselib.learning.context import Context
from defenselib.models import Classifier, build_model

from .conftest import images_of, random_dataset

PUBLISHED = "0110000100100000001000000010000000100000001000000010000010000110100100111110000101000111111000000000"


def tiny_model() -> Classifier:
    return build_model("resnet10", 10, 32, width=8)


def made(**hyper: Any) -> SampleSpecific:
    attack = attacks.create("ssba", **hyper)
    assert isinstance(attack, SampleSpecific)
    return attack


def test_secret_of_the_attack() -> None:
    assert "".join(map(str, secret_bits("a"))) == PUBLISHED


def test_every_secret_is_a_code_word() -> None:
    """Code words are linear, differ in at least 11 bits, and vanish at a, a^3, ..., a^9."""
    powers = [1]
    for _ in range(126):
        shifted = powers[-1] << 1
        powers.append(shifted ^ 0b10001001 if shifted > 127 else shifted)
    words = [np.array(secret_bits(text)) for text in ("a", "b", "defense", "Z z", "0")]
    for word in words:
        assert word[91:].sum() == 0
        exponents = 90 - np.flatnonzero(word[:91])
        for root in (1, 3, 5, 7, 9):
            assert np.bitwise_xor.reduce([powers[root * e % 127] for e in exponents]) == 0
    assert min((one != two).sum() for one, two in itertools.combinations(words, 2)) >= 11
    assert generator_polynomial().bit_length() - 1 == 35


def test_networks_against_a_naive_pass() -> None:
    """Written out from BackdoorBench's table; 1.07 million parameters at 100 bits."""
    torch.manual_seed(0)
    net = Encoder(32, 100)
    assert sum(p.numel() for p in net.parameters()) == 1_069_315
    bits, x = torch.randint(0, 2, (2, 100)).float(), torch.rand(2, 3, 32, 32)
    spread = torch.relu((bits - 0.5) @ net.secret.weight.T + net.secret.bias).reshape(2, 3, 16, 16)
    inputs = torch.cat([spread.repeat_interleave(2, 2).repeat_interleave(2, 3), x - 0.5], 1)

    def conv(layer: Any, y: Tensor, stride: int = 1) -> Tensor:
        return torch.relu(F.conv2d(F.pad(y, (1, 1, 1, 1)), layer.weight, layer.bias, stride))

    def up(layer: Any, y: Tensor) -> Tensor:
        y = F.pad(y.repeat_interleave(2, 2).repeat_interleave(2, 3), (0, 1, 0, 1))
        return torch.relu(F.conv2d(y, layer.weight, layer.bias))

    c1 = conv(net.first, inputs)
    c2 = conv(net.down[0], c1, 2)
    c3 = conv(net.down[1], c2, 2)
    c4 = conv(net.down[2], c3, 2)
    y = conv(net.down[3], c4, 2)
    y = conv(net.merge[0], torch.cat([c4, up(net.up[0], y)], 1))
    y = conv(net.merge[1], torch.cat([c3, up(net.up[1], y)], 1))
    y = conv(net.merge[2], torch.cat([c2, up(net.up[2], y)], 1))
    y = conv(net.merge[3], torch.cat([c1, inputs, up(net.up[3], y)], 1))
    expected = torch.tanh(F.conv2d(conv(net.last, y), net.residual.weight, net.residual.bias))
    torch.testing.assert_close(net(bits, x), expected, atol=1e-5, rtol=1e-4)
    assert Encoder(64, 100)(bits, torch.rand(2, 3, 64, 64)).shape == (2, 3, 64, 64)
    for size, flat in ((32, 128), (48, 512), (64, 512)):
        decoder = Decoder(size, 100)
        assert decoder.hidden.in_features == flat
        assert decoder(torch.rand(2, 3, size, size)).shape == (2, 100)


def test_image_is_the_formula() -> None:
    images = images_of(6)
    attack = made().untrained("fp32")
    bits = torch.tensor([[float(bit) for bit in PUBLISHED]]).expand(6, -1)
    x = images.double() / 255
    residual = attack._encoder(images.device)(bits, x.float()).double()
    exact = 255 * (x + residual).clamp(0, 1)
    inside = (exact - exact.round()).abs() > 1e-3
    assert torch.equal(attack(images)[inside].long(), exact.floor()[inside].long())
    assert not torch.allclose(residual[0], residual[1], atol=1e-4)
    other = made(secret="b").with_trained(attack.ready())
    assert not torch.equal(other(images), attack(images))


def test_weight_of_the_image_loss() -> None:
    attack = made()
    weights = [float(attack._weight(torch.tensor(float(since)))) for since in (-1, 0, 1000, 1300, 2500, 4000, 9000)]
    assert weights == pytest.approx([0, 0, 0, 1, 5, 10, 10])


@pytest.mark.slow
def test_quality_by_hand() -> None:
    images = images_of(40)
    attack = made(epochs=1).prepare(random_dataset(64).train, None, Context(model_factory=tiny_model))
    found = attack.quality(images)
    stored = attack(images).double()
    error = ((stored - images.double()) ** 2).mean()
    assert float(found["psnr"]) == pytest.approx(float(10 * torch.log10(255**2 / error)), rel=1e-5)
    assert float(found["largest_residual"]) == float((stored - images.double()).abs().max())
    logits = attack.read(stored.to(torch.uint8)).numpy()
    bits = np.array([bit == "1" for bit in PUBLISHED])
    assert float(found["bit_accuracy"]) == pytest.approx((logits == bits).mean())
    assert {"bit_accuracy", "psnr", "largest_residual"} <= set(attack.ready())


@pytest.mark.demo
def test_training_hides_bits_that_the_decoder_reads() -> None:
    colours = images_of(64, size=1).expand(64, 3, 16, 16).contiguous()
    attack = made(image_size=16, epochs=150, batch_size=16, learning_rate=5e-4)
    train = ImageSet(colours, torch.arange(64) % 10)
    attack = attack.prepare(train, None, Context(model_factory=tiny_model))
    right = attack.read(attack(colours)) == torch.tensor([bit == "1" for bit in PUBLISHED])
    assert float(right.float().mean()) > 0.65  # the networks as initialised: 0.5


@pytest.mark.slow
def test_refusals() -> None:
    with pytest.raises(NotPreparedError):
        made()(images_of(1))
    for secret in ("", "eight ch", "ä"):
        with pytest.raises(InvalidValueError, match="secret is"):
            made(secret=secret)
    bad: list[dict[str, Any]] = [{"epochs": 0}, {"ramp": 0}, {"wait": -1}, {"read_first": 1.5}, {"image_weight": -1.0}]
    for hyper in [*bad, {"learning_rate": 0.0}, {"image_size": 40}]:
        with pytest.raises(InvalidValueError, match=next(iter(hyper))):
            made(**hyper)
    with pytest.raises(TrainingDivergedError, match="ssba"):
        made(epochs=2, learning_rate=1e30).prepare(random_dataset().train, None, Context(model_factory=tiny_model))


@pytest.mark.parametrize("count", [0, 1, 48, 49, 50, 110])
def test_chunks_have_one_shape_and_keep_the_order(count: int) -> None:
    shapes = set()

    def function(images: Tensor, partners: Tensor) -> Tensor:
        shapes.add((images.shape, partners.shape))
        return images // 2 + partners // 4

    images, partners = images_of(count), images_of(count, seed=1)
    assert torch.equal(by_chunks(function, images, partners), images // 2 + partners // 4)
    assert len(shapes) == min(count, 1)
