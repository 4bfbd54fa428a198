"""What a reader wants to know of the regions at a glance: size, signal, slices, foci, and left against right."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnsifusion.imaging import Volume
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT
from cnsifusion.roi.regions import RegionSet


def region_statistics(volume: Volume, regions: RegionSet) -> dict[str, Any]:
    """Statistics of every segment and of left against right, as JSON values.

    ``segments``: per name volume_ml, largest_area_mm2, slices, voxels, mean and sd of the signal (image units).
    ``left_right``: per pair the difference (left minus right) of volume_ml and mean signal, and the PVS counts.
    """
    segments = {name: _segment(volume, mask) for name, mask in regions.masks.items() if mask.any()}
    counts = {side: sum(f.side == side and not f.large for f in regions.foci) for side in ("left", "right")}
    pairs = {"sublentiform": (SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT), "pvs": (PVS_LEFT, PVS_RIGHT)}
    left_right: dict[str, Any] = {
        pair: {key: round(segments[left][key] - segments[right][key], 4) for key in ("volume_ml", "mean")}
        for pair, (left, right) in pairs.items()
        if left in segments and right in segments
    }
    left_right["pvs_count"] = counts
    return {"segments": segments, "left_right": left_right}


def _segment(volume: Volume, mask: np.ndarray) -> dict[str, Any]:
    values = volume.array[mask].astype(np.float64)
    per_slice = mask.sum(axis=(1, 2))
    i, j, _ = volume.spacing
    return {
        "volume_ml": round(values.size * volume.grid.voxel_volume / 1000, 4),
        "largest_area_mm2": round(float(per_slice.max()) * i * j, 2),
        "slices": int((per_slice > 0).sum()),
        "voxels": int(values.size),
        "mean": round(float(values.mean()), 3),
        "sd": round(float(values.std()), 3),
    }
