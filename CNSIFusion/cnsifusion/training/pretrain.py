"""A backbone pre-trained without labels, on patches of patients that take no part in the evaluation.

Every cell of the map must tell, from a noisy and shaded patch, what the clean patch looked like there: brightness,
spread, and the response to Laplacians of Gaussian of three widths (round bright things of three sizes). No label and no
truth enters, so any cohort serves; the project's own bundles use simulated patients of seeds kept apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, gaussian_laplace
from torch import nn
from torch.nn import functional as F  # noqa: N812

from cnsifusion.errors import BadInput
from cnsifusion.models.backbones import new_backbone, save_backbone
from cnsifusion.models.settings import ModelSettings
from cnsifusion.training.augment import augment
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.manifest import known_by

_LOG_PIXELS = (1.0, 2.0, 4.0)
_CROP, _BATCH = 64, 16


def pretrain(experiment: Experiment, model: ModelSettings, out: Path, steps: int, seed: int) -> str:
    """Train ``model``'s backbone for ``steps`` batches on the patches of the experiment's patients; writes ``out``,
    which keeps hashes of them so that none is evaluated with it later, returns its SHA-256.

    Raises BadInput for fewer than 32 patches.
    """
    cohort, progress = experiment.cohort(), experiment.progress
    patches, side = cohort.patches(), cohort.side
    if len(patches) < 32:
        raise BadInput("Pre-training needs at least 32 patches; give it more patients.")
    targets = np.stack([cell_targets(p[0], model.stride) for p in patches])
    center, spread = targets.mean(axis=(0, 2, 3)), targets.std(axis=(0, 2, 3))
    targets = (targets - center[:, None, None]) / np.maximum(spread, 1e-6)[:, None, None]
    random, backbone = np.random.default_rng([seed, 2]), new_backbone(model, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        reader = nn.Conv2d(model.map_channels, targets.shape[1], 1)
        parameters = [*backbone.features.parameters(), *reader.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
        backbone.train()
        for step in range(1, steps + 1):
            rows = random.choice(len(patches), _BATCH, replace=False)
            noisy = augment(patches[rows], side[rows], random, turn=False)
            images, wanted = _crop(noisy, targets[rows], model.stride, random)
            loss = F.smooth_l1_loss(reader(backbone(torch.from_numpy(images))), torch.from_numpy(wanted))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
            schedule.step()
            progress(step, steps, f"Pre-train {model.backbone} (loss {float(loss.detach()):.3f})")
    met = set().union(*(known_by(patient) for patient in experiment.manifest.patients))
    return save_backbone(backbone.eval(), out, met)


def cell_targets(image: np.ndarray, stride: int) -> np.ndarray:
    """What each cell of a clean patch (h, w) looks like: (channels, h / stride, w / stride) float32."""
    clean = gaussian_filter(image, 0.7)
    pictures = [clean, clean**2]
    for sigma in _LOG_PIXELS:
        response = -(sigma**2) * gaussian_laplace(image, sigma)
        pictures += [np.maximum(response, 0), np.maximum(-response, 0), np.maximum(response, 0) ** 2]
    rows, columns = image.shape[0] // stride, image.shape[1] // stride
    stacked = np.stack(pictures)[:, : rows * stride, : columns * stride]
    cells = stacked.reshape(len(pictures), rows, stride, columns, stride)
    return np.concatenate([cells.mean(axis=(2, 4)), cells[2:].max(axis=(2, 4))]).astype(np.float32)


def _crop(
    patches: np.ndarray, targets: np.ndarray, stride: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One random crop for the whole batch, on cell borders: smaller pictures train faster."""
    cells, size = patches.shape[2] // stride, min(_CROP, patches.shape[2]) // stride
    row, column = random.integers(0, cells - size + 1, 2)
    images = patches[:, :, row * stride : (row + size) * stride, column * stride : (column + size) * stride]
    wanted = targets[:, :, row : row + size, column : column + size]
    return np.ascontiguousarray(images, np.float32), np.ascontiguousarray(wanted, np.float32)
