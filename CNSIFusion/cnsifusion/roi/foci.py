"""PVS-like foci: small bright dots and tubes in and just above region B.

In every slice the scale-normalised Laplacian of Gaussian (Lindeberg, Int J Comput Vis 1998;30:79) finds blobs of
2 pixels to 3 mm and, to list them apart, larger ones. A spot's contrast is taken against the tissue around it and
compared with the image's noise; spots that touch in neighbouring slices are one focus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import triple
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.morphology import grown
from cnsifusion.roi.regions import Focus, Plane

#: Protocol: foci up to this in-plane diameter are PVS-like and larger ones are listed apart; they may lie this far
#: above region B.
MAX_DIAMETER_MM, ABOVE_MM = 3.0, 5.0
#: The proposed region's own border is sure to about this (mm, in plane); beside what lies above it, less is searched.
_BORDER_MM, _BORDER_ABOVE_MM = 3.5, 2.5
#: Farther out the lentiform nucleus goes on laterally: so far (mm) spots count that are as sure as this (confidence).
_NUCLEUS_MM, _SURE = 7.0, 0.95
_LARGEST_MM = 7.0
#: A tube may reach so far (mm) from its brightest place, and a spot have so much area (mm2), before it is a cistern; so
#: much of it lies in the zone that is searched.
_LONGEST_MM, _CISTERN_MM2, _LEAST_INSIDE = 10.0, 28.0, 0.5
#: At medium sensitivity: least contrast-to-noise, and least contrast of the whole spot to the noise of its mean.
_LEAST_CONTRAST, _LEAST_EVIDENCE = 3.0, 6.0
#: Least brightness above the surroundings on the way from tissue to CSF ("CSF-like"): a space is as thick as it is
#: wide, so of its width's share of the slice's thickness this much, up to the second. What is fainter for its width is
#: flat: grey matter, or a cistern's roof in the slice. There the surroundings are brighter too, and that comes on top.
_LEAST_OF_WIDTH, _LEAST_CSF = 0.3, 0.4
#: A faint or long spot must be so far on the way from the region's tissue to CSF (grey matter within white is not), or
#: so much brighter than its surroundings.
_LEAST_ABOVE, _LEAST_DIM = 0.15, 0.2
#: Where the surroundings are so far on that way, the spot lies in a cistern.
_CISTERN_LEVEL = 0.5

#: A spot with more than this share of its pixels in the rim of a cistern's artery is the CSF around it.
_MOST_BESIDE_ARTERY = 0.1


@dataclass(frozen=True, eq=False)
class _Spot:
    k: int
    pixels: np.ndarray  # (n, 2) j, i
    weights: np.ndarray  # (n,) brightness above the background
    diameter: float
    contrast: float
    confidence: float


@dataclass(frozen=True)
class _Limits:
    noise: float  # standard deviation
    csf: float  # intensity of CSF above tissue
    tissue: float  # intensity
    thickness: float  # of a slice, mm
    factor: float  # on the least values


def find_foci(
    volume: Volume,
    white_matter: np.ndarray,
    sublentiform: Mapping[str, np.ndarray],
    arteries: np.ndarray,
    midplane: Plane,
    csf_contrast: float,
    sensitivity: float = 0.5,
) -> list[Focus]:
    """Foci in the ``sublentiform`` masks (by side) and within 5 mm above them, brightest first.

    ``white_matter`` (bool [k, j, i]) is where noise is measured, ``arteries`` (bool) those of the cisterns with their
    rim, ``csf_contrast`` the intensity of CSF above tissue in this head; ``sensitivity`` (0-1) halves (1) or doubles
    (0) what a spot must show at least.
    """
    noise, factor = noise_level(volume, white_matter), 2.0 * 0.25**sensitivity
    found: list[Focus] = []
    for side, mask in sublentiform.items():
        limits = _Limits(noise, csf_contrast, float(np.median(volume.array[mask])), volume.spacing[2], factor)
        zone = _search_zone(volume, mask, midplane)
        spots = [s for k in np.flatnonzero(zone.any((1, 2))) for s in _spots(volume, zone[k], int(k), limits)]
        spots = [s for s in spots if arteries[s.k][tuple(s.pixels.T)].mean() <= _MOST_BESIDE_ARTERY]
        found += [_focus(volume, side, group) for group in _linked(spots)]
    return sorted(found, key=lambda focus: -focus.contrast_to_noise)


def noise_level(volume: Volume, white_matter: np.ndarray) -> float:
    """Standard deviation of the noise, from second differences along i in white matter (median absolute deviation)."""
    inner, columns = white_matter[:, :, 1:-1], volume.array.shape[2] - 2
    known = np.count_nonzero(inner) >= 50
    before, at, behind = (volume.array[:, :, n : n + columns][inner if known else ...].astype(float) for n in range(3))
    values = behind - 2 * at + before
    if not known:
        values = values[values != 0]
    return float(1.4826 * np.median(np.abs(values)) / np.sqrt(6)) + 1e-9 if values.size else 1e-9


def _search_zone(volume: Volume, mask: np.ndarray, midplane: Plane) -> np.ndarray:
    """Where the foci of ``mask`` may lie (uint8): 2 in it, up to ABOVE_MM above it (at least one slice) and in their
    borders in plane, 1 farther out where the nucleus goes on, 0 elsewhere."""
    above = mask.copy()
    steps = max(1, round(ABOVE_MM / volume.spacing[2]))
    for step in range(1, steps + 1):
        above[step:] |= mask[:-step]
    beside, less, far = (
        max(1, round(border / volume.spacing[0])) for border in (_BORDER_MM, _BORDER_ABOVE_MM, _NUCLEUS_MM)
    )

    def off(voxels: np.ndarray) -> np.ndarray:
        return np.abs(midplane.distance(volume.grid.to_lps(voxels[:, ::-1])))

    zone = np.zeros(mask.shape, np.uint8)
    outer = np.argwhere(grown(above, far))
    zone[tuple(outer[off(outer) > np.median(off(np.argwhere(mask)))].T)] = 1
    zone[grown(mask, beside) | grown(above, less)] = 2
    return zone


def _spots(volume: Volume, zone: np.ndarray, k: int, limits: _Limits) -> list[_Spot]:
    """Bright spots of slice ``k`` whose centre lies in ``zone`` [j, i] (see _search_zone)."""
    pixel = float(np.sqrt(volume.spacing[0] * volume.spacing[1]))
    where = np.argwhere(zone)
    pad = int(np.ceil(_LARGEST_MM * 2 / pixel))
    low = np.maximum(where.min(0) - pad, 0)
    high = np.minimum(where.max(0) + pad + 1, zone.shape)
    window = volume.array[k, low[0] : high[0], low[1] : high[1]].astype(float)
    inner = zone[low[0] : high[0], low[1] : high[1]]
    diameters = np.geomspace(max(2 * pixel, 0.8), _LARGEST_MM, 7)
    stack = np.stack([-(s**2) * ndimage.gaussian_laplace(window, s) for s in diameters / pixel / 2 / np.sqrt(2)])
    peak = (stack == ndimage.maximum_filter(stack, (3, 3, 3))) & (inner > 0) & (stack > 0)
    order = sorted(np.argwhere(peak).tolist(), key=lambda p: -stack[tuple(p)])
    spots: list[_Spot] = []
    taken = np.zeros(window.shape, bool)
    for scale, j, i in order:
        if taken[j, i]:
            continue
        spot = _measure(window, j, i, float(diameters[scale]), pixel, limits)
        if spot is None:
            continue
        place = spot.pixels[:, 0], spot.pixels[:, 1]
        near = 2 if spot.confidence < _SURE else 1
        if taken[place].any() or (inner[place] >= near).mean() < _LEAST_INSIDE:
            continue
        taken[place] = True
        spots.append(replace(spot, k=k, pixels=spot.pixels + low))
    return spots


def _measure(window: np.ndarray, j: int, i: int, diameter: float, pixel: float, limits: _Limits) -> _Spot | None:
    """The spot of about ``diameter`` (mm) at (j, i): its pixels above half height and how sure it is.

    None if it shows too little, lies in a cistern or runs into one.
    """
    far = max(diameter * 1.6, 2.5)
    reach = int(np.ceil(max(far, _LONGEST_MM) / pixel)) + 1
    j0, i0 = max(0, j - reach), max(0, i - reach)
    patch = window[j0 : j + reach + 1, i0 : i + reach + 1]
    rows, columns = np.arange(patch.shape[0]) - (j - j0), np.arange(patch.shape[1]) - (i - i0)
    radius = np.hypot(rows[:, None], columns) * pixel
    height = float(patch[radius <= max(pixel, diameter / 4)].max())
    ring = patch[(radius > max(diameter * 0.8, 2 * pixel)) & (radius <= far)]
    if ring.size < 8:
        return None
    background = _median(ring)
    likeness, above = (height - background) / limits.csf, (height - limits.tissue) / limits.csf
    dim = above < limits.factor * _LEAST_ABOVE
    if likeness < limits.factor * (_LEAST_DIM if dim else _LEAST_OF_WIDTH * pixel / limits.thickness):  # as most are
        return None
    if background > limits.tissue + _CISTERN_LEVEL * limits.csf:
        return None
    island = _island(patch, (background + height) / 2, radius, pixel)
    if island is None or (dim and (island & (radius > far - pixel)).any()):
        return None
    weights = patch[island] - background
    width = 2 * float(np.sqrt(weights.size / np.pi)) * pixel
    faintest = min(_LEAST_CSF, _LEAST_OF_WIDTH * width / limits.thickness)
    faintest += max(0.0, background - limits.tissue) / limits.csf
    spread = 1.4826 * _median(np.abs(ring - background))
    noise = max(limits.noise, 0.7 * spread)
    contrast = (height - background) / noise
    evidence = float(weights.sum()) / np.sqrt(weights.size) / noise
    scores = (contrast / _LEAST_CONTRAST, evidence / _LEAST_EVIDENCE, likeness / faintest)
    if min(scores) < limits.factor:
        return None
    confidence = float(np.prod([score**4 / (1 + score**4) for score in scores]))
    return _Spot(0, np.argwhere(island) + np.array([j0, i0]), weights, _width(island, pixel), contrast, confidence)


def _island(patch: np.ndarray, level: float, radius: np.ndarray, pixel: float) -> np.ndarray | None:
    """The pixels above ``level`` where ``radius`` (mm) is 0; None if there are none, or as many as a cistern's."""
    labels, _ = ndimage.label(patch > level)
    (label,) = labels[radius == 0]
    island = labels == label
    if label == 0 or np.count_nonzero(island) * pixel**2 > _CISTERN_MM2 or (island & (radius > _LONGEST_MM)).any():
        return None
    return island


