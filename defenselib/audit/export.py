"""A trained model as files: weights with a description, and programs that run without this package."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from defenselib import folders, tensor_files
from defenselib.audit.names import visible
from defenselib.errors import DataError, DefenseLibError
from defenselib.models import Classifier, build_model

WEIGHTS, ABOUT, PROGRAM, ONNX = "model.safetensors", "model.json", "model.pt2", "model.onnx"
ONNX_PACKAGES = ("onnx", "onnxscript")
INPUT, OUTPUT = "images", "logits"
RESIZING = (
    "turn the picture upright by its EXIF note, convert it to RGB, resize it as a whole (no crop) to the side, bilinear"
)
FORMAT = 1
_TIE, _MOST = 1e-3, 200  # of the largest logit: no difference; characters of an exporter's message


class Deployed(nn.Module):
    """A classifier that takes pixels as they are stored: uint8 (N, 3, S, S) to logits float32 (N, K). All that is done
    to pixels (to [0, 1], normalisation) is in it."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images.to(torch.float32) / 255)


def write_model(
    folder: Path,
    model: Classifier,
    architecture: Mapping[str, Any],
    classes: Sequence[str],
    about: Mapping[str, Any],
    images: Tensor | None = None,
) -> dict[str, str]:
    """Write model.safetensors, model.pt2, model.onnx where its packages are installed, and last model.json.

    architecture: the arguments of `build_model` that make the network. about: what else model.json says. images: uint8
    (N, 3, S, S), a few on which a program must say what the model says; noise if None. Returns a line on each file, or
    why it is not there: a program that cannot be made costs neither the weights nor the others. Errors: FolderError.
    """
    model = model.cpu().eval()
    side = int(architecture["image_size"])
    folders.make(folder)
    with folders.writing(folder / WEIGHTS):
        tensor_files.save(folder / WEIGHTS, model.state_dict())
    noise = torch.randint(256, (8, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = (noise if images is None else images).cpu()
    files = {WEIGHTS: "weights, read by defenselib.audit.export.load_model"}
    for name, write in ((PROGRAM, write_program), (ONNX, write_onnx)):
        try:
            files[name] = write(model, seen, folder / name)
        except Exception as error:  # an exporter may raise whatever it likes, after hours of training
            files[name] = f"not written: {_reason(error)}"
    content = {
        "format": FORMAT,
        "classes": list(classes),
        "architecture": dict(architecture),
        "input": {"name": INPUT, "type": "uint8", "shape": ["N", 3, side, side], "colours": "RGB, 0 to 255",
                  "resizing": RESIZING},
        "output": {"name": OUTPUT, "type": "float32", "shape": ["N", len(classes)], "is": "logits, classes in order"},
        "preprocessing": "inside: pixels / 255, minus mean, divided by std; nothing to do outside but the resizing",
        "files": files,
        **about,
    }  # fmt: skip
    write_json(folder / ABOUT, content)
    return files


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file that appears whole. Errors: FolderError."""
    text = json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False)
    folders.write_text(path, text + "\n")


def write_program(model: Classifier, images: Tensor, path: Path) -> str:
    """A `torch.export` program: `torch.export.load(path).module()(images)` needs torch alone.

    Raises whatever the exporter does, and DataError where the file does not say of `images` what the model says.
    """
    with folders.writing(path), folders.atomic(path) as temporary:
        # The name decides the format for torch, so the temporary file has its ending too.
        whole = temporary.with_suffix(".pt2")
        try:
            with _quiet():
                torch.export.save(_program(model, images), whole)
                program = torch.export.load(whole).module()
                check_same(model, images, program)
            whole.replace(temporary)
        finally:
            whole.unlink(missing_ok=True)
    return "program for torch.export.load; needs torch alone"


def write_onnx(model: Classifier, images: Tensor, path: Path) -> str:
    """An ONNX graph, for onnxruntime and others; the answer says where packages are missing.

    Raises as `write_program`; without onnxruntime the file is not compared with the model.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return f"not written: {' and '.join(missing)} missing; pip install 'defenselib[export]'"
    with folders.writing(path), folders.atomic(path) as temporary, _quiet():
        graph = torch.onnx.export(
            _program(model, images), dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
        )
        assert graph is not None
        graph.save(str(temporary), external_data=False)
        if importlib.util.find_spec("onnxruntime") is None:
            return "ONNX graph; needs onnxruntime alone; not compared with the model, for onnxruntime is missing"
        check_same(model, images, _graph(temporary))
    return "ONNX graph; needs onnxruntime alone"


def check_same(model: Classifier, images: Tensor, program: Callable[[Tensor], Tensor]) -> None:
    """Raise DataError where `program` takes an image for another class than the model, in a batch of one or of several.

    Classes whose logits are as good as equal may change places: the arithmetic is in another order.
    """
    with torch.no_grad():
        logits = Deployed(model).eval()(images)
        said = torch.cat([program(part) for part in (images[:1], images[1:]) if len(part)]).argmax(1)
    best, theirs = logits.max(1).values, logits.gather(1, said[:, None])[:, 0]
    other = int((best - theirs > _TIE * best.abs().clamp_min(1)).sum())
    if other:
        raise DataError(f"it takes {other} of {len(images)} images for another class than the model does")


def _graph(path: Path) -> Callable[[Tensor], Tensor]:
    """An ONNX graph as a function."""
    runtime = importlib.import_module("onnxruntime")  # it has no types
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def _reason(error: Exception) -> str:
    """The first line of what went wrong."""
    lines = str(error).strip().splitlines() or [""]
    return (
        visible(f"{type(error).__name__}: {lines[0]}"[:_MOST]) if not isinstance(error, DefenseLibError) else lines[0]
    )


def load_model(folder: str | Path) -> tuple[Classifier, dict[str, Any]]:
    """The network in a folder that `defend` wrote, in evaluation mode, and what its model.json says.

    The network takes float images in [0, 1]. Errors: DataError, DamagedFileError.
    """
    place = folders.expanded(folder)
    try:
        about: dict[str, Any] = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        architecture = dict(about["architecture"])
        model = build_model(architecture.pop("name"), **architecture)
    except FileNotFoundError as error:
        raise DataError(f"{place} has no {ABOUT}; give the folder that `defenselib defend --out` wrote") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place / ABOUT} is damaged ({type(error).__name__}: {error})") from error
    state = tensor_files.load(place / WEIGHTS)[0]
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{place / WEIGHTS} holds other weights than {ABOUT} describes") from error
    return model.eval(), about


def _program(model: Classifier, images: Tensor) -> torch.export.ExportedProgram:
    # Two images: with one, torch would take the batch for fixed.
    example = torch.zeros(2, *images.shape[1:], dtype=torch.uint8)
    batch = {INPUT: {0: torch.export.Dim("batch")}}
    return torch.export.export(Deployed(model).eval(), (example,), dynamic_shapes=batch)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters talk of themselves; what goes wrong they raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
