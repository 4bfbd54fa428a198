"""One head, ready for analysis or training: image, anatomy, preparation and regions, made the same way for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnsifusion.errors import BadInput
from cnsifusion.imaging import CheckReport, PreparationSettings, Prepared, Volume, check_image, prepare
from cnsifusion.roi.anatomy import Anatomy, locate
from cnsifusion.roi.contrast import check_contrast
from cnsifusion.roi.propose import propose
from cnsifusion.roi.regions import RegionSet

#: Called with a step's name before it starts.
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Case:
    """Everything known of one head before a model looks at it. All arrays are on ``volume.grid`` unless resampled."""

    volume: Volume
    check: CheckReport
    anatomy: Anatomy
    prepared: Prepared
    regions: RegionSet


def examine(volume: Volume) -> tuple[CheckReport, Anatomy | None]:
    """The whole input check, and the anatomy it found (None when the geometry or voxels already refuse)."""
    report = check_image(volume)
    if report.verdict == "refuse":
        return report, None
    anatomy = locate(volume)
    return report + check_contrast(volume, anatomy), anatomy


def prepare_case(
    volume: Volume,
    regions: RegionSet | None = None,
    preparation: PreparationSettings | None = None,
    progress: Progress = lambda name: None,
) -> Case:
    """Check, locate, prepare ``volume``, and propose regions unless ``regions`` are given.

    Raises BadInput with the check's reasons when its verdict is "refuse", and when the regions are on another grid.
    """
    progress("Check and locate the anatomy")
    report, anatomy = examine(volume)
    if report.verdict == "refuse" or anatomy is None:
        raise BadInput(" ".join(report.reasons))
    if regions is not None and not regions.grid.is_close(volume.grid):
        raise BadInput("The regions lie on another grid than the image; read them together with this image.")
    progress("Prepare the image")
    prepared = prepare(volume, anatomy.brain, anatomy.white_matter, preparation)
    if regions is None:
        progress("Propose regions")
        regions = propose(volume, anatomy)
    return Case(volume, report, anatomy, prepared, regions)
