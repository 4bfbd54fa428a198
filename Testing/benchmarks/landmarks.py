"""How far the landmarks that ``locate`` finds lie from the true ones, or from those that a reader marked.

The anterior commissure of real heads was marked by eye: its middle in the mid-sagittal plane, on magnified native
slices and on sagittal, coronal and axial reformats, by one reader who is no radiologist, knew what the points are for
and marked them before looking at what the software finds. In sri24 it was marked in the T1 picture of the same grid,
where it is plain. Along the axis of thick slices a mark is good to about a millimetre.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.anatomy import Anatomy

#: LPS mm of the anterior commissure in heads of ../shared/data.
COMMISSURES = {
    "sri24": (119.0, -128.7, 68.2),
    "oms_patient01_study1": (-1.4, -7.6, -11.4),
    "oms_patient01_study2": (0.4, -6.2, -17.5),
    "oms_patient03_study1": (-2.1, -31.2, 31.8),
    "oms_patient03_study2": (-10.0, -7.4, -26.9),
    "cstar_stroke": (-3.6, -4.9, 1.3),
}


def commissure_errors(name: str, true: np.ndarray | None, anatomy: Anatomy) -> dict[str, list[float]]:
    """Distance (mm) of the anterior commissure from the mark in the head ``name`` and from the ``true`` one (LPS)."""
    known = {"marked by eye": COMMISSURES.get(name), "in copies of the template": true}
    found = anatomy.landmarks()["anterior commissure"]
    return {
        f"anterior commissure {kind}": [float(np.linalg.norm(found - point))]
        for kind, point in known.items()
        if point is not None
    }


def base_errors(nuclei: Mapping[str, np.ndarray], grid: Grid, anatomy: Anatomy) -> dict[str, list[float]]:
    """Distances (mm) of the placed lentiform nuclei's bases from those of the true ``nuclei`` (bool by side).

    The software's landmark is held against the centre of the true underside. The other readings of the base take
    the same of both masks: parts of a few lowest voxels move by a whole slice where slices are thick, and may jump from
    the nucleus's front to its tail.
    """
    named = "lentiform base, the software's landmark"
    errors: dict[str, list[float]] = {named: [], **{f"lentiform base, {reading}": [] for reading in _BASES}}
    u, _, vt = np.linalg.svd(anatomy.template_to_patient[:3, :3])
    found = anatomy.landmarks()
    for side, truth in nuclei.items():
        placed = anatomy.prior(f"putamen_{side}") + anatomy.prior(f"pallidum_{side}") > 0.5
        points = [grid.to_lps(np.argwhere(mask)[:, ::-1]) @ (u @ vt) for mask in (truth, placed)]
        for reading, read in _BASES.items():
            errors[f"lentiform base, {reading}"].append(float(np.linalg.norm(read(points[0]) - read(points[1]))))
        landmark = found[f"lentiform base {side}"] @ (u @ vt)
        errors[named].append(float(np.linalg.norm(landmark - _underside(points[0]))))
    return errors


def _underside(points: np.ndarray) -> np.ndarray:
    """Mean of the lowest of ``points`` (n, 3; mm along the head's own axes) in every column of 1 mm."""
    columns = np.floor(points[:, :2])
    order = np.lexsort((points[:, 2], columns[:, 1], columns[:, 0]))
    first = np.any(np.diff(columns[order], axis=0, prepend=np.inf) != 0, 1)
    return points[order][first].mean(0)


def _lowest(points: np.ndarray, share: float, above_mm: float = 0.0) -> np.ndarray:
    """Mean of the lowest ``share`` (percent) of ``points`` and of what lies at most ``above_mm`` over it."""
    return points[points[:, 2] <= np.percentile(points[:, 2], share) + above_mm].mean(0)


def _level(points: np.ndarray) -> np.ndarray:
    """The centre of ``points`` from above, at the level of their lowest two percent."""
    return np.append(points[:, :2].mean(0), np.percentile(points[:, 2], 2))


_BASES = {
    "underside": _underside,
    "centre at the lowest level": _level,
    "lowest 20 %": partial(_lowest, share=20),
    "lowest 5 %": partial(_lowest, share=5),
    "lowest 2 mm": partial(_lowest, share=2, above_mm=2.0),
}
