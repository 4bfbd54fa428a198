"""One head, ready for analysis or training: image, anatomy, preparation and regions, made the same way for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cnsifusion.errors import BadInput
from cnsifusion.imaging import CheckReport, PreparationSettings, Prepared, Volume, check_image, prepare
from cnsifusion.roi.anatomy import Anatomy, locate, place
from cnsifusion.roi.contrast import check_contrast
from cnsifusion.roi.misplaced import misplaced
from cnsifusion.roi.placement import Placement
from cnsifusion.roi.propose import propose
from cnsifusion.roi.regions import RegionSet

#: Called with a step's name before it starts.
Progress = Callable[[str], None]
LOCATE, PREPARE, PROPOSE = "Check and locate the anatomy", "Prepare the image", "Propose regions"


@dataclass(frozen=True, eq=False)
class Case:
    """Everything known of one head before a model looks at it. All arrays are on ``volume.grid`` unless resampled.

    ``doubts`` are sentences on given regions that do not lie where this head has them.
    """

    volume: Volume
    check: CheckReport
    anatomy: Anatomy
    prepared: Prepared
    regions: RegionSet
    doubts: list[str] = field(default_factory=list)


def examine(volume: Volume) -> tuple[CheckReport, Anatomy | None]:
    """The whole input check, and the anatomy it found (None when the geometry or voxels already refuse)."""
    report = check_image(volume)
    if report.verdict == "refuse":
        return report, None
    anatomy = locate(volume)
    return report + check_contrast(volume, anatomy), anatomy


def accepted(examined: tuple[CheckReport, Anatomy | None]) -> Anatomy:
    """The anatomy of a head that was examined; raises BadInput with the check's reasons when it is refused."""
    report, anatomy = examined
    if report.verdict == "refuse" or anatomy is None:
        raise BadInput(" ".join(report.reasons))
    return anatomy


def prepare_head(
    volume: Volume,
    preparation: PreparationSettings | None = None,
    progress: Progress = lambda name: None,
    examined: tuple[CheckReport, Anatomy | None] | None = None,
) -> Case:
    """Check, locate and prepare ``volume``; the case has no regions yet. ``examined`` is examine's answer, if known.

    Raises BadInput with the check's reasons when its verdict is "refuse".
    """
    if examined is None:
        progress(LOCATE)
        examined = examine(volume)
    anatomy = accepted(examined)
    progress(PREPARE)
    prepared = prepare(volume, anatomy.brain, anatomy.white_matter, preparation)
    return Case(volume, examined[0], anatomy, prepared, RegionSet(volume.grid))


def with_regions(case: Case, regions: RegionSet | None, progress: Progress = lambda name: None) -> Case:
    """``case`` with ``regions``, or with proposed ones when there are none.

    Raises BadInput when the regions lie on another grid than the image.
    """
    if regions is None:
        progress(PROPOSE)
        return replace(case, regions=propose(case.volume, case.anatomy))
    if not regions.grid.is_close(case.volume.grid):
        raise BadInput("The regions lie on another grid than the image; read them together with this image.")
    return replace(case, regions=regions, doubts=misplaced(regions, case.anatomy))


def prepare_case(
    volume: Volume,
    regions: RegionSet | None = None,
    preparation: PreparationSettings | None = None,
    progress: Progress = lambda name: None,
    placement: Placement | None = None,
) -> Case:
    """prepare_head and with_regions in one call.

    With a known ``placement`` neither is the anatomy searched for nor the image judged: it may be a part of a head.
    """
    examined = None if placement is None else (CheckReport(), place(volume, placement))
    return with_regions(prepare_head(volume, preparation, progress, examined), regions, progress)
