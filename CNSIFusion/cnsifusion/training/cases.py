"""One patient made ready for training, once: instances, features, patches and covariates in one cached file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, convolve, label

from cnsifusion.errors import BadInput, CNSIFusionError
from cnsifusion.imaging import PreparationSettings, Volume, read_image
from cnsifusion.imaging.read import content_sha256, sidecar
from cnsifusion.imaging.write import atomic_path
from cnsifusion.radiomics import FeatureTable, RadiomicsSettings, RegionMask, extract
from cnsifusion.radiomics.table import group_reasons
from cnsifusion.roi.case import Case, prepare_case
from cnsifusion.roi.instances import Instance, make_instances
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, VENTRICLES
from cnsifusion.roi.patches import PatchSettings, cut_patches
from cnsifusion.roi.placement import read_placement
from cnsifusion.roi.region_io import read_regions
from cnsifusion.source import source_hash
from cnsifusion.training.settings import digest

#: Quantities of the whole image or head, one per patient; the first group says how it was acquired.
ACQUISITION = ("noise", "sharpness", "pixel_mm", "slice_spacing_mm")
ANATOMY = ("pvs_count", "ventricle_ml")
FROM_HEADER = ("repetition_time_ms", "echo_time_ms", "field_strength_t")
QUANTITIES = (*ACQUISITION, *ANATOMY, *FROM_HEADER)

#: Part of a slice the head is moved by: the mean distance of a second scan whose slices fall anywhere. A whole slice
#: (5 mm) would be other anatomy; it made every feature of low frequency look unstable.
_SHIFT = 0.25
_ADDED_NOISE = 30.0  # normalised units: 0.3 robust SD of white matter


@dataclass(frozen=True)
class CaseTask:
    """What to make of one patient, for one region or more, and where to keep it. Paths are text so that the task
    travels to other machines.
    """

    image: str
    rois: str | None
    regions: tuple[str, ...]
    submask: str
    preparation: PreparationSettings
    patches: PatchSettings
    radiomics: RadiomicsSettings
    cache: str
    placement: str | None = None
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseResult:
    """Path of each region's cached file, or the sentence that says why there is none; hash of the image's voxels."""

    paths: tuple[str, ...]
    problem: str = ""
    image: str = ""


def build_case(task: CaseTask) -> CaseResult:
    """Prepare one patient, once for all regions, or take it from the cache. What is wrong with the patient comes back
    as a sentence, not as an error; a cache that cannot be written is no patient's fault and ends the run.
    """
    try:
        image = content_sha256(Path(task.image))
        rois = content_sha256(Path(task.rois)) if task.rois else None
        placement = [content_sha256(Path(task.placement))] if task.placement else []
        acquisition = [content_sha256(path) for path in [sidecar(Path(task.image))] if path.is_file()]
        assigned = [task.names] if task.names else []
        names = [
            digest(
                preparation_source(), image, rois, region, task.submask, task.preparation.to_dict(),
                task.patches.to_dict(), task.radiomics.hash, *placement, *acquisition, *assigned,
            )
            for region in task.regions
        ]  # fmt: skip
        paths = [Path(task.cache) / f"{name}.npz" for name in names]
        missing = [(region, path) for region, path in zip(task.regions, paths) if not path.exists()]
        case = _prepared(task) if missing else None
        made = [(path, _arrays(case, region, task)) for region, path in missing] if case else []
    except CNSIFusionError as error:
        return CaseResult((), str(error))
    for path, arrays in made:
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
    with np.load(paths[0], allow_pickle=False) as data:
        return CaseResult(tuple(str(path) for path in paths), image=str(data["voxels"]))


@lru_cache(maxsize=1)
def preparation_source() -> str:
    """Hash of all in this program that a prepared patient depends on: a newer clone of the same version must not go on
    with patients that an older one prepared.
    """
    return source_hash("imaging", "inference.py", "radiomics", "roi", "resources/template", "training/cases.py")


def _prepared(task: CaseTask) -> Case:
    volume = read_image(task.image)
    regions = read_regions(task.rois, volume, task.names) if task.rois else None
    placement = read_placement(task.placement) if task.placement else None
    case = prepare_case(volume, regions, task.preparation, placement=placement)
    if case.doubts:
        raise BadInput(" ".join(case.doubts))
    return case


def _arrays(case: Case, region: str, task: CaseTask) -> dict[str, np.ndarray]:
    instances, left_out = make_instances(case, region, task.submask)
    if not instances:
        reasons = "; ".join(sorted({item.reason for item in left_out}))
        raise BadInput(f"no part of the region {region} can be classified ({reasons})")
    features, clean = _features(case, instances, task.radiomics)
    if np.isinf(features).any():
        raise BadInput("a radiomics feature is infinite (check the intensities in the region)")
    patches, _ = cut_patches(case, instances, task.patches)
    return {
        "keys": np.array([i.key for i in instances]),
        "part": np.array([i.part for i in instances]),
        "side": np.array([i.side for i in instances]),
        "pixels": np.array([i.pixels for i in instances]),
        "names": np.array(clean.names),
        "about": np.array(_about(clean, len(instances))),
        "voxels": np.array(hashlib.sha256(case.volume.array.tobytes()).hexdigest()),
        "features": features,
        "patches": patches.astype(np.float16),
        "quantities": _quantities(case),
    }


def _about(table: FeatureTable, instances: int) -> str:
    """As JSON, why values of the first ``instances`` rows are missing, and the table's warnings."""
    reasons = {(row, name): why for (row, name), why in table.reasons.items() if row < instances}
    return json.dumps({"reasons": group_reasons(reasons), "warnings": table.metadata["warnings"]})


