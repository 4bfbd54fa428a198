"""Bundles from strangers: every damage is refused with one sentence that names the file; nothing crashes or runs."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from cnsifusion.bundles import load_bundle  # noqa: E402
from cnsifusion.bundles.wire import GraphError, read_graph  # noqa: E402
from cnsifusion.errors import BundleError  # noqa: E402


def refused(folder, *words):
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    text = str(caught.value)
    assert all(w in text for w in words), text
    assert "\n" not in text and len(text) < 400


def test_missing_things(folder):
    refused(folder / "nowhere", "no model bundle")
    (folder / "head.onnx").unlink()
    refused(folder, "head.onnx", "cannot be read")


@pytest.mark.parametrize("name", ["model.onnx", "head.onnx"])
def test_a_flipped_byte(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    refused(folder, name, "SHA-256")


def test_a_truncated_file(folder):
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-5])
    refused(folder, "model.onnx", "bytes instead of")


def test_a_link_to_another_file(folder, tmp_path):
    (folder / "head.onnx").rename(tmp_path / "elsewhere")
    (folder / "head.onnx").symlink_to(tmp_path / "elsewhere")
    refused(folder, "head.onnx", "regular file")


EDITS = {
    "schema": (lambda v: v.update(schema_version=2), "schema version 2"),
    "unknown key": (lambda v: v.update(extra=1), "extra"),
    "missing key": (lambda v: v.pop("calibration"), "calibration"),
    "wrong type": (lambda v: v["calibration"].update(slope="2"), "calibration.slope"),
    "bool for number": (lambda v: v["calibration"].update(slope=True), "calibration.slope"),
    "nan": (lambda v: v["calibration"].update(slope=float("nan")), "calibration.slope"),
    "huge integer": (lambda v: v["calibration"].update(slope=10**400), "calibration.slope"),
    "other path": (lambda v: v["files"].update({"../x": v["files"].pop("head.onnx")}), "files must list"),
    "region": (lambda v: v.update(region="liver"), "region"),
    "heads": (lambda v: v["architecture"].update(heads=10**9), "heads"),
    "pixels": (lambda v: v["architecture"].update(patch_shape=[2, 10**6, 10**6]), "patch_shape"),
    "cells": (lambda v: v["architecture"].update(map_cells=[4, 10**6]), "map_cells"),
    "other pixels": (lambda v: v["architecture"].update(patch_shape=[2, 64, 64]), "model.onnx"),
    "scale": (lambda v: v["features"]["scale"].__setitem__(0, 0.0), "scale"),
    "names": (lambda v: v["features"]["names"].__setitem__(0, v["features"]["names"][1]), "repeats"),
    "lengths": (lambda v: v["features"]["mean"].append(0.0), "features.mean"),
    "threshold": (lambda v: v.update(default_threshold="none"), "default_threshold"),
    "baseline": (lambda v: v["baseline_pooled"].pop(), "baseline_pooled"),
    "silent demonstration": (lambda v: v.update(demonstration_text=""), "demonstration_text"),
    "simulated, yet none": (lambda v: v.update(demonstration=False, demonstration_text=""), "cohort is simulated"),
    "fewer features": (lambda v: [v["features"][k].pop() for k in v["features"] if k != "selector"], "onnx"),
}


@pytest.mark.parametrize("name", EDITS)
def test_bundle_json(folder, rewrite, name):
    edit, word = EDITS[name]
    rewrite(folder, edit)
    refused(folder, word)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"nul\0l"])
def test_bundle_json_is_not_json(folder, text):
    (folder / "bundle.json").write_bytes(text)
    refused(folder, "bundle.json")


def edited(folder, change, name="model.onnx"):
    model = onnx.load_from_string((folder / name).read_bytes())
    change(model)
    return model.SerializeToString()


def _replace_op(op, domain=""):
    def change(model):
        node = next(n for n in model.graph.node if n.op_type == "Relu")
        node.op_type, node.domain = op, domain

    return change


def _subgraph(model):
    node = next(n for n in model.graph.node if n.op_type == "Relu")
    node.attribute.append(helper.make_attribute("body", helper.make_graph([], "g", [], [])))


def _external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def _amplify(model):
    """Small weights whose broadcast product would take 4 TB."""
    long = np.ones((1_000_000, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(long, "long"))
    model.graph.initializer.append(numpy_helper.from_array(long.T.copy(), "wide"))
    model.graph.node.insert(0, helper.make_node("MatMul", ["long", "wide"], ["huge"]))


def _padding(model):
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    for attribute in conv.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [10**8] * 4


def _no_stride(model):
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    for attribute in conv.attribute:
        if attribute.name == "strides":
            attribute.ints[:] = [0, 1]


def _function(model):
    model.functions.append(helper.make_function("d", "f", [], [], [], [helper.make_opsetid("", 17)]))


def _more_output(model):
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def _double_input(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


GRAPHS = {
    "unknown operation": (_replace_op("Tan"), "does not allow"),
    "loop": (_replace_op("Loop"), "does not allow"),
    "foreign domain": (_replace_op("Relu", "com.evil"), "does not allow"),
    "subgraph": (_subgraph, "subgraph"),
    "external data": (_external, "outside the file"),
    "amplification": (_amplify, "too much memory"),
    "padding": (_padding, "oversize"),
    "no stride": (_no_stride, "unexpected attributes"),
    "function": (_function, "does not know"),
    "another output": (_more_output, "inputs and outputs"),
    "double input": (_double_input, "inputs and outputs"),
    "opset": (lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3)), "operator set"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_with_hashes_put_right(folder, rewrite, name):
    change, word = GRAPHS[name]
    rewrite(folder, graph="model.onnx", content=edited(folder, change))
    refused(folder, "model.onnx", word)


def test_a_head_that_is_not_the_networks_head(folder, rewrite):
    """Contributions would explain another model."""

    def change(model):
        for tensor in model.graph.initializer:
            if tensor.name == "out_weight":
                array = numpy_helper.to_array(tensor) * 2
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    rewrite(folder, graph="head.onnx", content=edited(folder, change, "head.onnx"))
    refused(folder, "model.onnx", "does not compute what its head says")


def test_our_reader_agrees_with_onnx(folder):
    data = (folder / "model.onnx").read_bytes()
    mine, theirs = read_graph(data), onnx.load_from_string(data).graph
    assert [n.op for n in mine.nodes] == [n.op_type for n in theirs.node]
    assert [n.inputs for n in mine.nodes] == [list(n.input) for n in theirs.node]
    assert len(mine.initializers) == len(theirs.initializer)
    for tensor in theirs.initializer:
        assert np.array_equal(mine.initializers[tensor.name], numpy_helper.to_array(tensor))


def test_random_damage_never_crashes_the_reader(made):
    """Bytes changed, cut and repeated at random: a graph or GraphError, in bounded time."""
    random = np.random.default_rng(0)
    data = (made / "head.onnx").read_bytes()
    outcomes = {True: 0, False: 0}
    for _ in range(2000):
        broken = bytearray(data)
        for _ in range(random.integers(1, 6)):
            broken[random.integers(len(broken))] = random.integers(256)
        if random.random() < 0.3:
            broken = broken[: random.integers(len(broken))]
        try:
            read_graph(bytes(broken))
            outcomes[True] += 1
        except GraphError:
            outcomes[False] += 1
    assert outcomes[False] > 100


def test_random_damage_of_the_settings_never_crashes(folder):
    """Values of bundle.json swapped for strange ones: loaded or refused, nothing else."""
    random = np.random.default_rng(1)
    original = json.loads((folder / "bundle.json").read_text())
    strange = [None, True, -1, 0, 1e308, "", "x" * 1000, [], {}, [[]], {"a": 1}, 10**30]
    for _ in range(150):
        values = json.loads(json.dumps(original))
        place = values
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = keys[random.integers(len(keys))]
            if isinstance(place[key], (dict, list)) and place[key] and random.random() < 0.7:
                place = place[key]
                continue
            place[key] = strange[random.integers(len(strange))]
            break
        (folder / "bundle.json").write_text(json.dumps(values))
        try:
            load_bundle(folder)
        except BundleError as error:
            assert "refused" in str(error)
