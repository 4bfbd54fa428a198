"""Backbone maps of every instance, computed once per patient and cached (the ``frozen`` regime)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from cnsifusion.imaging.write import atomic_path
from cnsifusion.models.backbones import Backbone, load_backbone
from cnsifusion.models.fusion import region_weights
from cnsifusion.models.settings import ModelSettings
from cnsifusion.training.augment import augment
from cnsifusion.training.cohort import Cohort
from cnsifusion.training.settings import digest, learning_source
from cnsifusion.training.tasks import Progress, no_progress, run_tasks

_BATCH = 16


@dataclass(frozen=True, eq=False)
class Maps:
    """Cached backbone maps of all N instances: ``values`` (versions, N, C, h, w) float16 and ``weights`` (versions, N,
    h, w) float16, the pooling weights. Version 0 is the unaltered patch, the others are augmentations."""

    values: np.ndarray
    weights: np.ndarray

    def tensors(self, versions: int | np.ndarray, rows: slice | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (n, C, h, w) and weights (n, 1, h, w) of some instances, float32, each in its version."""
        values, weights = (array[versions, rows].astype(np.float32) for array in (self.values, self.weights))
        return torch.from_numpy(values), torch.from_numpy(weights)[:, None]


@dataclass(frozen=True)
class MapTask:
    """Maps of one patient: its cached case, the backbone's weights (file and hash) and how many altered copies."""

    case: str
    model: ModelSettings
    backbone: str
    backbone_sha256: str
    augmentations: int
    cache: str


def build_maps(
    cohort: Cohort,
    model: ModelSettings,
    backbone: Path,
    backbone_sha256: str,
    augmentations: int,
    cache: Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Progress = no_progress,
) -> list[str]:
    """Cached map files, one per patient, in the cohort's order."""
    tasks = [
        MapTask(str(case), model, str(backbone), backbone_sha256, augmentations, str(cache)) for case in cohort.cases
    ]
    name = f"Maps of {model.backbone}"
    return run_tasks(_build_one, tasks, jobs=jobs, scheduler=scheduler, progress=progress, name=name)


def load_maps(paths: list[str]) -> Maps:
    """All patients' maps, joined."""
    values, weights = [], []
    for path in paths:
        with np.load(path, allow_pickle=False) as data:
            values.append(data["values"])
            weights.append(data["weights"])
    return Maps(np.concatenate(values, axis=1), np.concatenate(weights, axis=1))


@lru_cache(maxsize=2)
def _backbone(model: ModelSettings, path: str, sha256: str) -> Backbone:
    return load_backbone(model, Path(path), sha256)


def _build_one(task: MapTask) -> str:
    model = task.model
    shape = (model.backbone, model.stride, model.map_channels, model.pooling, model.narrow_window, model.wide_window)
    name = digest(learning_source(), Path(task.case).stem, task.backbone_sha256, shape, task.augmentations)
    path = Path(task.cache) / f"{name}.npz"
    if not path.exists():
        backbone = _backbone(model, task.backbone, task.backbone_sha256)
        with np.load(task.case, allow_pickle=False) as data:
            patches, side = data["patches"].astype(np.float32), data["side"]
        random = np.random.default_rng(zlib.crc32(patches.tobytes()))  # not by the file's name: versions differ in it
        versions = [patches, *(augment(patches, side, random) for _ in range(task.augmentations))]
        values = np.stack([_run(backbone, v) for v in versions])
        weights = np.stack([region_weights(torch.from_numpy(v), model.stride, model.pooling)[:, 0] for v in versions])
        with atomic_path(path) as temporary:
            np.savez(temporary, values=values.astype(np.float16), weights=weights.astype(np.float16))
    return str(path)


def _run(backbone: Backbone, patches: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        parts = [backbone(torch.from_numpy(patches[i : i + _BATCH])).numpy() for i in range(0, len(patches), _BATCH)]
    return np.concatenate(parts)
