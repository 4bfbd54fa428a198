"""The PVS tool: the candidate under the cursor, its mask, and a local search where the list has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.roi.foci import MAX_DIAMETER_MM
from cnsifusion.roi.regions import Focus
from cnsifusion.roi.tools.result import ToolResult, cropped, nothing

#: Protocol: the smallest focus.
MIN_PIXELS = 2
#: Tissue around a focus is read within this.
_AROUND_MM = 6.0
_MIN_RING = 12
#: A hand hits the focus within this; a candidate of the list from a little farther.
_AIM_MM, _REACH_MM = 1.2, 2.0


@dataclass(frozen=True)
class PvsSettings:
    """``sensitivity`` 0-1: at 0 a focus must stand 6 noise levels above its surroundings, at 1 two."""

    sensitivity: float = 0.5

    @property
    def least_contrast(self) -> float:
        """The least contrast-to-noise ratio that counts as a focus."""
        return 6.0 - 4.0 * min(max(self.sensitivity, 0.0), 1.0)


def visible(foci: Sequence[Focus], sensitivity: float) -> list[Focus]:
    """The candidates to show at ``sensitivity`` (0-1): those whose confidence is at least 1 - sensitivity."""
    return [f for f in foci if f.confidence >= 1.0 - sensitivity - 1e-9]


def focus_at(
    foci: Sequence[Focus], point: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Focus | None:
    """The candidate nearest ``point`` (k, j, i) on that slice within _REACH_MM in plane, or None."""
    best, found = _REACH_MM, None
    for focus in foci:
        here = np.asarray(focus.voxels).reshape(-1, 3)
        here = here[here[:, 0] == point[0]]
        if len(here):
            away = np.hypot((here[:, 1] - point[1]) * spacing[1], (here[:, 2] - point[2]) * spacing[0]).min()
            if away <= best:
                best, found = float(away), focus
    return found


def focus_mask(focus: Focus) -> ToolResult:
    """The voxels of ``focus`` as a mask to add (accept) or erase (reject)."""
    voxels = np.asarray(focus.voxels).reshape(-1, 3)
    if not len(voxels):
        return nothing("This focus has no voxel.")
    low = voxels.min(axis=0)
    mask = np.zeros(tuple(voxels.max(axis=0) - low + 1), bool)
    mask[tuple((voxels - low).T)] = True
    return ToolResult(mask, (int(low[0]), int(low[1]), int(low[2])))


def is_accepted(focus: Focus, drawn: ToolResult) -> bool:
    """Whether at least half of the focus lies in what is ``drawn`` of its segment: then a click rejects it."""
    found = focus_mask(focus)
    return not found.empty and bool(drawn.within(found.origin, found.mask.shape)[found.mask].mean() >= 0.5)


def detect(
    array: np.ndarray,
    spacing: tuple[float, float, float],
    point: tuple[int, int, int],
    settings: PvsSettings | None = None,
) -> ToolResult:
    """The bright round focus at ``point`` (k, j, i) of ``array`` [k, j, i], down to half its height, on that slice.

    Empty, with a reason, where nothing stands out enough for ``settings``, or what does is wider than 3 mm.
    """
    settings = settings or PvsSettings()
    k, j, i = (int(p) for p in point)
    if not all(0 <= p < n for p, n in zip((k, j, i), array.shape)):
        return nothing("The point lies outside the image.")
    rows, columns = (int(_AROUND_MM / s) + 1 for s in (spacing[1], spacing[0]))
    j0, i0 = max(j - rows, 0), max(i - columns, 0)
    plane = np.asarray(array[k, j0 : j + rows + 1, i0 : i + columns + 1], np.float32)
    away = np.hypot(
        (np.arange(plane.shape[0]) - (j - j0))[:, None] * spacing[1],
        (np.arange(plane.shape[1]) - (i - i0))[None] * spacing[0],
    )
    aim = away <= max(_AIM_MM, 1.01 * max(spacing[:2]))
    peak = np.unravel_index(int(np.where(aim, plane, -np.inf).argmax()), plane.shape)
    ring = plane[(away > MAX_DIAMETER_MM / 2 + _AIM_MM) & (away <= _AROUND_MM)]
    if ring.size < _MIN_RING:
        return nothing("The point lies too near the image's edge.")
    background = float(np.median(ring))
    noise = 1.4826 * float(np.median(np.abs(ring - background)))
    height = float(plane[peak]) - background
    if height <= settings.least_contrast * noise or height <= 0:
        return nothing("Nothing at this point stands out from its surroundings; raise the sensitivity to try again.")
    labels, _ = ndimage.label(plane > background + height / 2)
    focus = labels == labels[peak]
    diameter = 2 * float(np.sqrt(focus.sum() * spacing[0] * spacing[1] / np.pi))
    if diameter > MAX_DIAMETER_MM:
        return nothing(f"This is {diameter:.1f} mm wide, too large for a PVS (3 mm): a lacune, infarct or sulcus.")
    if focus.sum() < MIN_PIXELS:
        return nothing("This is a single bright pixel: too small to tell from noise.")
    return cropped(focus[None], (k, j0, i0), "")
