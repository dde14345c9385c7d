"""The delivered model in programs that know nothing of this package: the same predictions on 100 images."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from defenselib.audit import export
from defenselib.audit.export import load_model, write_model
from defenselib.errors import DataError
from defenselib.learning.evaluation import predict
from defenselib.models import build_model

SIDE, CLASSES = 48, ("cat", "dog", "a\nb", "ü")
NOISE = torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ALONE = """
import sys

sys.modules |= dict.fromkeys({absent})  # as good as not installed
"""
WITH_TORCH = (
    ALONE.format(absent={"defenselib", "torchvision", "onnx", "safetensors"})
    + """
import torch
images = torch.load("images.pt", weights_only=True)
program = torch.export.load("model.pt2").module()
logits = torch.cat([program(part) for part in images.split([1, 2, 97])])
torch.save(logits, "said.pt")
"""
)
WITH_ONNXRUNTIME = (
    ALONE.format(absent={"defenselib", "torch", "torchvision", "onnx", "onnxscript"})
    + """
import numpy, onnxruntime
images = numpy.load("images.npy")
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(given,) = session.get_inputs()
assert given.type == "tensor(uint8)" and given.name == "images", (given.type, given.name)
parts = [session.run(["logits"], {"images": part})[0] for part in numpy.split(images, [1, 3])]
numpy.save("said.npy", numpy.concatenate(parts))
"""
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose normalisation layers have seen something, and 100 images."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    architecture = dict(name="resnet10", num_classes=4, image_size=SIDE, width=8, mean=[0.5] * 3, std=[0.25] * 3)
    model = build_model(**architecture)
    images = torch.randint(0, 256, (100, 3, SIDE, SIDE), dtype=torch.uint8)
    images[::2] = images[::2] // 3  # not all alike
    model.train()
    model(images.float() / 255)
    with torch.no_grad():  # so that every class is somebody's
        model.head.bias -= model.eval()(images.float() / 255).mean(0)
    files = write_model(folder, model, architecture, CLASSES, {"settings": {"defense": "none"}})
    assert set(files) == {"model.safetensors", "model.pt2", "model.onnx"}
    torch.save(images, folder / "images.pt")
    np.save(folder / "images.npy", images.numpy())
    return folder


def run_alone(code: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_program_needs_torch_alone(written: Path) -> None:
    run_alone(WITH_TORCH, written)
    said = torch.load(written / "said.pt")
    model, _ = load_model(written)
    images = torch.load(written / "images.pt")
    assert len(set(said.argmax(1).tolist())) > 1
    assert torch.equal(said.argmax(1), predict(model, images))
    torch.testing.assert_close(said, model(images.float() / 255).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_graph_needs_onnxruntime_alone(written: Path) -> None:
    if any(importlib.util.find_spec(name) is None for name in (*export.ONNX_PACKAGES, "onnxruntime")):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("pip install 'defenselib[export]'")
    run_alone(WITH_ONNXRUNTIME, written)
    said = torch.from_numpy(np.load(written / "said.npy"))
    model, _ = load_model(written)
    images = torch.load(written / "images.pt")
    assert torch.equal(said.argmax(1), predict(model, images))
    torch.testing.assert_close(said, model(images.float() / 255).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_description_says_what_the_program_takes(written: Path) -> None:
    about = json.loads((written / "model.json").read_text())
    assert about["classes"] == list(CLASSES) and about["input"]["shape"] == ["N", 3, SIDE, SIDE]
    assert about["input"]["type"] == "uint8" and about["output"]["shape"] == ["N", 4]


def test_without_its_packages_there_is_no_graph_and_a_line_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    said = export.write_onnx(build_model("resnet10", 2, 16, width=4).eval(), NOISE, tmp_path / "model.onnx")
    assert (
        "pip install 'defenselib[export]'" in said and "onnxscript" in said and not (tmp_path / "model.onnx").exists()
    )


SMALL = dict(name="resnet10", num_classes=3, image_size=16, width=4)


def test_a_program_that_cannot_be_made_costs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no operator \x1b[31mfoo\nand a long tale")

    monkeypatch.setattr(torch.export, "export", broken)
    files = write_model(tmp_path, build_model(**SMALL), SMALL, "abc", {"more": 1})
    assert files["model.pt2"] == "not written: RuntimeError: no operator \\x1b[31mfoo"
    assert files["model.onnx"].startswith("not written: ")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    assert load_model(tmp_path)[1]["files"] == files


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.pt2", "model.onnx"])
def test_a_program_that_says_something_else_than_the_model_is_not_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "model.onnx" and any(map(lambda one: importlib.util.find_spec(one) is None, export.ONNX_PACKAGES)):
        pytest.skip("pip install 'defenselib[export]'")
    made = export._program

    def other(model: torch.nn.Module, images: torch.Tensor) -> torch.export.ExportedProgram:
        turned = build_model(**SMALL)
        turned.load_state_dict(model.state_dict())
        with torch.no_grad():  # another class for every image
            turned.head.bias -= 100 * torch.nn.functional.one_hot(predict(model, images).mode().values, 3)
        return made(turned.eval(), images)

    monkeypatch.setattr(export, "_program", other)
    files = write_model(tmp_path, build_model(**SMALL), SMALL, "abc", {}, NOISE)
    assert files[name].startswith("not written: it takes ") and "another class than the model" in files[name]
    assert not (tmp_path / name).exists() and not list(tmp_path.glob(".*"))


def test_programs_are_compared_by_class_but_not_where_two_are_as_good_as_equal() -> None:
    model = build_model(**SMALL).eval()
    plain = export.Deployed(model).eval()
    export.check_same(model, NOISE, plain)
    export.check_same(model, NOISE[:1], lambda images: plain(images) + 5)
    with pytest.raises(DataError, match="8 of 8 images"):
        export.check_same(model, NOISE, lambda images: -plain(images))
    with torch.no_grad():
        model.head.weight[1] = model.head.weight[0]
        model.head.bias[1] = model.head.bias[0] = model.head.bias[2] + 9
    export.check_same(model, NOISE, lambda images: plain(images) + torch.tensor([0.0, 1e-6, 0.0]))


def test_a_folder_without_a_model_or_with_another_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no model.json; give the folder that `defenselib defend --out` wrote"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text('{"architecture": {"name": "resnet10"')
    with pytest.raises(DataError, match="damaged"):
        load_model(tmp_path)
