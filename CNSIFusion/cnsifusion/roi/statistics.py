"""What a reader wants to know of the regions at a glance: size, signal, slices, foci, and left against right."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from cnsifusion.imaging import Volume
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT
from cnsifusion.roi.regions import RegionSet
from cnsifusion.roi.tools.result import ToolResult, cropped

#: What is compared left against right.
PAIRS = {"sublentiform": (SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT), "pvs": (PVS_LEFT, PVS_RIGHT)}


def region_statistics(volume: Volume, regions: RegionSet) -> dict[str, Any]:
    """Statistics of every segment and of left against right, as JSON values.

    ``segments``: see :func:`segment_statistics`, per name. ``left_right``: per pair the difference (left minus right)
    of volume_ml and mean signal, and the number of PVS-like foci drawn on either side.
    """
    drawn = {name: cropped(mask, (0, 0, 0), "") for name, mask in regions.masks.items() if mask.any()}
    segments = {name: segment_statistics(volume, window) for name, window in drawn.items()}
    return {"segments": segments, "left_right": left_right(segments)}


def segment_statistics(volume: Volume, drawn: ToolResult) -> dict[str, Any]:
    """One segment that is not empty: volume_ml, largest_area_mm2, slices, voxels, mean and sd of the signal (image
    units), and pieces, the number of connected ones (in PVS segments: of foci)."""
    window = tuple(slice(o, o + n) for o, n in zip(drawn.origin, drawn.mask.shape))
    values = volume.array[window][drawn.mask].astype(np.float64)
    per_slice = drawn.mask.sum(axis=(1, 2))
    i, j, _ = volume.spacing
    return {
        "volume_ml": round(values.size * volume.grid.voxel_volume / 1000, 4),
        "largest_area_mm2": round(float(per_slice.max()) * i * j, 2),
        "slices": int((per_slice > 0).sum()),
        "voxels": int(values.size),
        "mean": _short(values.mean()),
        "sd": _short(values.std()),
        "pieces": int(ndimage.label(drawn.mask, np.ones((3, 3, 3)))[1]),
    }


def left_right(segments: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Left minus right of each pair that is drawn on both sides, and the count of foci, from their statistics."""
    compared: dict[str, Any] = {
        pair: {
            "volume_ml": round(segments[left]["volume_ml"] - segments[right]["volume_ml"], 4),
            "mean": _short(segments[left]["mean"] - segments[right]["mean"]),
        }
        for pair, (left, right) in PAIRS.items()
        if left in segments and right in segments
    }
    counts = {side: segments.get(name, {}).get("pieces", 0) for side, name in zip(("left", "right"), PAIRS["pvs"])}
    return {**compared, "pvs_count": counts}


def _short(value: float) -> float:
    """Six digits of a signal: an image's units may be of any size."""
    return float(f"{value:.6g}")
