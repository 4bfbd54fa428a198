"""The ``finetune`` regime: backbone, ASPP and head trained together on patches, on a GPU where there is one.

Each training set gets a network of its own, started from the same backbone; with small patches it also runs on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from cnsifusion.models.backbones import load_backbone
from cnsifusion.models.fusion import RadFusion, region_weights
from cnsifusion.models.settings import ModelSettings
from cnsifusion.training.augment import augment
from cnsifusion.training.cohort import Cohort
from cnsifusion.training.networks import NetworkFit, Plan, loss_weights

#: The backbone was trained before: it moves ten times more slowly than the head.
_BACKBONE_PACE = 0.1


@dataclass(frozen=True)
class Weights:
    """File and hash of the backbone every network starts from."""

    path: str
    sha256: str


def finetune(cohort: Cohort, weights: Weights, plan: Plan) -> NetworkFit:
    """Train one whole network per member of the plan; log-odds (checkpoints, N, networks)."""
    patches, features = cohort.patches(), plan.features(cohort)
    logits = [
        _train_one(cohort, patches, features[:, h : h + 1], weights, plan, h) for h in range(len(plan.training))
    ]
    return NetworkFit(np.stack(logits, axis=2), [{} for _ in plan.settings.checkpoints])


def _train_one(
    cohort: Cohort, patches: np.ndarray, features: torch.Tensor, weights: Weights, plan: Plan, member: int
) -> np.ndarray:
    model, settings, rows, seed = plan.model, plan.settings, plan.training[member], plan.seed + member
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    random, generator = np.random.default_rng([seed, 3]), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fusion = RadFusion(model, 1, features.shape[3]).to(device)
    # It stays in its state of evaluation: normalisations keep the statistics they were pre-trained with, since batches
    # are small.
    backbone = load_backbone(model, Path(weights.path), weights.sha256).to(device)
    _standardise(fusion, backbone, patches[rows], settings.batch, device)
    groups = [
        {"params": fusion.parameters(), "lr": settings.learning_rate},
        {"params": backbone.features.parameters(), "lr": settings.learning_rate * _BACKBONE_PACE},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=plan.weight_decay)
    weight = loss_weights(cohort, [rows])[:, 0]
    labels = torch.from_numpy(cohort.labels[cohort.patient].astype(np.float32))
    logits = []
    for epoch in range(1, max(settings.checkpoints) + 1):
        order = torch.from_numpy(rows)[torch.randperm(len(rows), generator=generator)]
        for batch in order.split(settings.batch):
            altered = augment(patches[batch.numpy()], cohort.side[batch.numpy()], random)
            out = _forward(backbone, fusion, altered, features[batch], model, device)
            loss = F.binary_cross_entropy_with_logits(out, labels[batch].to(device), reduction="none")
            optimiser.zero_grad()
            (loss * weight[batch].to(device)).mean().backward()
            nn.utils.clip_grad_norm_([*fusion.parameters(), *backbone.features.parameters()], 5.0)
            optimiser.step()
        if epoch in settings.checkpoints:
            with torch.no_grad():
                parts = [
                    _forward(backbone, fusion, patches[i : i + 64], features[i : i + 64], model, device).cpu().numpy()
                    for i in range(0, len(patches), 64)
                ]
            logits.append(np.concatenate(parts).astype(np.float64))
    return np.stack(logits)


def _forward(
    backbone: nn.Module,
    fusion: RadFusion,
    patches: np.ndarray,
    features: torch.Tensor,
    model: ModelSettings,
    device: torch.device,
) -> torch.Tensor:
    images = torch.from_numpy(np.ascontiguousarray(patches, np.float32)).to(device)
    shares = region_weights(images, model.stride, model.pooling)
    return fusion(backbone(images), shares, features.to(device))[:, 0]


def _standardise(
    fusion: RadFusion, backbone: nn.Module, patches: np.ndarray, batch: int, device: torch.device
) -> None:
    """Channel means and scales of the starting map, from the training patches."""
    with torch.no_grad():
        maps = torch.cat([
            backbone(torch.from_numpy(patches[i : i + batch]).to(device)) for i in range(0, len(patches), batch)
        ])  # fmt: skip
    fusion.reader.map_mean.data[0] = maps.mean(dim=(0, 2, 3))
    fusion.reader.map_scale.data[0] = 1 / maps.std(dim=(0, 2, 3)).clamp_min(1e-4)
