"""Sentences on the regions as drawn: live statistics, and how far two readers agree."""

from __future__ import annotations

import math
from collections.abc import Callable

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Volume
from cnsifusion.mrml.drawn import milliliters, segmentIdOf
from cnsifusion.mrml.segmentation import regionsFromNode
from cnsifusion.roi.agreement import Agreement, compare
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SEGMENTS
from cnsifusion.roi.regions import RegionSet
from cnsifusion.roi.statistics import PAIRS, left_right, segment_statistics
from cnsifusion.roi.tools.result import ToolResult


def statisticsLines(volume: Volume, name: str, drawn: Callable[[str], ToolResult]) -> list[str]:
    """The chosen segment (``drawn`` gives a segment's window) and, for a segment with a side, left against right."""
    pair = next((key for key, names in PAIRS.items() if name in names), None)
    names = PAIRS[pair] if pair else (name,)
    windows = {each: drawn(each) for each in names}
    found = {each: segment_statistics(volume, window) for each, window in windows.items() if not window.empty}
    if not found:
        return []
    lines = [_segmentLine(name, found[name])] if name in found else []
    compared = left_right(found)
    if pair in compared:
        volumes, means = compared[pair]["volume_ml"], compared[pair]["mean"]
        lines.append(f"Left minus right: {1000 * volumes:+.0f} mm³, signal {means:+.4g}")
    elif pair:
        missing = next(each for each in names if each not in found)
        lines.append(f"Left minus right: unknown while {missing} is not drawn")
    if pair == "pvs":
        counts = compared["pvs_count"]
        lines.append(f"Foci drawn: {counts['left']} left, {counts['right']} right")
    return lines


def _segmentLine(name: str, found: dict) -> str:
    slices = "1 slice" if found["slices"] == 1 else f"{found['slices']} slices"
    size = f"{1000 * found['volume_ml']:.0f} mm³" if name in (PVS_LEFT, PVS_RIGHT) else f"{found['volume_ml']:.2f} ml"
    area, mean, sd = found["largest_area_mm2"], found["mean"], found["sd"]
    digits = max(0, 3 - math.floor(math.log10(max(abs(mean), sd) or 1.0)))  # the same for both: four of the larger
    return f"{name}: {size} on {slices}, largest area {area:.0f} mm², signal {mean:.{digits}f} ± {sd:.{digits}f}"


def otherReader(segmentationNode, volumeNode) -> RegionSet:
    """Another reader's regions on the volume's grid. Raises BadInput where most of them lie outside the image."""
    regions = regionsFromNode(segmentationNode, volumeNode)
    ids = filter(None, (segmentIdOf(segmentationNode, name) for name in SEGMENTS))
    drawn = sum(milliliters(segmentationNode, segmentId) for segmentId in ids)
    inside = sum(int(mask.sum()) for mask in regions.masks.values()) * regions.grid.voxel_volume / 1000
    if inside < drawn / 2:
        raise BadInput("Most of the other segmentation lies outside this image: was it drawn on another one?")
    return regions


def agreementLines(own: RegionSet, other: RegionSet) -> list[str]:
    """One sentence per region that at least one of two readers drew: how far the other agrees with the case's own."""
    rows = compare(own, other)
    if not rows:
        return ["Neither of the two holds a region of the protocol."]
    return [_agreementLine(row) for row in rows]


def _agreementLine(row: Agreement) -> str:
    volumes = f"{row.volume_first_ml:.2f} and {row.volume_second_ml:.2f} ml ({row.difference_percent:+.0f} %)"
    areas = row.areas
    icc = f", ICC of slice areas {areas.value:.2f} ({areas.low:.2f} to {areas.high:.2f})" if areas else ""
    return f"{row.name}: Dice {row.dice:.2f}, {volumes}{icc}"
