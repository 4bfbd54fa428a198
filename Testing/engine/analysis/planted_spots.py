"""Heads made of texture with one small bright spot where it is known to be, and a bundle that learned to find it.

Infected: every region holds a bright spot far from its middle. Everyone: a dark spot as strong elsewhere in the region,
so that a map that follows contrast alone, without regard to the model, points to the wrong place as often.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from cnsifusion.bundles import Bundle, load_bundle
from cnsifusion.imaging import Acquisition, CheckReport, Grid, PreparationSettings, Prepared, Volume
from cnsifusion.radiomics import RadiomicsSettings
from cnsifusion.roi.case import Case
from cnsifusion.roi.instances import make_instances
from cnsifusion.roi.names import SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT
from cnsifusion.roi.patches import PatchSettings, cut_patches
from cnsifusion.roi.regions import RegionSet
from cnsifusion.training.cases import QUANTITIES, _features
from cnsifusion.training.cohort import Cohort
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.manifest import Manifest
from cnsifusion.training.settings import TrainingSettings
from cnsifusion.training.train import train_bundle

MODEL = "mobile-aspp-radfusion"
RADIOMICS = RadiomicsSettings(
    log_mode="2D", log_sigmas_mm=(0.5, 1.0, 2.0), feature_classes=("firstorder", "glcm", "glrlm")
)
SETTINGS = TrainingSettings(
    folds=2, inner_folds=2, checkpoints=(15,), selectors=("mrmr",), feature_counts=(6,), bootstrap=10,
    patches=PatchSettings(size_mm=32.0), radiomics=RADIOMICS, leave_site_out=False,
)  # fmt: skip
_PIXEL, _SLICES, _ROWS, _COLUMNS = 0.5, 2, 80, 160
#: Half axes of a region and the spot's SD and height: pixels of 0.5 mm, hundredths of white matter's SD.
_HALF_ROWS, _HALF_COLUMNS, _SPOT, _HEIGHT = 15, 20, 1.6, 1200.0
#: A pixel this near to the spot's middle (mm) belongs to it.
SPOT_MM = 2.5


@dataclass(frozen=True, eq=False)
class Head:
    """One patient: the case, and where its bright spots are, bool [k, j, i]."""

    case: Case
    infected: bool
    spots: np.ndarray


def make_head(seed: int, infected: bool) -> Head:
    """A head of two slices with a region on each side."""
    random = np.random.default_rng([seed, int(infected)])
    grid = Grid((_COLUMNS, _ROWS, _SLICES), (_PIXEL, _PIXEL, 5.0), (-_COLUMNS * _PIXEL / 2, 0.0, 0.0), np.eye(3))
    shape = grid.shape
    texture = np.stack([gaussian_filter(random.normal(0, 1, shape[1:]), 1.5) for _ in range(shape[0])])
    image = 100 * texture / texture.std() + random.normal(0, 40, shape)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    masks = {name: np.zeros(shape, bool) for name in (SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT)}
    spots = np.zeros(shape, bool)
    for name, middle in ((SUBLENTIFORM_RIGHT, 42), (SUBLENTIFORM_LEFT, 118)):
        for k in range(shape[0]):
            y, x = (rows - 40) / _HALF_ROWS, (columns - middle) / _HALF_COLUMNS
            masks[name][k] = x**2 + y**2 <= 1
            angle = random.uniform(0, 2 * np.pi)
            for turn, height in ((0.0, _HEIGHT if infected else 0.0), (random.uniform(1.5, 4.8), -_HEIGHT)):
                j = 40 + 0.68 * _HALF_ROWS * np.sin(angle + turn)
                i = middle + 0.68 * _HALF_COLUMNS * np.cos(angle + turn)
                square = (rows - j) ** 2 + (columns - i) ** 2
                image[k] += height * np.exp(-square / (2 * _SPOT**2))
                if height > 0:
                    spots[k] |= square * _PIXEL**2 <= SPOT_MM**2
    volume = Volume(image.astype(np.float32), grid, acquisition=Acquisition(acquired_pixel_mm=0.5))
    prepared = Prepared(volume, volume, volume.content()[1:], 0.0, PreparationSettings(pixel_mm=_PIXEL))
    regions = RegionSet(grid, masks)
    return Head(Case(volume, CheckReport(), None, prepared, regions), infected, spots)  # type: ignore[arg-type]


def make_cohort(heads: list[Head], folder: Path) -> Cohort:
    """The heads as the training's cached cohort: the same instances, patches and radiomics as of real images."""
    folder.mkdir(parents=True, exist_ok=True)
    keys, sides, owner, features, altered, cases = [], [], [], [], [], []
    for number, head in enumerate(heads):
        instances, _ = make_instances(head.case, "sublentiform")
        values, table = _features(head.case, instances, RADIOMICS)
        patches, _ = cut_patches(head.case, instances, SETTINGS.patches)
        side = np.array([i.side for i in instances])
        path = folder / f"head{number}.npz"
        np.savez(path, patches=patches.astype(np.float16), side=side)
        keys += [i.key for i in instances]
        sides.append(side)
        owner += [number] * len(instances)
        features.append(values[0])
        altered.append(values[1:])
        cases.append(str(path))
    count = len(heads)
    return Cohort(
        patient_ids=np.array([f"p{n}" for n in range(count)]),
        labels=np.array([int(h.infected) for h in heads]),
        patient=np.array(owner),
        keys=np.array(keys),
        part=np.array(["sublentiform"] * len(owner)),
        side=np.concatenate(sides),
        names=np.array(table.names),
        features=np.concatenate(features),
        altered=np.concatenate(altered, axis=1),
        quantities=np.ones((count, len(QUANTITIES))),
        age=np.full(count, 50.0),
        male=np.zeros(count),
        site=np.array(["A"] * count),
        cases=np.array(cases),
        settings=json.dumps(RADIOMICS.to_dict()),
        key=f"planted-spots-{count}",
    )


def train_on_spots(folder: Path, patients: int = 16) -> Bundle:
    """A bundle trained on ``patients`` + ``patients`` heads, on a random backbone."""
    cohort = make_cohort([make_head(n // 2, n % 2 == 1) for n in range(2 * patients)], folder / "cases")
    (folder / "manifest.csv").write_text("x")
    manifest = Manifest(folder / "manifest.csv", [], True)
    experiment = Experiment(manifest, "sublentiform", SETTINGS, folder, allow_random_backbone=True)
    cohort.save(experiment.cohort_path(cohort))
    experiment.cohort = lambda: cohort  # type: ignore[method-assign]
    return load_bundle(train_bundle(experiment, MODEL, folder / "bundle"))
