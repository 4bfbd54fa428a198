"""Features of regions: filter, discretise, count, summarise; one row per region."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cnsifusion.errors import BadInput
from cnsifusion.imaging.volume import Volume
from cnsifusion.radiomics import emphasis, firstorder, glcm, log, matrices, mesh, ngtdm, shape
from cnsifusion.radiomics.counts import Sparse, mean_over
from cnsifusion.radiomics.discretise import grey_levels
from cnsifusion.radiomics.settings import ENGINE, ENGINE_VERSION, RadiomicsSettings
from cnsifusion.radiomics.table import FeatureTable
from cnsifusion.radiomics.threads import one_blas_thread
from cnsifusion.radiomics.voxels import RegionMask, Voxels, offsets

#: Levels held at once (images times voxels): small regions go through in one piece, a whole brain image by image.
_BATCH = 2_000_000

_TEXTURE_NAMES = {
    "glcm": glcm.NAMES,
    **{kind: tuple(names.values()) for kind, names in emphasis.NAMES.items()},
    "ngtdm": ngtdm.NAMES,
}

_SHAPES = frozenset(("shape", "shape2D"))
#: Classes that are computed from one count of the voxels.
_TOGETHER = (("firstorder",), ("glcm", "gldm", "ngtdm"), ("glrlm",), ("glszm",))

#: Why a value of a class can still be missing in a region that passed the checks.
_CLASS_REASONS = {
    "glcm": "no two voxels of the region are neighbours at the set distances",
    "glrlm": "no line through the region holds two of its voxels",
    "firstorder": "no voxel lies between the 10th and the 90th percentile",
    "shape2D": "the region lies in several slices",
}


@dataclass(frozen=True)
class _Job:
    """One call's geometry and settings; everything is indexed by image and by region."""

    voxels: Voxels
    settings: RadiomicsSettings
    spacing: tuple[float, float, float]

    @property
    def regions(self) -> int:
        return len(self.voxels.sizes)


def feature_names(settings: RadiomicsSettings) -> tuple[str, ...]:
    """All columns of a table made with ``settings``, in order: shape first, then image by image, class by class."""
    names = []
    if "shape" in settings.feature_classes:
        names += [f"original_shape_{n}" for n in mesh.NAMES]
    if "shape2D" in settings.feature_classes:
        names += [f"original_shape2D_{n}" for n in shape.NAMES_2D]
    first = [n for n in firstorder.NAMES if n != "StandardDeviation" or settings.standard_deviation]
    by_class = {"firstorder": tuple(first), **_TEXTURE_NAMES}
    for image in settings.image_names():
        names += [f"{image}_{c}_{n}" for c, ns in by_class.items() if c in settings.feature_classes for n in ns]
    return tuple(names)


