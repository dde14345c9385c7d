"""A small trained network as data for a page: its layers in words, batch normalisation folded in, weights as half
floats.

`network.js` is the other half: it computes the probabilities in the browser. A runtime for ONNX would do so for any
network, but its WebAssembly (14 MB in onnxruntime-web 1.30) weighs twenty times such a network, and a page that is
opened from disk may load neither a `.wasm` nor a module beside it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock

from defenselib.errors import InvalidValueError
from defenselib.models import Classifier

LARGEST = 65504.0  # of a half float


@dataclass
class Exported:
    """The weights that were taken so far, one after another."""

    weights: list[NDArray[np.float16]] = field(default_factory=list)

    def add(self, *tensors: Tensor) -> int:
        """Append tensors; the place of the first one."""
        at = sum(len(one) for one in self.weights)
        for tensor in tensors:
            values = tensor.detach().cpu().float().numpy().ravel()
            if not np.isfinite(values).all() or np.abs(values).max() > LARGEST:
                raise InvalidValueError("a weight of the network is not finite, or too large for a half float")
            self.weights.append(values.astype("<f2"))
        return at


def network(model: Classifier, side: int) -> dict[str, Any]:
    """What `network.js` needs of a ResNet of basic blocks for images (3, side, side): mean, std, layers, head, weights.

    Probabilities differ from torch's by the rounding of the weights, below 0.01 for such a network. Raises
    InvalidValueError for a network of other parts.
    """
    kept, model = Exported(), model.eval()
    layers = [*_stem(model.stem, kept)]
    for stage in model.stages:
        layers += [_block(part, kept) for part in stage.children()]
    at = kept.add(model.head.weight, model.head.bias)
    return {
        "side": side,
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
        "layers": layers,
        "head": {"at": at, "outputs": model.head.out_features},
        "weights": base64.b64encode(np.concatenate(kept.weights).tobytes()).decode(),
    }


def _stem(stem: nn.Module, kept: Exported) -> list[dict[str, Any]]:
    convolution, normalisation, relu, *more = stem.children()
    if not isinstance(relu, nn.ReLU):
        raise InvalidValueError(f"a page computes a stem with ReLU, not with {type(relu).__name__}")
    found = [{"kind": "convolution", **_convolution(convolution, normalisation, kept)}]
    for part in more:
        if not (isinstance(part, nn.MaxPool2d) and part.kernel_size == part.stride == 2 and part.padding == 0):
            raise InvalidValueError(f"a page computes no {part} in a stem")
        found.append({"kind": "pool"})
    return found


def _block(part: nn.Module, kept: Exported) -> dict[str, Any]:
    if not isinstance(part, BasicBlock):
        raise InvalidValueError(f"a page computes networks of basic blocks, not of {type(part).__name__}")
    pairs = ((part.conv1, part.bn1), (part.conv2, part.bn2))
    convolutions = [_convolution(convolution, normalisation, kept) for convolution, normalisation in pairs]
    shortcut = None
    if part.downsample is not None:
        convolution, normalisation = part.downsample.children()
        shortcut = _convolution(convolution, normalisation, kept)
    return {"kind": "block", "convolutions": convolutions, "shortcut": shortcut}


def _convolution(convolution: nn.Module, normalisation: nn.Module, kept: Exported) -> dict[str, int]:
    plain = (
        isinstance(convolution, nn.Conv2d)
        and isinstance(normalisation, nn.BatchNorm2d)
        and convolution.groups == 1
        and convolution.dilation == (1, 1)
        and len({*convolution.kernel_size}) == len({*convolution.stride}) == len({*convolution.padding}) == 1
    )
    if not plain:
        raise InvalidValueError(f"a page computes square convolutions with batch normalisation, not {convolution}")
    assert isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d)
    folded = fuse_conv_bn_eval(convolution, normalisation)
    assert folded.bias is not None
    return {
        "at": kept.add(folded.weight, folded.bias),
        "inputs": folded.in_channels,
        "outputs": folded.out_channels,
        "size": int(folded.kernel_size[0]),
        "stride": int(folded.stride[0]),
        "padding": int(folded.padding[0]),
    }
