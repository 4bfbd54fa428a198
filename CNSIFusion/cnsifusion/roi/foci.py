"""PVS-like foci: small bright dots and tubes in, beside and just above region B.

In every slice the scale-normalised Laplacian of Gaussian (Lindeberg, Int J Comput Vis 1998;30:79) finds blobs of
2 pixels to 3 mm and, to list them apart, larger ones; a small network (foci_net.py) says how sure each is. What is
left is outlined at half its height or higher, and spots that touch in neighbouring slices are one focus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import triple
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.foci_net import confidences
from cnsifusion.roi.morphology import grown
from cnsifusion.roi.regions import LIKELY, Focus, Plane

#: Protocol: foci up to this in-plane diameter are PVS-like and larger ones are listed apart; they may lie this far
#: above region B.
MAX_DIAMETER_MM, ABOVE_MM = 3.0, 5.0
#: The proposed region's own border is sure to about this (mm, in plane); beside what lies above it, less is searched.
_BORDER_MM, _BORDER_ABOVE_MM = 3.5, 2.5
#: Farther out the lentiform nucleus goes on laterally: so far (mm) spots count that are as sure as this (confidence).
_NUCLEUS_MM, _SURE = 7.0, 0.9
#: Spots that are less sure than this are not listed.
_LEAST_CONFIDENCE = 0.2
#: Blobs up to this diameter are looked at; they must stand out by a share of CSF, and by the noise.
_LARGEST_MM, _LEAST_BLOB = 7.0, 0.035
#: A tube may reach so far (mm) from its brightest place, and a spot have so much area (mm2), before it is a cistern; so
#: much of it lies in the zone that is searched.
_LONGEST_MM, _CISTERN_MM2, _LEAST_INSIDE = 10.0, 28.0, 0.5
#: A spot is outlined at half its height, or higher where that runs into something: as large as a cistern, or wider than
#: 3 mm and than the blob by these (factor, mm).
_HEIGHTS, _WIDER, _WIDER_MM = (0.5, 0.6, 0.7, 0.8, 0.9), 1.6, 1.5
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


def find_foci(
    volume: Volume,
    white_matter: np.ndarray,
    sublentiform: Mapping[str, np.ndarray],
    arteries: np.ndarray,
    midplane: Plane,
    csf_contrast: float,
) -> list[Focus]:
    """Foci in the ``sublentiform`` masks (by side), in their borders and within 5 mm above them, brightest first.

    Up to 7 mm to the side, where the nucleus goes on, only what is sure. ``white_matter`` (bool [k, j, i]) is where
    noise is measured, ``arteries`` (bool) those of the cisterns with their rim, ``csf_contrast`` the intensity of CSF
    above tissue in this head. Those with a confidence below one half are candidates for the reader alone.
    """
    noise = noise_level(volume, white_matter)
    found: list[Focus] = []
    for side, mask in sublentiform.items():
        zone = search_zone(volume, mask, midplane)
        peaks, diameters = blobs(volume, zone, noise, csf_contrast)
        tissue = float(np.median(volume.array[mask]))
        sure = confidences(volume, peaks, diameters, noise, tissue, csf_contrast, side == "right")
        spots = _spots(volume, zone, peaks, diameters, sure, noise)
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


def search_zone(volume: Volume, mask: np.ndarray, midplane: Plane) -> np.ndarray:
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


def blobs(volume: Volume, zone: np.ndarray, noise: float, csf: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 3; k, j, i) of bright blobs in ``zone`` [k, j, i] and their diameters (n,; mm)."""
    pixel = _pixel(volume)
    diameters = np.geomspace(max(2 * pixel, 0.8), _LARGEST_MM, 7)
    pad = int(np.ceil(_LARGEST_MM * 2 / pixel))
    least = max(_LEAST_BLOB * csf, noise)
    found = [np.zeros((0, 4), int)]
    for k in np.flatnonzero(zone.any((1, 2))).tolist():
        where = np.argwhere(zone[k])
        low, high = np.maximum(where.min(0) - pad, 0), where.max(0) + pad + 1
        box = slice(low[0], high[0]), slice(low[1], high[1])
        window = volume.array[k][box].astype(float)
        stack = np.stack([-(s**2) * ndimage.gaussian_laplace(window, s) for s in diameters / pixel / 2 / np.sqrt(2)])
        peak = (stack == ndimage.maximum_filter(stack, (3, 3, 3))) & (zone[k][box] > 0) & (stack >= least)
        here = np.argwhere(peak[:-1])  # the widest may be wider still
        found.append(np.column_stack([np.full(len(here), k), here[:, 1:] + low, here[:, 0]]))
    peaks = np.concatenate(found)
    return peaks[:, :3], diameters[peaks[:, 3]]