def extract(
    volume: Volume,
    regions: Sequence[RegionMask],
    settings: RadiomicsSettings | None = None,
    acquired_pixel_mm: float | None = None,
    only: Sequence[str] | None = None,
) -> FeatureTable:
    """Radiomics of ``regions`` of ``volume``: one row each, in their order; no row for none.

    ``volume``: prepared voxels [k, j, i]. ``acquired_pixel_mm``: in-plane pixel of the acquired matrix (by default the
    volume's own record); a LoG whose sigma is smaller is missing, since the scanner did not measure such detail, and
    an unknown pixel is a warning in the metadata. ``only``: the columns wanted, of ``feature_names(settings)``; what
    none of them needs is not computed, and their values are the same bits as in the whole table.

    Raises BadInput for masks that do not fit, voxels that are not numbers and widths that do not fit the intensities,
    and ValueError for a name in ``only`` that the settings do not give.
    """
    settings = settings or RadiomicsSettings()
    axes = slice_axis_first(settings)
    array = _normalised(volume, settings).transpose(axes)
    spacing = spacing_of(volume, axes)
    regions = [_turned(region, axes) for region in regions]
    voxels = Voxels(regions, array.shape, max(settings.distances), settings.force_2d)
    job = _Job(voxels, settings, spacing)
    acquired = acquired_pixel_mm or volume.acquisition.acquired_pixel_mm

    names = feature_names(settings) if only is None else tuple(only)
    wanted = _wanted(names, settings)
    column = {name: n for n, name in enumerate(names)}
    values = np.full((job.regions, len(names)), np.nan)
    whole_row = _unusable(voxels, settings.minimum_dimensions)
    whole_image = unusable_images(array.shape, spacing, settings, acquired)
    images = [name for name in settings.image_names() if name not in whole_image] if regions else []
    batch = max(1, _BATCH // max(1, len(voxels.coords)))
    with one_blas_thread():
        for at in range(0, len(images), batch):
            some = images[at : at + batch]
            for name, found in _features(job, some, _intensities(array, job, some), wanted).items():
                if name in column:
                    values[:, column[name]] = found
    for name, found in _shapes(job, wanted).items():
        if name in column:
            values[:, column[name]] = found
    values[list(whole_row)] = np.nan

    reasons = {}
    for row, col in np.argwhere(np.isnan(values)).tolist():
        image, kind, _ = names[col].split("_", 2)
        why = whole_row.get(row) or whole_image.get(image if "shape" not in kind else "")
        reasons[row, names[col]] = why or _CLASS_REASONS[kind]
    described = metadata(settings, acquired, ENGINE, ENGINE_VERSION)
    return FeatureTable(identification(regions), names, values, reasons, described)


#: Names of the features wanted, by image and class.
Wanted = Mapping[str, Mapping[str, Collection[str]]]


def _wanted(names: Sequence[str], settings: RadiomicsSettings) -> Wanted:
    wanted: dict[str, dict[str, set[str]]] = {}
    for name in names:
        image, kind, feature = name.split("_", 2)
        wanted.setdefault(image, {}).setdefault(kind, set()).add(feature)
    if unknown := set(names) - set(feature_names(settings)):
        raise ValueError(f"the settings do not give {', '.join(sorted(unknown))}")
    return wanted


def metadata(settings: RadiomicsSettings, acquired: float | None, engine: str, version: str) -> dict:
    """What a table says of itself: engine, settings, their hash, and warnings."""
    warnings = []
    if acquired is None and settings.log_sigmas_mm:
        warnings.append("The acquired pixel size is unknown: fine LoG scales may show interpolation, not tissue.")
    return {
        "engine": engine,
        "engine_version": version,
        "settings": settings.to_dict(),
        "settings_hash": settings.digest(engine, version),
        "acquired_pixel_mm": acquired,
        "warnings": warnings,
    }


def identification(regions: Sequence[RegionMask]) -> dict[str, list]:
    """Identification columns of the regions' rows: the label as ``instance``, then every key any region has."""
    keys = dict.fromkeys(k for region in regions for k in region.identification)
    columns = {k: [region.identification.get(k) for region in regions] for k in keys}
    return {"instance": [region.label for region in regions], **columns}


def slice_axis_first(settings: RadiomicsSettings) -> tuple[int, int, int]:
    """Order of an array's axes k, j, i that puts the axis of the 2-D slices first."""
    return ((0, 1, 2), (1, 0, 2), (2, 0, 1))[settings.force_2d_axis if settings.force_2d else 0]


def spacing_of(volume: Volume, axes: tuple[int, int, int]) -> tuple[float, float, float]:
    """Spacing in mm along array axes ``axes``."""
    a, b, c = (float(volume.spacing[::-1][n]) for n in axes)
    return (a, b, c)


def _turned(region: RegionMask, axes: tuple[int, int, int]) -> RegionMask:
    mask = np.asarray(region.mask)
    turned = mask.transpose(axes) if mask.ndim == 3 else mask
    return RegionMask(region.label, turned, region.slice_index, region.identification)


def _normalised(volume: Volume, settings: RadiomicsSettings) -> np.ndarray:
    """pyradiomics' normalisation of the whole image: z-score, outliers cut, scale (float32)."""
    if not settings.normalize:
        return volume.array
    array = volume.array.astype(float)
    z = (array - array.mean()) / array.std(ddof=1)
    if settings.remove_outliers is not None:
        z = np.clip(z, -settings.remove_outliers, settings.remove_outliers)
    return (z * settings.normalize_scale).astype(np.float32)


def _unusable(voxels: Voxels, minimum_dimensions: int) -> dict[int, str]:
    """Rows no feature can be computed for, with the reason."""
    out = {}
    for row, (size, extent) in enumerate(zip(voxels.sizes, voxels.extents)):
        dimensions = int((extent > 1).sum())
        if size == 0:
            out[row] = "the region is empty"
        elif size == 1:
            out[row] = "the region is a single voxel"
        elif dimensions < minimum_dimensions:
            out[row] = f"the region extends in {dimensions} of at least {minimum_dimensions} dimensions"
    return out


def unusable_images(
    shape: tuple[int, ...], spacing: tuple[float, ...], settings: RadiomicsSettings, acquired: float | None
) -> dict[str, str]:
    """Images no feature can be computed from, with the reason."""
    out = {}
    for sigma in settings.log_sigmas_mm:
        plane = slice(1 if settings.log_mode == "2D" else 0, None)
        if acquired is not None and sigma < acquired:
            why = f"sigma {sigma:g} mm is below one pixel of the acquired matrix ({acquired:.3g} mm)"
        elif log.too_small(shape[plane], spacing[plane], sigma):
            why = f"the image is too small for a LoG of {sigma:g} mm"
        else:
            continue
        out[settings.log_name(sigma)] = why
    return out


def _intensities(array: np.ndarray, job: _Job, images: Sequence[str]) -> list[np.ndarray]:
    """Intensities (N,) of the voxels in each image; raises BadInput where one is not a number."""
    sigma_of = {job.settings.log_name(s): s for s in job.settings.log_sigmas_mm}
    sigmas = [sigma_of[name] for name in images if name in sigma_of]
    filtered = log.log_values(array, job.spacing, sigmas, job.settings.log_mode, job.voxels)
    values = list(filtered) if sigmas else []
    if "original" in images:
        values.insert(0, array[tuple(job.voxels.coords.T)])
    if not all(np.isfinite(row).all() for row in values):
        raise BadInput("The image holds voxels that are not numbers in or near a region; export the series again.")
    return values


def _features(job: _Job, images: Sequence[str], values: list[np.ndarray], wanted: Wanted) -> dict[str, np.ndarray]:
    """Intensity features of some images by full name, (regions,) each: those wanted, and what comes with them."""
    settings, voxels = job.settings, job.voxels
    levels = np.ones((len(images), len(voxels.coords)), np.int32)
    for m, image in enumerate(images):
        width = settings.width_of(image) if settings.bin_count is None else 0.0
        for start, stop in pairwise(voxels.starts):
            if stop > start:
                levels[m, start:stop] = grey_levels(values[m][start:stop], width, settings.bin_count)

    by_image = {}
    for group in _TOGETHER:
        some = [m for m, image in enumerate(images) if set(group) & set(wanted.get(image, ()))]
        if not some:
            continue
        names = {kind: set().union(*(wanted[images[m]].get(kind, ()) for m in some)) for kind in group}
        if "firstorder" in group:
            found = {"firstorder": _first_order(job, np.array([values[m] for m in some], float), levels[some])}
        else:
            found = _textures(job, levels[some], {kind: features for kind, features in names.items() if features})
        for kind, features in found.items():
            for name, flat in features.items():
                for m, row in zip(some, flat.reshape(len(some), job.regions)):
                    by_image[f"{images[m]}_{kind}_{name}"] = row
    return by_image


def _first_order(job: _Job, values: np.ndarray, levels: np.ndarray) -> dict[str, np.ndarray]:
    """First order features, (images * regions,) each."""
    out = {name: np.full((len(values), job.regions), np.nan) for name in firstorder.NAMES}
    volume = float(np.prod(job.spacing))
    for r, (start, stop) in enumerate(pairwise(job.voxels.starts)):
        if stop > start:
            part = slice(start, stop)
            found = firstorder.features(values[:, part], levels[:, part], job.settings.voxel_array_shift, volume)
            for name, row in found.items():
                out[name][:, r] = row
    return {name: array.ravel() for name, array in out.items()}


def _textures(
    job: _Job, values: np.ndarray, kinds: Mapping[str, Collection[str]]
) -> dict[str, dict[str, np.ndarray]]:
    """Texture features by class and name, (images * regions,) each, from the grey levels (images, N)."""
    settings = job.settings
    steps = offsets(settings.distances, settings.force_2d)
    near = offsets((1,), settings.force_2d)
    levels = matrices.Levels(values, job.voxels)
    out: dict[str, dict[str, np.ndarray]] = {}
    if {"glcm", "gldm", "ngtdm"} & set(kinds):
        around = matrices.neighbourhood(levels, steps, settings.gldm_a)
        if "glcm" in kinds:
            top, flat = (np.tile(per_instance, len(steps)) for per_instance in (levels.top, levels.flat))
            out["glcm"] = glcm.features(around.pairs, top, flat, levels.count, kinds["glcm"])
        if "gldm" in kinds:
            out["gldm"] = emphasis.features(matrices.dependence(levels, around), "gldm")
        if "ngtdm" in kinds:
            out["ngtdm"] = _tones(*matrices.tone_differences(levels, around), levels.count)
    if "glrlm" in kinds:
        by_unit = emphasis.features(matrices.runs(levels, near), "glrlm")
        out["glrlm"] = {name: mean_over(v, levels.count) for name, v in by_unit.items()}
    if "glszm" in kinds:
        out["glszm"] = emphasis.features(matrices.zones(levels, near), "glszm")
    return out


def _tones(table: Sparse, difference: np.ndarray, count: int) -> dict[str, np.ndarray]:
    out = {name: np.full(count, np.nan) for name in ngtdm.NAMES}
    edges = np.searchsorted(table.unit, np.arange(count + 1))
    for unit, (start, stop) in enumerate(pairwise(edges)):
        if stop > start:
            found = ngtdm.features(table.i[start:stop].astype(float), table.count[start:stop], difference[start:stop])
            for name, value in found.items():
                out[name][unit] = value
    return out


def _shapes(job: _Job, wanted: Wanted) -> dict[str, np.ndarray]:
    """Shape features by full name, (regions,) each; NaN for an empty region and, in 2-D, for one of several slices."""
    classes, axes = _SHAPES & set(wanted.get("original", ())), slice_axis_first(job.settings)
    if not classes:
        return {}
    out: dict[str, np.ndarray] = {}
    for r, extent in enumerate(job.voxels.extents):
        coords = job.voxels.of(r)
        found: dict[str, float] = {}
        if "shape2D" in classes and extent[0] == 1:
            plane = shape.features_2d(coords[:, 1:], job.spacing[1:])
            found |= {f"original_shape2D_{n}": value for n, value in plane.items()}
        if "shape" in classes and len(coords):
            back = np.argsort(axes)
            solid = mesh.features(coords[:, back], np.array(job.spacing)[back])
            found |= {f"original_shape_{n}": value for n, value in solid.items()}
        for name, value in found.items():
            out.setdefault(name, np.full(job.regions, np.nan))[r] = value
    return out
