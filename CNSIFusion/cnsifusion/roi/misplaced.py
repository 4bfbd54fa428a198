"""Regions that a file names but that lie elsewhere in the head: exchanged sides, other structures, another image."""

from __future__ import annotations

import numpy as np

from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.names import SEGMENTS, VENTRICLES
from cnsifusion.roi.regions import RegionSet

#: Middle of region B on the left in the template (LPS mm; the right one is mirrored), of the CIT168 labels.
_MIDDLE = np.array([20.6, -1.7, -12.5])
#: Placement, drawing and a few slices only move a region's middle by less than this (mm).
_FAR_MM = 20.0


def misplaced(regions: RegionSet, anatomy: Anatomy) -> list[str]:
    """One sentence for each region of ``regions`` that is not where ``anatomy`` (of the same grid) has it."""
    found = []
    middle = {"left": anatomy.to_patient(_MIDDLE)[0], "right": anatomy.to_patient(_MIDDLE * (-1, 1, 1))[0]}
    for name, mask in regions.masks.items():
        if not mask.any():
            continue
        if name == VENTRICLES:
            if np.mean(anatomy.brain[mask]) < 0.5:
                found.append(f"“{name}” lies mostly outside the brain; was it drawn on this image?")
            continue
        drawn = regions.grid.to_lps(np.argwhere(mask).mean(axis=0)[::-1])
        away = {side: float(np.linalg.norm(drawn - point)) for side, point in middle.items()}
        own, other = SEGMENTS[name].side, "left" if SEGMENTS[name].side == "right" else "right"
        if away[other] < min(away[own], _FAR_MM):
            found.append(f"“{name}” lies on the patient's {other}; are left and right exchanged in the file?")
        elif away[own] > _FAR_MM:
            found.append(f"“{name}” lies {away[own]:.0f} mm from where it is expected; is it another structure?")
    return found