def _width(island: np.ndarray, pixel: float) -> float:
    """Diameter (mm) of the disc of the same area or, where that is less, across: a tube is as wide as it is thick."""
    across = 2 * float(ndimage.distance_transform_edt(np.pad(island, 1)).max()) - 0.5
    return min(2 * float(np.sqrt(np.count_nonzero(island) / np.pi)), across) * pixel


def _median(values: np.ndarray) -> float:
    """Of a list without NaN: numpy's own asks for them and for axes, which takes longer than the rest."""
    middle = ((len(values) - 1) // 2, len(values) // 2)
    low, high = np.partition(values, middle)[list(middle)]
    return float((low + high) / 2)


def _linked(spots: list[_Spot]) -> list[list[_Spot]]:
    """Spots grouped into foci: those that overlap or touch in neighbouring slices belong together."""
    groups: list[list[_Spot]] = []
    for spot in sorted(spots, key=lambda s: (s.k, -s.contrast)):
        grown = {(j + dj, i + di) for j, i in spot.pixels.tolist() for dj in (-1, 0, 1) for di in (-1, 0, 1)}
        for group in groups:
            last = group[-1]
            if last.k == spot.k - 1 and any((j, i) in grown for j, i in last.pixels.tolist()):
                group.append(spot)
                break
        else:
            groups.append([spot])
    return groups


def _focus(volume: Volume, side: str, group: list[_Spot]) -> Focus:
    voxels = np.concatenate([np.column_stack([np.full(len(s.pixels), s.k), s.pixels]) for s in group])
    best = max(group, key=lambda s: s.contrast)
    weights = np.concatenate([s.weights for s in group])
    centre = (voxels[:, ::-1] * weights[:, None]).sum(0) / weights.sum()
    nearest = voxels[np.argmin(((voxels[:, ::-1] - centre) ** 2).sum(1))]
    diameter = max(s.diameter for s in group)
    return Focus(
        side,
        (int(nearest[2]), int(nearest[1]), int(nearest[0])),
        triple(volume.grid.to_lps(centre)),
        diameter,
        best.contrast,
        max(s.confidence for s in group),
        diameter - volume.spacing[0] / 2 > MAX_DIAMETER_MM,
        voxels,
    )