def _pixel(volume: Volume) -> float:
    return float(np.sqrt(volume.spacing[0] * volume.spacing[1]))


def _spots(
    volume: Volume, zone: np.ndarray, peaks: np.ndarray, diameters: np.ndarray, sure: np.ndarray, noise: float
) -> list[_Spot]:
    """Outlined spots of the blobs at ``peaks``, the surest first; those that lie on another are left out."""
    spots: list[_Spot] = []
    taken = np.zeros(zone.shape, bool)
    for n in np.argsort(-sure, kind="stable"):
        k, j, i = peaks[n].tolist()
        least = _LEAST_CONFIDENCE if zone[k, j, i] == 2 else _SURE
        if sure[n] < least or taken[k, j, i]:
            continue
        spot = _outlined(volume, (k, j, i), float(diameters[n]), float(sure[n]), noise)
        if spot is None:
            continue
        place = k, spot.pixels[:, 0], spot.pixels[:, 1]
        if taken[place].any() or (zone[place] > 0).mean() < _LEAST_INSIDE:
            continue
        taken[place] = True
        spots.append(spot)
    return spots


def _outlined(
    volume: Volume, place: tuple[int, int, int], diameter: float, confidence: float, noise: float
) -> _Spot | None:
    """The spot of about ``diameter`` (mm) at ``place`` (k, j, i); None if it runs into a cistern at every height."""
    k, j, i = place
    pixel, far = _pixel(volume), max(diameter * 1.6, 2.5)
    reach = int(np.ceil(max(far, _LONGEST_MM) / pixel)) + 1
    j0, i0 = max(0, j - reach), max(0, i - reach)
    patch = volume.array[k, j0 : j + reach + 1, i0 : i + reach + 1].astype(float)
    rows, columns = np.arange(patch.shape[0]) - (j - j0), np.arange(patch.shape[1]) - (i - i0)
    radius = np.hypot(rows[:, None], columns) * pixel
    height = float(patch[radius <= max(pixel, diameter / 4)].max())
    ring = patch[(radius > max(diameter * 0.8, 2 * pixel)) & (radius <= far)]
    if ring.size < 8:
        return None
    background = float(np.median(ring))
    widest = max(_WIDER * diameter, diameter + _WIDER_MM, MAX_DIAMETER_MM + pixel / 2)
    for share in _HEIGHTS:
        island = _island(patch, background + share * (height - background), radius, pixel)
        if island is not None and (width := _width(island, pixel)) <= widest:
            break
    else:
        return None
    spread = 1.4826 * float(np.median(np.abs(ring - background)))
    contrast = (height - background) / max(noise, 0.7 * spread)
    pixels = np.argwhere(island) + np.array([j0, i0])
    return _Spot(k, pixels, patch[island] - background, width, contrast, confidence)


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


def _linked(spots: list[_Spot]) -> list[list[_Spot]]:
    """Spots grouped into foci: those that overlap or touch in neighbouring slices belong together, unless only one of
    them is likely: what is drawn takes in nothing that alone would not be."""
    groups: list[list[_Spot]] = []
    for spot in sorted(spots, key=lambda s: (s.k, -s.contrast)):
        grown = {(j + dj, i + di) for j, i in spot.pixels.tolist() for dj in (-1, 0, 1) for di in (-1, 0, 1)}
        for group in groups:
            last = group[-1]
            alike = (last.confidence >= LIKELY) == (spot.confidence >= LIKELY)
            if alike and last.k == spot.k - 1 and any((j, i) in grown for j, i in last.pixels.tolist()):
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
