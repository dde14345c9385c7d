"""Pictures of attacks."""

from __future__ import annotations

import numpy as np

from defenselib.plots import pictures


def test_gallery_has_a_row_a_name():
    images = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    figure = pictures.gallery({"clean": images, "badnets": images})
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["clean", "badnets"]


def test_captioned_has_a_picture_a_caption_and_hides_the_rest():
    images = {name: np.zeros((8, 8, 3), dtype=np.uint8) for name in ("clean", "badnets", "sig")}
    figure = pictures.captioned(images, columns=2)
    assert [axis.get_title() for axis in figure.axes] == ["clean", "badnets", "sig", ""]
    assert [bool(axis.images) for axis in figure.axes] == [True, True, True, False]
    assert pictures.captioned({}, "Attacks").nothing


def test_triggers_shows_the_picture_and_the_change():
    figure = pictures.triggers(["badnets", "blend"], count=2)
    words = [axis.get_ylabel() for axis in figure.axes[::2]]
    assert words == ["clean", "BadNets", "BadNets:\nchange x 4", "Blend", "Blend:\nchange x 4"]
