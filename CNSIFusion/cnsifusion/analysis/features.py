"""Radiomics of a prepared case's instances, and of a whole file for ``cnsifusion features``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cnsifusion import __version__
from cnsifusion.analysis.progress import FEATURES, LOCATE, PREPARE, READ, StepProgress
from cnsifusion.analysis.result import place
from cnsifusion.errors import BadInput
from cnsifusion.imaging import PreparationSettings, read_image
from cnsifusion.radiomics import FeatureTable, RadiomicsSettings, RegionMask, extract, extract_with_pyradiomics
from cnsifusion.radiomics.reference import pyradiomics_package
from cnsifusion.roi.case import Case, prepare_case
from cnsifusion.roi.instances import Instance, make_instances
from cnsifusion.roi.names import REGIONS
from cnsifusion.roi.region_io import read_regions

#: Slices thicker than this are filtered in plane (protocol).
THICK_SLICE_MM = 3.0
ENGINES = {"native": extract, "pyradiomics": extract_with_pyradiomics}


def extract_features(
    case: Case, instances: Sequence[Instance], settings: RadiomicsSettings, engine: str = "native"
) -> FeatureTable:
    """Radiomics of ``instances`` on the prepared image by ``engine`` (a key of ENGINES); one row each, in order."""
    masks = [
        RegionMask(i.key, i.mask, i.slice_index, {"part": i.part, "side": i.side, "slice": i.slice_index})
        for i in instances
    ]
    return ENGINES[engine](case.prepared.resampled, masks, settings, case.volume.acquisition.acquired_pixel_mm)


def default_settings(slice_mm: float) -> RadiomicsSettings:
    """The protocol's radiomics for slices ``slice_mm`` apart: LoG in plane for thick slices, 3-D otherwise."""
    return RadiomicsSettings(log_mode="2D" if slice_mm > THICK_SLICE_MM else "3D")


def features_of_file(
    image: Path,
    rois: Path,
    region: str,
    engine: str,
    settings: Path | None,
    names: Mapping[str, str] | None,
    emit: Callable[[dict], None] = lambda event: None,
) -> FeatureTable:
    """Features of every instance in a region file of an image.

    ``region`` is a region's name or ``all``; ``settings`` a JSON file of RadiomicsSettings; ``names`` assigns labels
    or segments of the file to the protocol's names; ``emit`` receives the progress. Raises BadInput with one sentence
    when nothing can be extracted.
    """
    if engine == "pyradiomics":
        pyradiomics_package()  # said before the image is prepared, not after
    given = _read_settings(settings) if settings else None
    progress = StepProgress((READ, LOCATE, PREPARE, FEATURES), emit)
    progress(READ[0])
    volume = read_image(image)
    preparation = PreparationSettings()
    case = prepare_case(volume, read_regions(rois, volume, names), preparation, progress=progress)
    progress(FEATURES[0])
    instances: list[Instance] = []
    reasons: list[str] = []
    for name in REGIONS if region == "all" else (region,):
        found, left_out = make_instances(case, name)
        instances += found
        reasons += [f"{place(item.part, item.side, item.slice_index)}: {item.reason}" for item in left_out]
    if not instances:
        raise BadInput(f"No part of the regions is large enough for features: {'; '.join(reasons)}.")
    table = extract_features(case, instances, given or default_settings(volume.spacing[2]), engine)
    table.metadata["warnings"] += [*case.doubts, *case.regions.notes]
    if reasons:
        table.metadata["warnings"].append(f"No features of {'; '.join(reasons)}.")
    table.metadata |= {"cnsifusion": __version__, "image_sha256": volume.sha256, "preparation": preparation.to_dict()}
    return table


def _read_settings(path: Path) -> RadiomicsSettings:
    try:
        return RadiomicsSettings.from_dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput("The radiomics settings are not a readable JSON file.") from error
