"""Fold models put together as the graphs of one bundle: several heads on one shared backbone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cnsifusion.bundles.settings import QUANTILE_LEVELS, Features
from cnsifusion.errors import CNSIFusionError
from cnsifusion.inference import new_session
from cnsifusion.models.backbones import Backbone
from cnsifusion.models.export import ExportedModel, export_head, export_model
from cnsifusion.models.fusion import FusionHead, RadFusion
from cnsifusion.models.settings import ModelSettings
from cnsifusion.training.cohort import Cohort, instance_weights
from cnsifusion.training.maps import Maps
from cnsifusion.training.nested import FoldResult

#: Largest difference between torch and ONNX Runtime, in probability.
PARITY = 1e-4


@dataclass(frozen=True, eq=False)
class Graphs:
    """The files of a bundle and what they expect: pooled baseline (heads, P) and whether weights are float16."""

    contents: dict[str, bytes]
    baseline_pooled: np.ndarray
    half: bool
    parity: float


def common_features(cohort: Cohort, folds: list[FoldResult], selector: str) -> Features:
    """The union of the folds' features with one common scaler (mean of the folds' own) and training quantiles."""
    union = np.unique(np.concatenate([f.columns for f in folds]))
    rows = {name: _averaged(folds, union, name) for name in ("mean", "scale", "impute")}
    quantiles = np.nanquantile(cohort.features[:, union], QUANTILE_LEVELS, axis=0).T
    return Features(
        names=[str(n) for n in cohort.names[union]],
        mean=rows["mean"].tolist(),
        scale=rows["scale"].tolist(),
        impute=rows["impute"].tolist(),
        quantiles=np.sort(quantiles, axis=1).tolist(),
        selector=selector,
    )


def _averaged(folds: list[FoldResult], union: np.ndarray, name: str) -> np.ndarray:
    total, count = np.zeros(len(union)), np.zeros(len(union))
    for fold in folds:
        at = np.searchsorted(union, fold.columns)
        total[at] += getattr(fold, name)
        count[at] += 1
    return total / count


def network_graphs(
    cohort: Cohort,
    maps: Maps,
    model: ModelSettings,
    backbone: Backbone,
    folds: list[FoldResult],
    features: Features,
    patches: np.ndarray,
) -> Graphs:
    """Graphs of a model with a network; float16 weights where they keep parity on ``patches`` (n, c, h, w).

    Raises CNSIFusionError where even float32 does not agree with torch within PARITY.
    """
    fusion = RadFusion(model, len(folds), max(1, len(features.names)))
    _fill_reader(fusion, folds)
    _fill_head(fusion.head, folds, features, cohort.names)
    baseline = _mean_pooled(cohort, maps, fusion)
    exported = ExportedModel(model, backbone, fusion).eval()
    standard = np.zeros((len(patches), fusion.head.scale.shape[2]), np.float32)
    for half in (True, False):
        data = export_model(exported, patches.shape[1:], half)
        parity = _parity(exported, data, patches, standard)
        if parity < PARITY:
            return Graphs({"model.onnx": data, "head.onnx": export_head(fusion.head)}, baseline, half, parity)
    raise CNSIFusionError("The exported graph does not agree with the trained network; this is a defect, report it.")


def logistic_graphs(folds: list[FoldResult], features: Features, names: np.ndarray, clip: float) -> Graphs:
    """Graphs of a logistic model of radiomics, written as a head: relu(u) - relu(-u) = u for its log-odds u."""
    head = FusionHead(len(folds), len(features.names), 1, 2, 2, clip)
    states = []
    for fold in folds:
        weight = fold.state["weight"][:, None]
        states.append({
            "embed_weight": np.concatenate([weight, -weight], axis=1)[None],
            "embed_bias": np.array([[[fold.state["bias"][0], -fold.state["bias"][0]]]]),
            "hidden_pooled": np.zeros((1, 1, 2)),
            "hidden_embed": np.eye(2)[None],
            "hidden_bias": np.zeros((1, 1, 2)),
            "out_weight": np.array([[[1.0], [-1.0]]]),
            "out_bias": np.zeros((1, 1, 1)),
        })  # fmt: skip
    _place(head, folds, states, features, names)
    return Graphs({"head.onnx": export_head(head)}, np.zeros((len(folds), 1)), False, 0.0)


def _fill_reader(fusion: RadFusion, folds: list[FoldResult]) -> None:
    """Per-head weights of the map reader joined along their head (or channel) axis."""
    state = fusion.state_dict()
    for name in state:
        if name.startswith("reader."):
            state[name] = torch.from_numpy(np.concatenate([f.state[name] for f in folds]))
    fusion.load_state_dict(state)


def _fill_head(head: FusionHead, folds: list[FoldResult], features: Features, names: np.ndarray) -> None:
    prefix = "head."
    states = [{k[len(prefix) :]: v for k, v in f.state.items() if k.startswith(prefix)} for f in folds]
    _place(head, folds, states, features, names)


def _place(
    head: FusionHead, folds: list[FoldResult], states: list[dict], features: Features, names: np.ndarray
) -> None:
    """Spread each head's own few features over the common list, and turn the common scaler into the head's own."""
    column = {name: i for i, name in enumerate(features.names)}
    mean, scale = np.array(features.mean), np.array(features.scale)
    with torch.no_grad():
        head.scale.zero_()
        head.embed_weight.zero_()
        for h, (fold, state) in enumerate(zip(folds, states)):
            at = np.array([column[str(names[c])] for c in fold.columns], int)
            if len(at):
                head.scale[h, 0, at] = torch.from_numpy(scale[at] / fold.scale).float()
                head.shift[h, 0, at] = torch.from_numpy((mean[at] - fold.mean) / fold.scale).float()
                head.embed_weight[h, at] = torch.from_numpy(state["embed_weight"][0, : len(at)]).float()
            for name in ("embed_bias", "hidden_pooled", "hidden_embed", "hidden_bias", "out_weight", "out_bias"):
                getattr(head, name)[h] = torch.from_numpy(state[name][0]).float()


def _mean_pooled(cohort: Cohort, maps: Maps, fusion: RadFusion) -> np.ndarray:
    """Mean pooled map (heads, P) over all instances, every patient weighing the same."""
    weight = instance_weights(cohort) / len(cohort.labels)
    total = np.zeros((fusion.heads, fusion.pooled))
    with torch.no_grad():
        for start in range(0, len(weight), 64):
            rows = slice(start, start + 64)
            values, shares = maps.tensors(0, rows)
            total += np.einsum("n,nhp->hp", weight[rows], fusion.pool(fusion.reader(values), shares).numpy())
    return total


def _parity(model: ExportedModel, data: bytes, patches: np.ndarray, features: np.ndarray) -> float:
    """Largest difference in any head's probability between torch and ONNX Runtime."""
    with torch.no_grad():
        expected = model(torch.from_numpy(patches), torch.from_numpy(features))[0].numpy()
    (found,) = new_session(data).run(["logit"], {"patches": patches, "features": features})
    return float(np.abs(1 / (1 + np.exp(-expected)) - 1 / (1 + np.exp(-found))).max())
