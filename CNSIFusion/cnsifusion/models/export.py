"""From torch to the bundle's two ONNX files."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from cnsifusion.models.backbones import Backbone
from cnsifusion.models.fusion import FusionHead, RadFusion, region_weights
from cnsifusion.models.settings import ModelSettings

_OPSET = 17


class ExportedModel(nn.Module):
    """Backbone, ASPP and heads as one graph: patches and features to logit and pooled."""

    def __init__(self, settings: ModelSettings, backbone: Backbone, fusion: RadFusion) -> None:
        super().__init__()
        self.settings, self.backbone, self.fusion = settings, backbone, fusion

    def forward(self, patches: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-odds (n, H) and pooled (n, H, P)."""
        weights = region_weights(patches, self.settings.stride, self.settings.pooling)
        return self.fusion.score(self.backbone(patches), weights, features)


def export_model(model: ExportedModel, patch_shape: tuple[int, int, int], half: bool = True) -> bytes:
    """``model.onnx``: one self-contained file. ``half`` stores convolution weights as float16 (computed in float32)."""
    features = model.fusion.head.scale.shape[2]
    example = (torch.zeros(2, *patch_shape), torch.zeros(2, features))
    data = _export(model, example, ["patches", "features"], ["logit", "pooled"])
    return _halve_weights(data) if half else data


def export_head(head: FusionHead) -> bytes:
    """``head.onnx``: the head alone, its weights under their own names."""
    heads, pooled, _ = head.hidden_pooled.shape
    example = (torch.zeros(2, heads, pooled), torch.zeros(2, head.scale.shape[2]))
    return _export(head, example, ["pooled", "features"], ["logit"])


def _export(module: nn.Module, example: tuple[torch.Tensor, ...], inputs: list[str], outputs: list[str]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecation notices
        torch.onnx.export(
            module.eval(),
            example,
            buffer,  # type: ignore[arg-type]
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    return model.SerializeToString(deterministic=True)


def _halve_weights(data: bytes) -> bytes:
    """Store the weights of convolutions as float16, with a cast in front of each use."""
    model = onnx.load_from_string(data)
    graph = model.graph
    used = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in used or tensor.data_type != TensorProto.FLOAT:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString(deterministic=True)