def _features(case: Case, instances: list[Instance], settings: RadiomicsSettings) -> tuple[np.ndarray, FeatureTable]:
    """Features (1 + alterations, n, F), the unaltered first, and the table that begins with these."""
    random = np.random.default_rng(int(case.volume.sha256[:16] or "0", 16))
    image = case.prepared.resampled
    acquired = case.volume.acquisition.acquired_pixel_mm
    plain = [RegionMask(f"plain|{i.key}", i.mask, i.slice_index) for i in instances]
    jitter = [RegionMask(f"jitter|{i.key}", _jitter(i.mask, random), i.slice_index) for i in instances]
    clean = extract(image, [*plain, *jitter], settings, acquired)
    noise = random.normal(0, _ADDED_NOISE, image.array.shape).astype(np.float32)
    others = [
        extract(image.with_array(array), plain, settings, acquired).values
        for array in (shifted(image.array), image.array + noise)
    ]
    return np.concatenate([clean.values, *others]).reshape(4, len(instances), -1), clean


def shifted(slices: np.ndarray) -> np.ndarray:
    """``slices`` (k, j, i) as if the head lay _SHIFT of a slice lower: each mixed with its upper neighbour (the last
    one with its lower)."""
    if len(slices) < 2:
        return slices
    neighbours = np.concatenate([slices[1:], slices[-2:-1]])
    return slices + np.float32(_SHIFT) * (neighbours - slices)


def _jitter(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """``mask`` with about half of its rim pixels taken off and half of the next ring added."""
    coin = random.random(mask.shape) < 0.5
    inner, outer = binary_erosion(mask), binary_dilation(mask)
    jittered = inner | (mask & coin) | (outer & ~mask & coin)
    return jittered if jittered.sum() >= 16 else mask


def _quantities(case: Case) -> np.ndarray:
    """Values of QUANTITIES, in their order; NaN where unknown."""
    volume, acquisition = case.volume, case.volume.acquisition
    values = {
        "noise": relative_noise(volume, case.anatomy.white_matter, case.prepared.wm_median),
        "sharpness": sharpness(case),
        "pixel_mm": max(volume.spacing[:2]),
        "slice_spacing_mm": volume.spacing[2],
        "pvs_count": _pvs_count(case),
        "ventricle_ml": _ventricle_ml(case),
        "repetition_time_ms": acquisition.repetition_time,
        "echo_time_ms": acquisition.echo_time,
        "field_strength_t": acquisition.field_strength,
    }
    return np.array([np.nan if values[name] is None else values[name] for name in QUANTITIES], float)


def relative_noise(volume: Volume, white_matter: np.ndarray, wm_median: float) -> float:
    """Noise SD in deep white matter relative to its signal (Immerkaer, Comput Vis Image Underst 1996;64:300)."""
    kernel = np.array([[[1, -2, 1], [-2, 4, -2], [1, -2, 1]]], np.float32)
    inside = binary_erosion(white_matter, np.ones((1, 3, 3), bool))
    if not inside.any():
        inside = white_matter
    response = np.abs(convolve(volume.array, kernel, mode="nearest")[inside])
    return float(np.sqrt(np.pi / 2) * response.mean() / 6 / max(wm_median, 1e-9))


def sharpness(case: Case) -> float:
    """Mean step over 0.5 mm relative to the mean step over 2 mm, in plane, in three slices of the brain: small when
    blurred.
    """
    image, brain = case.prepared.resampled, case.prepared.resample_mask(case.anatomy.brain)
    slices = np.flatnonzero(brain.any(axis=(1, 2)))
    chosen = slices[[len(slices) // 3, len(slices) // 2, 2 * len(slices) // 3]]
    picture, inside = image.array[chosen], brain[chosen]
    wide = max(2, round(2.0 / image.spacing[0]))

    def step(pixels: int) -> float:
        rows = np.abs(picture[:, pixels:] - picture[:, :-pixels])[inside[:, pixels:]]
        columns = np.abs(picture[:, :, pixels:] - picture[:, :, :-pixels])[inside[:, :, pixels:]]
        return float(rows.mean() + columns.mean())

    return step(1) / max(step(wide), 1e-9)


def _pvs_count(case: Case) -> float | None:
    masks = [case.regions.masks[name] for name in (PVS_LEFT, PVS_RIGHT) if name in case.regions.masks]
    return float(sum(label(mask, np.ones((3, 3, 3)))[1] for mask in masks)) if masks else None


def _ventricle_ml(case: Case) -> float | None:
    mask = case.regions.masks.get(VENTRICLES)
    return None if mask is None else float(mask.sum()) * case.volume.grid.voxel_volume / 1000
