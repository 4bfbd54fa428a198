"""Training ASPP and RadFusion heads on cached maps (the ``frozen`` regime): all inner folds and the refit at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from cnsifusion.models.fusion import RadFusion
from cnsifusion.models.settings import ModelSettings
from cnsifusion.training.cohort import Cohort, instance_weights
from cnsifusion.training.maps import Maps
from cnsifusion.training.selection import Selection
from cnsifusion.training.settings import TrainingSettings

_PREDICT_BATCH = 64


@dataclass(frozen=True, eq=False)
class NetworkFit:
    """Log-odds (checkpoints, N, heads) of every instance at each checkpoint, and the last head's state then."""

    logits: np.ndarray
    states: list[dict[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Plan:
    """What to fit: one member per entry of ``training`` (instance rows), each with its own ``selections`` of features
    (None: no radiomics)."""

    model: ModelSettings
    settings: TrainingSettings
    training: list[np.ndarray]
    selections: list[Selection] | None
    weight_decay: float
    seed: int

    def features(self, cohort: Cohort) -> torch.Tensor:
        """Each member's own standardised features (N, H, 1, K), K the largest number chosen; zeros fill the rest."""
        members = len(self.training)
        if self.selections is None:
            return torch.zeros(len(cohort.patient), members, 1, 1)
        width = max(len(s.columns) for s in self.selections)
        packed = np.zeros((len(cohort.patient), members, 1, width), np.float32)
        for h, selection in enumerate(self.selections):
            packed[:, h, 0, : len(selection.columns)] = selection.apply(cohort.features, self.model.clip)
        return torch.from_numpy(packed)


def train_heads(cohort: Cohort, maps: Maps, plan: Plan) -> NetworkFit:
    """Train the plan's members side by side, each on its own patients only.

    Every patient weighs the same in the loss, and the loss of a head never sees an instance outside its rows.
    """
    settings, training = plan.settings, plan.training
    features = plan.features(cohort)
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        fusion = RadFusion(plan.model, len(training), features.shape[3])
    _standardise_maps(fusion, maps, training)
    shares = loss_weights(cohort, training)
    labels = torch.from_numpy(cohort.labels[cohort.patient].astype(np.float32))
    rows, epochs = np.unique(np.concatenate(training)), max(settings.checkpoints)
    optimiser = torch.optim.AdamW(fusion.parameters(), lr=settings.learning_rate, weight_decay=plan.weight_decay)
    steps = epochs * -(-len(rows) // settings.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, settings.learning_rate * 0.05)
    generator = torch.Generator().manual_seed(plan.seed)
    logits, states = [], []
    for epoch in range(1, epochs + 1):
        for batch, values, weights in _batches(rows, maps, settings.batch, generator):
            activations = _drop(fusion.reader(values), settings.dropout, generator)
            pooled = fusion.pool(activations, weights)
            out = fusion.head.logit(fusion.head.before_hidden(pooled, features[batch]))
            target = labels[batch, None].expand_as(out)
            loss = F.binary_cross_entropy_with_logits(out, target, reduction="none") * shares[batch]
            optimiser.zero_grad()
            loss.sum().div(settings.batch).backward()
            optimiser.step()
            schedule.step()
        if epoch in settings.checkpoints:
            logits.append(_predict(fusion, maps, features))
            states.append(head_state(fusion, len(training) - 1))
    return NetworkFit(np.stack(logits), states)


def head_state(fusion: RadFusion, head: int) -> dict[str, np.ndarray]:
    """All weights of one head, each with its leading head axis cut out (axis 0, or a share of the channels)."""
    state = {}
    for name, tensor in fusion.state_dict().items():
        array = tensor.detach().numpy()
        if array.ndim == 0:
            state[name] = array.copy()
            continue
        share = array.shape[0] // fusion.heads
        state[name] = array[head * share : (head + 1) * share].copy()
    return state


def _standardise_maps(fusion: RadFusion, maps: Maps, training: list[np.ndarray]) -> None:
    """Each head's channel means and scales, from its own training instances."""
    plain = maps.values[0]
    mean = np.stack([m.mean(axis=(1, 2)) for m in plain.astype(np.float32)])
    square = np.stack([(m**2).mean(axis=(1, 2)) for m in plain.astype(np.float32)])
    for h, rows in enumerate(training):
        center = mean[rows].mean(axis=0)
        spread = np.sqrt(np.maximum(square[rows].mean(axis=0) - center**2, 1e-8))
        fusion.reader.map_mean.data[h] = torch.from_numpy(center)
        fusion.reader.map_scale.data[h] = torch.from_numpy(1 / spread)


def loss_weights(cohort: Cohort, training: list[np.ndarray]) -> torch.Tensor:
    """Weights (N, H): zero outside a head's rows, equal in sum for every patient inside, 1 on average."""
    weights = np.zeros((len(cohort.patient), len(training)), np.float32)
    each = instance_weights(cohort)
    for h, rows in enumerate(training):
        weights[rows, h] = each[rows] / each[rows].mean()
    return torch.from_numpy(weights)


def _batches(
    rows: np.ndarray, maps: Maps, size: int, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Row numbers, maps and pooling weights in random order, each instance in a randomly drawn version."""
    order = torch.from_numpy(rows)[torch.randperm(len(rows), generator=generator)]
    versions = torch.randint(len(maps.values), (len(rows),), generator=generator)
    for batch, version in zip(order.split(size), versions.split(size)):
        yield (batch, *maps.tensors(version.numpy(), batch.numpy()))


def _drop(activations: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Dropout of whole channels, drawn from ``generator``."""
    if share == 0:
        return activations
    keep = torch.rand(activations.shape[:2], generator=generator) >= share
    return activations * (keep.float() / (1 - share))[:, :, None, None]


def _predict(fusion: RadFusion, maps: Maps, features: torch.Tensor) -> np.ndarray:
    parts = []
    with torch.no_grad():
        for start in range(0, len(features), _PREDICT_BATCH):
            rows = slice(start, start + _PREDICT_BATCH)
            parts.append(fusion(*maps.tensors(0, rows), features[rows]).numpy())
    return np.concatenate(parts).astype(np.float64)
