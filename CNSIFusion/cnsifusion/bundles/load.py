"""Opening a bundle: everything is checked before anything is used, so that a stranger's bundle is safe to open."""

from __future__ import annotations

import hashlib
import json
import stat
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime as ort

from cnsifusion.bundles.bundle import BATCH, Bundle
from cnsifusion.bundles.decode import DecodeError, decode
from cnsifusion.bundles.head import HeadWeights, read_head
from cnsifusion.bundles.settings import BundleSettings, check
from cnsifusion.bundles.shapes import Shape, infer_shapes
from cnsifusion.bundles.wire import Graph, GraphError, read_graph
from cnsifusion.errors import BundleError
from cnsifusion.inference import new_session

_MAX_JSON_BYTES = 16 << 20
_MAX_GRAPH_BYTES = 512 << 20
_FLOAT = 1


def default_bundle_dir() -> Path:
    """Folder of the demonstration bundle that ships with the program."""
    return Path(str(files("cnsifusion.resources") / "bundles" / "demonstration"))


def load_bundle(directory: str | Path) -> Bundle:
    """The bundle in ``directory``, checked in full: sizes, schema, SHA-256, operations, shapes, and a probe run.

    Raises BundleError with one sentence that names the file and the reason. Nothing in the folder is executed, only
    the files named here are read, each once, and what was hashed is what runs.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise BundleError(f"There is no model bundle at {folder}; choose a folder that holds a bundle.json.")
    text = _read(folder / "bundle.json", _MAX_JSON_BYTES)
    settings = _settings(text)
    contents = {name: _hashed(folder / name, entry.sha256, entry.bytes) for name, entry in settings.files.items()}
    digest = hashlib.sha256(text)
    for name in sorted(contents):
        digest.update(settings.files[name].sha256.encode())
    head = _head(contents["head.onnx"], settings)
    session = None
    if settings.architecture.has_network:
        _checked_graph("model.onnx", contents["model.onnx"], _model_inputs(settings), _model_outputs(settings))
        session = _session("model.onnx", contents["model.onnx"])
    _probe(settings, contents["head.onnx"], head, session)
    return Bundle(settings, digest.hexdigest(), head, session)


def _refuse(name: str, reason: object) -> BundleError:
    return BundleError(f"The model bundle was refused: {name} {reason}.")


def _read(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise _refuse(path.name, "is not a regular file")
        if status.st_size > limit:
            raise _refuse(path.name, f"is larger than {limit >> 20} MB")
        with path.open("rb") as file:
            return file.read(limit + 1)[:limit]
    except OSError as error:
        raise _refuse(path.name, f"cannot be read ({error.strerror})") from error


def _settings(text: bytes) -> BundleSettings:
    try:
        settings = decode(BundleSettings, json.loads(text.decode()))
        check(settings)
    except (DecodeError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        reason = error if isinstance(error, DecodeError) else "is not valid JSON"
        raise _refuse("bundle.json", f"is not valid: {reason}" if reason is error else reason) from error
    return settings


def _hashed(path: Path, sha256: str, size: int) -> bytes:
    content = _read(path, _MAX_GRAPH_BYTES)
    if len(content) != size:
        raise _refuse(path.name, f"has {len(content)} bytes instead of {size}")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _refuse(path.name, "was changed after the bundle was made (its SHA-256 differs)")
    return content


def _feature_width(settings: BundleSettings) -> int:
    return max(1, len(settings.features.names))


def _model_inputs(settings: BundleSettings) -> dict[str, Shape]:
    return {"patches": (BATCH, *settings.architecture.patch_shape), "features": (BATCH, _feature_width(settings))}


def _model_outputs(settings: BundleSettings) -> dict[str, Shape]:
    shape = settings.architecture
    return {"logit": (BATCH, shape.heads), "pooled": (BATCH, shape.heads, shape.pooled)}


def _head(content: bytes, settings: BundleSettings) -> HeadWeights:
    shape, width = settings.architecture, _feature_width(settings)
    inputs = {"pooled": (BATCH, shape.heads, shape.pooled), "features": (BATCH, width)}
    graph = _checked_graph("head.onnx", content, inputs, {"logit": (BATCH, shape.heads)})
    try:
        head = read_head(graph)
    except GraphError as error:
        raise _refuse("head.onnx", error) from error
    if head.scale.shape != (shape.heads, 1, width) or head.hidden_pooled.shape[1] != shape.pooled:
        raise _refuse("head.onnx", "does not have the shape bundle.json gives")
    return head


def _checked_graph(name: str, content: bytes, inputs: dict[str, Shape], outputs: dict[str, Shape]) -> Graph:
    try:
        graph = read_graph(content)
        free = {n: shape for n, (kind, shape) in graph.inputs.items() if n not in graph.initializers}
        kinds = {kind for kind, _ in graph.inputs.values()} | {kind for kind, _ in graph.outputs.values()}
        if set(free) != set(inputs) or set(graph.outputs) != set(outputs) or kinds != {_FLOAT}:
            raise GraphError("does not have the inputs and outputs of a model of this program")
        for n, shape in inputs.items():
            declared = free[n]
            fixed = [(d, s) for d, s in zip(declared[1:], shape[1:]) if isinstance(d, int)]
            if len(declared) != len(shape) or any(d != s for d, s in fixed):
                raise GraphError(f"expects an input {n} of another shape")
        shapes = infer_shapes(graph, inputs)
        for n, shape in outputs.items():
            if shapes.get(n) != shape:
                raise GraphError(f"gives an output {n} of another shape than bundle.json says")
    except GraphError as error:
        raise _refuse(name, error) from error
    return graph


def _session(name: str, content: bytes) -> ort.InferenceSession:
    try:
        return new_session(content)
    except Exception as error:  # ONNX Runtime raises its own classes, which share no public base
        raise _refuse(name, "is not accepted by ONNX Runtime") from error


def _probe(
    settings: BundleSettings, head_file: bytes, head: HeadWeights, session: ort.InferenceSession | None
) -> None:
    """Run the graphs once on fixed numbers: they must be finite, and agree with the head computed in numpy."""
    random, shape, width = np.random.default_rng(0), settings.architecture, _feature_width(settings)
    pooled = random.normal(size=(2, shape.heads, shape.pooled)).astype(np.float32)
    features = random.normal(size=(2, width)).astype(np.float32)
    (alone,) = _session("head.onnx", head_file).run(["logit"], {"pooled": pooled, "features": features})
    _agree("head.onnx", alone, head.logits(pooled.astype(float), features.astype(float)))
    if session is not None:
        images = random.normal(size=(2, *shape.patch_shape)).astype(np.float32)
        logit, pooled = session.run(["logit", "pooled"], {"patches": images, "features": features})
        _agree("model.onnx", logit, head.logits(pooled.astype(float), features.astype(float)))


def _agree(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    scale = 1 + np.abs(expected).max()
    if not np.isfinite(found).all() or np.abs(found - expected).max() > 1e-3 * scale:
        raise _refuse(name, "does not compute what its head says")
