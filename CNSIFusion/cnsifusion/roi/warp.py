"""The local part of the match: a smooth displacement that bends the affinely placed template onto the patient.

Demons with symmetric step limit (Thirion, Med Image Anal 1998;2:243; Vercauteren et al., NeuroImage 2009;45:S61) on the
template's grid around the deep structures, in two resolutions, between the patient and the picture painted from the
template's tissue maps with the patient's own tissue levels. Plain numpy and scipy filters: repeatable to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import ALONG_LPS, Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.maps import TISSUES, coarse_grid, tissue_maps
from cnsifusion.roi.registration import Registration
from cnsifusion.roi.samples import gain_terms
from cnsifusion.roi.swelling import swollen

#: Lower and upper corner (LPS mm, template space) of the box in which the displacement is worked out.
_BOX = (np.array([-68.0, -60.0, -58.0]), np.array([68.0, 86.0, 52.0]))

#: Grid (mm), blur of the template (mm) and iterations of each resolution.
LEVELS = ((4.0, 2.5, 25), (2.0, 1.2, 14))
#: Smoothing (voxels) of each update and of the whole displacement; square of the gradient (1/mm2) that counts as flat.
_FLUID, _ELASTIC, _FLOOR = 1.0, 1.1, 1e-4
#: The patient is blurred with a kernel of so many standard deviations.
_TRUNCATE = 3
#: Steps of a warp's inverse: whole ones, and short ones (by this factor) until it is so close (mm).
_WHOLE_STEPS, _SHORT_STEPS, _SHORT, _CLOSE_MM = 12, 100, 0.2, 0.05
#: Iterations between looks at where the bent template has brain.
_TRUST_EVERY = 4


@dataclass(frozen=True, eq=False)
class Warp:
    """Displacement ``array`` (3, k, j, i; x, y, z in mm) on ``grid`` of template space.

    A point x of affine template space shows what the template has at x + displacement(x); outside the grid it is 0.
    """

    array: np.ndarray
    grid: Grid

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Template positions (..., 3) LPS mm of affinely mapped ``points`` (..., 3)."""
        index = self.grid.to_kji(points)
        moved = [ndimage.map_coordinates(c, index, order=1, mode="constant") for c in self.array]
        return points + np.stack(moved, -1)

    def inverse(self, points: np.ndarray) -> np.ndarray:
        """Affine template positions (n, 3) at which the template's ``points`` appear (fixed-point iteration).

        Whole steps overshoot for ever where tissue is pressed to less than half: there short ones follow.
        """
        found = np.array(points, float)
        for _ in range(_WHOLE_STEPS):
            found = points - (self(found) - found)
        wrong = np.arange(len(found))
        for _ in range(_SHORT_STEPS):
            missed = self(found[wrong]) - points[wrong]
            far = np.abs(missed).max(1) >= _CLOSE_MM
            wrong = wrong[far]
            if not wrong.size:
                break
            found[wrong] -= _SHORT * missed[far]
        return found


def bend(volume: Volume, registration: Registration) -> Warp:
    """The displacement for ``volume`` placed by ``registration``."""
    grid, array = _grid(4.0), None
    for step, sigma, iterations in LEVELS:
        new = _grid(step)
        if array is None:
            array = np.zeros((3, *new.shape))
        else:
            array = Warp(array, grid)(_points(new)) - _points(new)
            array = np.moveaxis(array, -1, 0)
        grid = new
        patient, picture = _patient(volume, registration, grid), _picture(registration, grid, sigma)
        array = _demons(patient, *picture, array, grid, iterations)
    assert array is not None
    if registration.swelling:
        points = _points(grid)
        array = np.moveaxis(swollen(points + np.moveaxis(array, 0, -1), registration.swelling) - points, -1, 0)
    return Warp(array.astype(np.float32), grid)


def _grid(step: float) -> Grid:
    size = np.floor((_BOX[1] - _BOX[0]) / step).astype(int) + 1
    return Grid(tuple(size.tolist()), (step, step, step), tuple(_BOX[0].tolist()), ALONG_LPS)


def _points(grid: Grid) -> np.ndarray:
    """Positions (k, j, i, 3) of a grid's voxels in LPS mm."""
    k, j, i = np.indices(grid.shape)
    return grid.to_lps(np.stack([i, j, k], -1))


