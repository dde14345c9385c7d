"""Networks that a page computes: the same probabilities as torch, and a trigger that is put on as the attack does."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from defenselib import attacks, build_model
from defenselib.errors import InvalidValueError
from defenselib.report.widgets import ask, export
from defenselib.report.widgets.attacks import encoded
from defenselib.report.widgets.client import HERE

RUN = """
const { network, pictures } = JSON.parse(require("fs").readFileSync(0));
const weights = halves(network.weights);
console.log(JSON.stringify(pictures.map((picture) => probabilities(Float32Array.from(picture), network, weights))));
"""


def restless(name: str, side: int, width: int = 8) -> Any:
    """A network whose normalisations have seen something, so that folding them in is put to the test."""
    torch.manual_seed(3)
    model = build_model(name, num_classes=7, image_size=side, width=width)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.2)
    return model.eval()


def in_javascript(network: dict[str, Any], pictures: torch.Tensor) -> torch.Tensor:
    node = shutil.which("node")
    if node is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("node is not installed")
    said = json.dumps({"network": network, "pictures": pictures.flatten(1).tolist()})
    script = (HERE / "network.js").read_text() + RUN
    done = subprocess.run([node, "-e", script], input=said, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.tensor(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [("resnet10", 32), ("resnet10", 25), ("resnet18", 16)])
def test_the_page_computes_what_torch_computes(name: str, side: int) -> None:
    """Strides on even and odd sides, with and without pooling; the weights are rounded to half floats."""
    model = restless(name, side)
    pictures = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model(pictures).softmax(1)
    found = in_javascript(export.network(model, side), pictures)
    assert wanted.std(0).max() > 0.001, "pictures that no network tells apart prove nothing"
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0)
    assert found.argmax(1).tolist() == wanted.argmax(1).tolist()


def test_other_networks_and_broken_weights_are_refused() -> None:
    for name in ("vgg16", "resnet50"):
        with pytest.raises(InvalidValueError, match="a page computes"):
            export.network(build_model(name, width=4), 32)
    model = restless("resnet10", 32)
    model.head.weight.data[0, 0] = 1e6
    with pytest.raises(InvalidValueError, match="too large"):
        export.network(model, 32)


@pytest.mark.parametrize("pattern", ["dbd2", "dbd4", "white3", "grid3"])
def test_a_layer_over_a_picture_is_the_trigger(pattern: str) -> None:
    attack = attacks.create("badnets", pattern=pattern)
    layer = ask.patch(attack, 32)
    picture = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    wanted = attack.trigger(picture, torch.zeros(1, dtype=torch.int64))[0].permute(1, 2, 0).numpy()
    content = base64.b64decode(encoded(layer, "png").partition(",")[2])
    over = Image.open(io.BytesIO(content))
    below = Image.fromarray(picture[0].permute(1, 2, 0).numpy()).convert("RGBA")
    found = np.asarray(Image.alpha_composite(below, over).convert("RGB"))
    np.testing.assert_array_equal(found, wanted)
    assert 0 < (layer[3] > 0).sum() < 100


@pytest.mark.parametrize("name", ["blend", "sig", "trojan", "wanet"])
def test_a_trigger_that_depends_on_the_picture_is_no_layer(name: str) -> None:
    with pytest.raises(InvalidValueError, match="no patch"):
        ask.patch(attacks.create(name), 32)
