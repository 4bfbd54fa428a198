"""Perivascular spaces as latent tubes along the lenticulostriate arteries, and their exact partial volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnsifusion.simulation.latents import MAX_FOCI, Latents
from cnsifusion.simulation.pose import Pose

#: Finer sampling within a pixel for the coverage of a thin tube, and the halo's reach (mm).
_FINER, HALO_MM = 4, 1.5
#: Least distance (mm) of two tubes in the axial plane, while there is room.
_APART = 2.8


@dataclass(frozen=True, eq=False)
class Tube:
    """A perivascular space: ``points`` (n, 3) of its centre line in continuous image indices (i, j, k) by rising k.

    ``lps``: the same points in mm; ``radius`` (mm) at each.
    """

    side: str
    points: np.ndarray
    lps: np.ndarray
    radius: np.ndarray


@dataclass(frozen=True, eq=False)
class TubeSection:
    """Where a tube crosses one thin slice: image window, its ``cover`` (0-1) and ``halo`` weight (0-1), both [j, i]."""

    tube: int
    window: tuple[slice, slice]
    cover: np.ndarray
    halo: np.ndarray


def draw_tubes(
    rng: np.random.Generator, latents: Latents, sites: dict[str, tuple[np.ndarray, np.ndarray]], pose: Pose
) -> list[Tube]:
    """The patient's tubes. ``sites`` gives per side the places (n, 3; aligned head, LPS mm) in the anteromedial and in
    the posterolateral half of region B. Every side draws the same number of candidates whatever its count.
    """
    tubes = []
    for side, outward in (("left", 1.0), ("right", -1.0)):
        medial, lateral = (_spread(rng, places) for places in sites[side])
        shapes = rng.standard_normal((2 * MAX_FOCI, 6))
        count, inner = getattr(latents, f"count_{side}"), getattr(latents, f"medial_{side}")
        chosen = [*range(inner), *range(MAX_FOCI, MAX_FOCI + count - inner)]
        places = np.concatenate([medial, lateral])
        tubes += [_tube(side, outward, places[n], shapes[n], latents.calibre, pose) for n in chosen]
    return tubes


def _spread(rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
    """MAX_FOCI of the places, at least _APART mm from one another in the axial plane while there is room."""
    order = rng.integers(0, len(places), MAX_FOCI + 60)
    kept: list[np.ndarray] = []
    spare: list[np.ndarray] = []
    for place in places[order]:
        free = all(np.hypot(*(place - other)[:2]) >= _APART for other in kept)
        (kept if free and len(kept) < MAX_FOCI else spare).append(place)
    return np.array((kept + spare)[:MAX_FOCI])


def _tube(side: str, outward: float, place: np.ndarray, shape: np.ndarray, calibre: float, pose: Pose) -> Tube:
    """A gently bent tube rising outward and backward from under the lentiform nucleus into its lower edge."""
    length = np.clip(8.5 + 1.5 * shape[0], 5.0, 12.0)
    along = np.linspace(-0.35, 0.65, 33)
    lean = np.array([outward * (0.25 + 0.12 * shape[1]), 0.12 + 0.12 * shape[2], 1.0])
    bend = np.array([0.5 * shape[3], 0.5 * shape[4], 0.0])
    centre = place + along[:, None] * length * lean + (along[:, None] ** 2) * 4 * bend
    diameter = np.clip(calibre * np.exp(0.15 * np.clip(shape[5], -2, 2)), 0.5, 2.9)
    taper = np.sqrt(np.clip(1 - ((along - 0.15) / 0.5) ** 4, 0.05, 1))
    lps = pose.tilt(centre)
    points = pose.grid.to_ijk(lps)
    order = np.argsort(points[:, 2])
    return Tube(side, points[order], lps[order], (diameter / 2 * taper)[order])


def sections(tubes: list[Tube], pose: Pose, k: float) -> list[TubeSection]:
    """Sections of the tubes by the plane of continuous slice index ``k``."""
    found = []
    for number, tube in enumerate(tubes):
        points = tube.points
        if not points[0, 2] <= k <= points[-1, 2]:
            continue
        i, j, radius = (np.interp(k, points[:, 2], v) for v in (points[:, 0], points[:, 1], tube.radius))
        found.append(_section(number, i, j, radius, _slope(points, k, pose), pose))
    return found


def _slope(points: np.ndarray, k: float, pose: Pose) -> np.ndarray:
    """Unit direction (along i, j, k in mm) of the centre line at slice index ``k``."""
    at = int(np.clip(np.searchsorted(points[:, 2], k), 1, len(points) - 1))
    step = (points[at] - points[at - 1]) * pose.grid.spacing
    return step / np.linalg.norm(step)


def _section(number: int, i: float, j: float, radius: float, direction: np.ndarray, pose: Pose) -> TubeSection:
    pixel = pose.grid.spacing[0]
    reach = int(np.ceil((radius + 2 * HALO_MM) / pixel)) + 2
    columns, rows, _ = pose.grid.size
    left, top = max(round(i) - reach, 0), max(round(j) - reach, 0)
    right, bottom = min(round(i) + reach + 1, columns), min(round(j) + reach + 1, rows)
    fine = (np.arange(_FINER) + 0.5) / _FINER - 0.5
    x = ((np.arange(left, right)[:, None] + fine).ravel() - i) * pixel
    y = ((np.arange(top, bottom)[:, None] + fine).ravel() - j) * pixel
    across = x[None, :] * direction[0] + y[:, None] * direction[1]
    distance = np.sqrt(np.maximum(x[None, :] ** 2 + y[:, None] ** 2 - across**2, 0))
    cover = np.clip((radius - distance) / (pixel / _FINER) + 0.5, 0, 1)
    halo = (1 - cover) * np.exp(-0.5 * (np.maximum(distance - radius, 0) / (HALO_MM / 1.5)) ** 2)
    window = (slice(top, bottom), slice(left, right))
    return TubeSection(number, window, _shrink(cover), _shrink(halo))


def _shrink(fine: np.ndarray) -> np.ndarray:
    rows, columns = (n // _FINER for n in fine.shape)
    return fine.reshape(rows, _FINER, columns, _FINER).mean(axis=(1, 3)).astype(np.float32)
