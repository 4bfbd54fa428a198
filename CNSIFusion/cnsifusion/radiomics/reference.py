"""The same table from the installed pyradiomics package: the reference the native engine is tested against."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from cnsifusion.errors import BadInput
from cnsifusion.imaging.volume import Volume
from cnsifusion.radiomics.extract import (
    feature_names,
    identification,
    metadata,
    slice_axis_first,
    spacing_of,
    unusable_images,
)
from cnsifusion.radiomics.settings import RadiomicsSettings
from cnsifusion.radiomics.table import FeatureTable
from cnsifusion.radiomics.voxels import RegionMask

ENGINE = "pyradiomics"


def extract_with_pyradiomics(
    volume: Volume,
    regions: Sequence[RegionMask],
    settings: RadiomicsSettings | None = None,
    acquired_pixel_mm: float | None = None,
) -> FeatureTable:
    """``extract`` by pyradiomics itself, in the same table format; a LoG image is filtered once, not per region.

    Raises BadInput when the package is not installed.
    """
    radiomics = pyradiomics_package()
    settings = settings or RadiomicsSettings()
    acquired = acquired_pixel_mm or volume.acquisition.acquired_pixel_mm
    names = feature_names(settings)
    column = {name: n for n, name in enumerate(names)}
    masks = [_mask_image(volume, region, settings.force_2d_axis) for region in regions]
    values = np.full((len(regions), len(names)), np.nan)
    refused: dict[int, str] = {}
    measured: set[int] = set()
    extractor = _extractor(radiomics, settings)
    image = volume.to_sitk()
    if settings.normalize:
        image = radiomics.imageoperations.normalizeImage(image, **extractor.settings)
    axes = slice_axis_first(settings)
    unusable = unusable_images(volume.array.transpose(axes).shape, spacing_of(volume, axes), settings, acquired)
    for filtered, name in _images(image, settings, axes[0]):
        if name in unusable:
            continue
        options = dict(extractor.settings)
        options |= {"binWidth": settings.width_of(name)} if settings.bin_count is None else {}
        for row, mask in enumerate(masks):
            try:
                cropped = _cropped(radiomics, filtered, mask, options)
            except ValueError as error:
                refused[row] = f"pyradiomics refuses the region: {error}"
                continue
            found = extractor.computeFeatures(*cropped, name, **options)
            found.update(_shapes(radiomics, extractor, cropped, options) if row not in measured else {})
            measured.add(row)
            for key, value in found.items():
                if key in column:
                    values[row, column[key]] = value
    reasons = {}
    for row, col in np.argwhere(np.isnan(values)).tolist():
        image_name = names[col].split("_", 1)[0]
        reasons[row, names[col]] = refused.get(row) or unusable.get(image_name) or "pyradiomics gives no value"
    version = str(radiomics.__version__)
    return FeatureTable(identification(regions), names, values, reasons, metadata(settings, acquired, ENGINE, version))


def pyradiomics_package() -> Any:
    """The imported package; BadInput with what to do where it is not installed."""
    try:
        import radiomics
        import radiomics.featureextractor
    except ImportError as error:
        raise BadInput(
            "The pyradiomics engine is not installed: pip install pyradiomics-bhklab (Python 3.11 or 3.12), "
            "or use the native engine, which gives the same numbers."
        ) from error
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    return radiomics


def _extractor(radiomics: Any, settings: RadiomicsSettings) -> Any:
    extractor = radiomics.featureextractor.RadiomicsFeatureExtractor(
        additionalInfo=False,
        force2D=settings.force_2d,
        force2Ddimension=settings.force_2d_axis,
        binCount=settings.bin_count,
        distances=list(settings.distances),
        gldm_a=settings.gldm_a,
        voxelArrayShift=settings.voxel_array_shift,
        minimumROIDimensions=settings.minimum_dimensions,
        normalizeScale=settings.normalize_scale,
        removeOutliers=settings.remove_outliers,
    )
    extractor.disableAllFeatures()
    for kind in settings.feature_classes:
        extractor.enableFeatureClassByName(kind)
    if settings.standard_deviation and "firstorder" in settings.feature_classes:
        names = radiomics.getFeatureClasses()["firstorder"].getFeatureNames()
        extractor.enabledFeatures["firstorder"] = list(names)
    return extractor


def _mask_image(volume: Volume, region: RegionMask, axis: int) -> sitk.Image:
    mask = np.asarray(region.mask)
    if mask.ndim == 2:
        whole = np.zeros(volume.array.shape, bool)
        np.moveaxis(whole, axis, 0)[region.slice_index] = mask
        mask = whole
    return volume.with_array(mask).to_sitk()


def _images(image: sitk.Image, settings: RadiomicsSettings, axis: int) -> Iterator[tuple[sitk.Image, str]]:
    if settings.original:
        yield image, "original"
    for sigma in settings.log_sigmas_mm:
        log = sitk.LaplacianRecursiveGaussianImageFilter()
        log.SetNormalizeAcrossScale(True)
        log.SetSigma(sigma)
        if settings.log_mode == "3D":
            filtered = log.Execute(image) if min(image.GetSize()) >= 4 else image
        else:
            filtered = _by_slice(image, log, 2 - axis)
        yield filtered, settings.log_name(sigma)


def _by_slice(image: sitk.Image, log: sitk.LaplacianRecursiveGaussianImageFilter, axis: int) -> sitk.Image:
    """The filter applied to every slice perpendicular to ``axis`` (ITK's numbering) as an image of its own."""
    slices = []
    for n in range(image.GetSize()[axis]):
        size, index = list(image.GetSize()), [0, 0, 0]
        size[axis], index[axis] = 0, n
        slices.append(sitk.GetArrayFromImage(log.Execute(sitk.Extract(image, size, index))))
    filtered = sitk.GetImageFromArray(np.stack(slices, axis=2 - axis))
    filtered.CopyInformation(image)
    return filtered


def _cropped(
    radiomics: Any, image: sitk.Image, mask: sitk.Image, options: dict[str, Any]
) -> tuple[sitk.Image, sitk.Image]:
    box, _ = radiomics.imageoperations.checkMask(image, mask, **options)
    return radiomics.imageoperations.cropToTumorMask(image, mask, box)


def _shapes(
    radiomics: Any, extractor: Any, cropped: tuple[sitk.Image, sitk.Image], options: dict[str, Any]
) -> dict[str, Any]:
    """Shape features by full name, from the classes themselves: computeShape looks at the wrong axis for shape2D."""
    found: dict[str, Any] = {}
    flat = cropped[1].GetSize()[2 - options["force2Ddimension"]] == 1
    for kind in ("shape", "shape2D"):
        if kind in extractor.enabledFeatures and (kind == "shape" or flat):
            measured = radiomics.getFeatureClasses()[kind](*cropped, **options).execute()
            found |= {f"original_{kind}_{key}": value for key, value in measured.items()}
    return found
