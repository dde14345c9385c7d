"""One is not many, in what is said of a folder."""

from __future__ import annotations

from pathlib import Path

import torch

from defenselib.audit.folder import read_folder
from defenselib.audit.results import Measured
from defenselib.audit.suspects import unjudged
from defenselib.plots.words import plural
from tests.audit.made import picture, plain
from tests.audit.test_suspects import delivered


def test_one_and_more() -> None:
    assert [plural(n, "image", "was", "were") for n in (0, 1, 2)] == ["0 images were", "1 image was", "2 images were"]
    assert plural(1, "image") == "1 image"


def test_one_picture_is_told_as_one(tmp_path: Path) -> None:
    root = plain(tmp_path)
    picture(50, mode="L").save(root / "a" / "grey.png")
    picture(51, side=40).save(root / "b" / "large.png")
    (root / "a" / "link.png").symlink_to(root / "b" / "1.png")
    said = " ".join(read_folder(root).notes)
    assert "1 image was converted from L to RGB" in said and "; 1 was resized" in said
    assert "1 symbolic link is read as the file that it stands for" in said
    one = Measured("held-out part", torch.tensor([True, False]), 1).words
    assert one.startswith("measured on 1 image of the held-out part; 1 more is pixel by pixel an image")


def test_without_a_defense_nothing_is_said_of_what_it_judged() -> None:
    held = torch.arange(4) < 1
    assert unjudged(delivered(4, held_out=held)).startswith("1 held-out file was not judged by the defense")
    said = unjudged(delivered(4, held_out=held, defense="none"))
    assert said == "1 held-out file was not trained on; the scan looked at every file"
