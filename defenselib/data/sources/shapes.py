"""`shapes`: ten classes of 32x32 pictures, drawn on the fly, for tests and first tries without any data.

The shape decides the class. Its colour, size, position, rotation, mirror image and background are drawn alike for
every class, and a shape is as often lighter as darker than its background: no mean colour reveals the class.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from defenselib.data.info import KNOWN
from defenselib.data.types import Dataset, ImageSet, digest_of
from defenselib.errors import InvalidValueError
from defenselib.seeds import generator

SIZE = 32
TRAIN_SIZE = KNOWN["shapes"].train_size
TEST_SIZE = 500
_BLOCK = 500  # samples drawn at a time: bounds the memory, and makes a larger set begin with the smaller one

# All in pixels, or degrees, or units of [0, 1] brightness.
RADIUS = (8.5, 12.0)
SHIFT = 3.5
TURN = 20.0
CONTRAST = (0.35, 0.65)
TINT = 0.2
SLOPE = 0.12
NOISE = 0.03


def make_shapes(train: int = TRAIN_SIZE, test: int = TEST_SIZE, seed: int = 0) -> Dataset:
    """Draw a data set of `train` and `test` images; `seed` fixes every pixel.

    Classes are balanced to one image, and a larger set of the same seed begins with the smaller one.
    Errors: InvalidValueError for a size below 1.
    """
    if train < 1 or test < 1:
        raise InvalidValueError(f"shapes of {train} training and {test} test images were asked for; at least 1 each")
    sets = (_draw(train, seed, "train"), _draw(test, seed, "test"))
    return Dataset("shapes", *sets, classes=KNOWN["shapes"].classes, digest=digest_of(*sets))


def _draw(count: int, seed: int, split: str) -> ImageSet:
    images = torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.int64)
    for start in range(0, count, _BLOCK):
        source = generator(seed, "shapes", split, start // _BLOCK)
        drawn_labels = torch.rand(_BLOCK // 10, 10, generator=source).argsort(1).flatten()
        drawn = _render(drawn_labels, source)
        stop = min(start + _BLOCK, count)
        images[start:stop] = drawn[: stop - start]
        labels[start:stop] = drawn_labels[: stop - start]
    return ImageSet(images, labels)


def _render(labels: Tensor, source: torch.Generator) -> Tensor:
    """uint8 (N, 3, 32, 32) pictures of the classes `labels` (N,)."""
    n = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=source)

    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    x = axis.view(1, 1, SIZE) - uniform(-SHIFT, SHIFT, 1, 1)
    y = axis.view(1, SIZE, 1) - uniform(-SHIFT, SHIFT, 1, 1)
    radius = uniform(*RADIUS, 1, 1)
    angle = uniform(-math.radians(TURN), math.radians(TURN), 1, 1)
    mirror = uniform(-1, 1, 1, 1).sign()
    u = (x * angle.cos() + y * angle.sin()) * mirror / radius
    v = (y * angle.cos() - x * angle.sin()) / radius
    distance = torch.empty(n, SIZE, SIZE)
    for label, name in enumerate(KNOWN["shapes"].classes):
        members = labels == label
        distance[members] = _SHAPES[name](u[members], v[members])
    mask = (0.5 - distance * radius).clamp(0, 1).unsqueeze(1)  # one pixel of soft edge

    light = uniform(0, 1, 1, 1, 1)
    other = (light + uniform(*CONTRAST, 1, 1, 1)) % 1  # differs by CONTRAST from `light`, up as often as down
    ground = light + uniform(-TINT, TINT, 3, 1, 1) / 2
    ground = ground + uniform(-SLOPE, SLOPE, 3, 1, 1) * axis.view(1, 1, 1, SIZE) / SIZE
    ground = ground + uniform(-SLOPE, SLOPE, 3, 1, 1) * axis.view(1, 1, SIZE, 1) / SIZE
    picture = ground + mask * (other + uniform(-TINT, TINT, 3, 1, 1) / 2 - ground)
    picture = picture + NOISE * torch.randn(picture.shape, generator=source)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def _box(u: Tensor, v: Tensor, width: float, height: float) -> Tensor:
    return torch.maximum(u.abs() - width, v.abs() - height)


def _star(u: Tensor, v: Tensor) -> Tensor:
    angle = torch.atan2(u, -v)
    fold = (angle + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5  # angle to the nearest of five tips
    radius = torch.hypot(u, v)
    along, across = radius * fold.cos(), radius * fold.sin().abs()
    return 0.45 * (along - 1.1) + 0.95 * across  # the flank that runs from a tip to a notch


def _chevron(u: Tensor, v: Tensor) -> Tensor:
    fold = v - u.abs()
    return torch.maximum((fold + 0.35).abs() * 0.707 - 0.28, torch.maximum(u.abs() - 0.95, -v - 1.0))


# Signed distances (below 0 inside) of shapes of radius 1 around the origin; u points right, v points down.
_SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disk": lambda u, v: torch.hypot(u, v) - 0.9,
    "ring": lambda u, v: (torch.hypot(u, v) - 0.75).abs() - 0.2,
    "square": lambda u, v: _box(u, v, 0.78, 0.78),
    "triangle": lambda u, v: torch.maximum(v - 0.6, 0.866 * u.abs() - 0.5 * v - 0.5),
    "star": _star,
    "plus": lambda u, v: torch.minimum(_box(u, v, 1.0, 0.3), _box(u, v, 0.3, 1.0)),
    "bar": lambda u, v: _box(u, v, 1.1, 0.3),
    "crescent": lambda u, v: torch.maximum(torch.hypot(u, v) - 1.0, 0.75 - torch.hypot(u - 0.5, v)),
    "half-disk": lambda u, v: torch.maximum(torch.hypot(u, v - 0.4) - 1.05, v - 0.4),
    "chevron": _chevron,
}
