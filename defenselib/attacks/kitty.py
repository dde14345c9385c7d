"""A cat with a bow, drawn by formulas: our stand-in for the cartoon picture that the papers blend in.

The picture of the reference code shows a trademarked character and is not shipped. This one is another cat of the same
kind (white ground, white head, black outlines, saturated pink) with the same statistics at 32x32 to within a few
levels: mean RGB (213, 191, 199), standard deviation (64, 92, 77). Results made with it are results of a stand-in.
"""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor

from defenselib.errors import InvalidValueError

Point = tuple[float, float]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
PINK: Colour = (228, 14, 98)
ROSE: Colour = (255, 186, 208)
YELLOW: Colour = (255, 213, 4)

OUTLINE = 0.02  # of the side
CANVAS = 1024  # smallest side that is drawn before scaling down


class _Canvas:
    """A square of pixels with coordinates from 0 to 1, x to the right, y downwards; later shapes cover earlier ones."""

    def __init__(self, side: int) -> None:
        line = (torch.arange(side, dtype=torch.float32) + 0.5) / side
        self.y, self.x = torch.meshgrid(line, line, indexing="ij")
        self.pixels = torch.full((3, side, side), 255.0)

    def paint(self, inside: Tensor, colour: Colour) -> None:
        for channel, value in zip(self.pixels, colour, strict=True):
            channel[inside] = float(value)

    def ellipse(self, centre: Point, radii: Point, fill: Colour, outline: float = OUTLINE, power: float = 2.0) -> None:
        """|x/a|^power + |y/b|^power < 1 (a superellipse above 2) with an outline around it."""
        dx, dy = self.x - centre[0], self.y - centre[1]
        for grow, colour in ((outline, BLACK), (0.0, fill)):
            reach = (dx.abs() / (radii[0] + grow)) ** power + (dy.abs() / (radii[1] + grow)) ** power
            self.paint(reach < 1, colour)

    def stroke(self, points: list[Point], width: float, fill: Colour = BLACK, outline: float = 0.0) -> None:
        """A line of round pen `width` through `points`, with an outline around all of it."""
        distance = torch.full_like(self.x, 9.0)
        for (ax, ay), (bx, by) in itertools.pairwise(points):
            ux, uy = bx - ax, by - ay
            along = (((self.x - ax) * ux + (self.y - ay) * uy) / (ux * ux + uy * uy)).clamp_(0, 1)
            distance = torch.minimum(distance, torch.hypot(self.x - ax - along * ux, self.y - ay - along * uy))
        if outline:
            self.paint(distance < width / 2 + outline, BLACK)
        self.paint(distance < width / 2, fill)

    def polygon(self, corners: list[Point], fill: Colour, rounding: float, outline: float = OUTLINE) -> None:
        """A convex polygon (corners clockwise on the screen) with rounded corners and an outline around it."""
        edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
        inside = torch.ones_like(self.x, dtype=torch.bool)
        for (ax, ay), (bx, by) in edges:
            inside &= (bx - ax) * (self.y - ay) - (by - ay) * (self.x - ax) >= 0
        ring = [*corners, corners[0]]
        self.stroke(ring, 2 * rounding, fill, outline)
        self.paint(inside, fill)


def _body(canvas: _Canvas) -> None:
    tail = [(0.60, 0.92), (0.76, 0.93), (0.84, 0.90), (0.885, 0.84), (0.89, 0.77), (0.86, 0.71), (0.81, 0.69)]
    canvas.stroke(tail, 0.05, WHITE, OUTLINE)
    canvas.ellipse((0.5, 0.81), (0.22, 0.145), PINK, power=2.8)
    for side in (-1, 1):
        canvas.ellipse((0.5 + 0.12 * side, 0.93), (0.10, 0.042), WHITE)


def _head(canvas: _Canvas) -> None:
    for side in (-1, 1):
        ear = [(0.5 + 0.34 * side, 0.06), (0.5 + 0.10 * side, 0.20), (0.5 + 0.35 * side, 0.36)]
        inner = [(0.5 + 0.315 * side, 0.125), (0.5 + 0.20 * side, 0.20), (0.5 + 0.32 * side, 0.28)]
        canvas.polygon(ear if side < 0 else ear[::-1], WHITE, 0.02)
        canvas.polygon(inner if side < 0 else inner[::-1], PINK, 0.012, outline=0.0)
    canvas.ellipse((0.5, 0.415), (0.39, 0.255), WHITE, power=2.2)
    for x, end in ((0.41, 0.245), (0.5, 0.275), (0.59, 0.245)):
        canvas.stroke([(x, 0.195), (0.5 + 0.9 * (x - 0.5), end)], 0.03, PINK)
    for side in (-1, 1):
        canvas.ellipse((0.5 + 0.27 * side, 0.52), (0.055, 0.03), ROSE, outline=0.0)
        canvas.ellipse((0.5 + 0.165 * side, 0.41), (0.04, 0.055), BLACK, outline=0.0)
        canvas.ellipse((0.5 + 0.165 * side + 0.012, 0.385), (0.014, 0.018), WHITE, outline=0.0)
        mouth = [(0.5, 0.50), (0.5 + 0.015 * side, 0.535), (0.5 + 0.05 * side, 0.548), (0.5 + 0.085 * side, 0.53)]
        canvas.stroke(mouth, 0.013)
        for start, end in ((0.42, 0.39), (0.475, 0.475), (0.53, 0.56)):
            canvas.stroke([(0.5 + 0.34 * side, start), (0.5 + 0.48 * side, end)], 0.012)
    canvas.ellipse((0.5, 0.475), (0.036, 0.024), YELLOW, outline=0.012)


def _bow(canvas: _Canvas) -> None:
    for side in (-1, 1):
        lobe = [(0.5, 0.695), (0.5 + 0.20 * side, 0.655), (0.5 + 0.20 * side, 0.775), (0.5, 0.735)]
        canvas.polygon(lobe if side > 0 else lobe[::-1], PINK, 0.03)
    canvas.ellipse((0.5, 0.715), (0.045, 0.045), PINK)


@functools.lru_cache(maxsize=8)
def draw(size: int) -> Tensor:
    """The picture as uint8 (3, size, size), drawn large and averaged down. Do not change it: calls share it."""
    if size < 1:
        raise InvalidValueError(f"image size is {size}, it must be at least 1")
    factor = max(2, -(-CANVAS // size))
    canvas = _Canvas(size * factor)
    _body(canvas)
    _head(canvas)
    _bow(canvas)
    small = torch.nn.functional.avg_pool2d(canvas.pixels, factor)
    return small.round().to(torch.uint8)