def _patient(volume: Volume, registration: Registration, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The patient on ``grid`` of affine template space in units of CSF = 1, and where there is an image."""
    points = _points(grid)
    step = grid.spacing[0]
    blur = [max(0.0, (step / 2 / s) ** 2 - 0.1) ** 0.5 for s in volume.spacing[::-1]]
    matrix = registration.fit.affine.matrix
    index = volume.grid.to_kji(points @ matrix[:3, :3].T + matrix[:3, 3])
    box = read_box(index, volume.array.shape, blur)
    array = volume.array[box]
    array = ndimage.gaussian_filter(array, blur, truncate=_TRUNCATE) if max(blur) > 0.3 else array
    inner = index - np.array([part.start for part in box]).reshape(3, 1, 1, 1)
    values = ndimage.map_coordinates(array, inner, np.float64, order=1, mode="nearest")
    limits = np.array(volume.array.shape).reshape(3, 1, 1, 1)
    inside = np.all((index >= -0.5) & (index <= limits - 0.5), 0)
    gain = (gain_terms(points.reshape(-1, 3)) @ registration.fit.gain[1:]).reshape(grid.shape)
    return values * gain / max(abs(float(gain.mean())), 1e-12), inside


def read_box(index: np.ndarray, shape: tuple[int, ...], blur: list[float]) -> tuple[slice, ...]:
    """The voxels [k, j, i] of an image on which its values at ``index`` (3, ...) depend when it is blurred first."""
    box = []
    for places, size, sigma in zip(index, shape, blur):
        rim = int(_TRUNCATE * sigma + 0.5) + 1
        low, high = int(np.floor(places.min())) - rim, int(np.ceil(places.max())) + rim + 1
        box.append(slice(min(max(low, 0), size - 1), max(min(high, size), 1)))
    return tuple(box)


def _picture(registration: Registration, grid: Grid, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The template painted with the patient's tissue levels on ``grid``, and how much brain is there."""
    maps = tissue_maps(sigma)
    index = coarse_grid().to_kji(swollen(_points(grid), registration.swelling))
    brain, painted = (
        ndimage.map_coordinates(m, index, order=1, mode="constant")
        for m in (sum(maps[n] for n in TISSUES), sum(registration.levels[n] * maps[n] for n in TISSUES))
    )
    return np.where(brain > 0.1, painted / np.maximum(brain, 0.1), 0), brain


def _demons(
    patient: tuple[np.ndarray, np.ndarray],
    picture: np.ndarray,
    brain: np.ndarray,
    displacement: np.ndarray,
    grid: Grid,
    iterations: int,
) -> np.ndarray:
    """Refined ``displacement`` (3, k, j, i; mm); as it is where the placement leaves no brain in the image."""
    fixed, inside = patient
    core = inside & (brain > 0.9)
    if not core.any():
        return displacement
    # Scale the patient to the picture: the warp must not answer to a difference in brightness.
    fixed = fixed * (np.median(picture[core]) / max(float(np.median(fixed[core])), 1e-12))
    fixed = np.clip(fixed, 0, 1.3).astype(np.float32)
    picture, brain, displacement = (a.astype(np.float32) for a in (picture, brain, displacement))
    step = np.float32(grid.spacing[0])
    index = np.indices(grid.shape).astype(np.float32)
    own = np.gradient(fixed, step)
    for n in range(iterations):
        where = index + displacement[::-1] / step
        moving = ndimage.map_coordinates(picture, where, order=1, mode="nearest")
        if n % _TRUST_EVERY == 0:
            trust = ndimage.map_coordinates(brain, where, order=1, mode="nearest") * inside
        difference = np.clip(fixed - moving, -0.4, 0.4) * trust
        gradient = [0.5 * (a + b) for a, b in zip(np.gradient(moving, step), own)]
        strength = sum(g**2 for g in gradient)
        factor = difference / (strength + difference**2 / (2 * step) ** 2 + np.float32(_FLOOR))
        for axis, slope in enumerate(gradient[::-1]):
            update = ndimage.gaussian_filter(factor * slope, _FLUID, truncate=3)
            displacement[axis] = ndimage.gaussian_filter(displacement[axis] + update, _ELASTIC, truncate=3)
    return displacement
