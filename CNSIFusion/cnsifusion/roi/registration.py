"""Where the template lies in a patient's head: an affine fit, without any multi-threaded sum.

The fit maximises the correlation between the patient's intensities, times a smooth gain that absorbs the bias field,
and a T2 picture painted from the template's tissue maps. It starts with a typical contrast and then paints the picture
again with the tissue levels found in this patient, so the contrast of the sequence is estimated, not assumed. A coarse
search over rotations and shifts gives the starts; Gauss-Newton with the gain solved in the same step (variable
projection; Golub & Pereyra, Inverse Problems 2003;19:R1) finds the maximum. Shape has a Gaussian prior as in Ashburner
et al., NeuroImage 1997;6:344. Plain numpy sums in a fixed order make it repeatable to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.maps import TISSUES
from cnsifusion.roi.samples import CENTRE, SAMPLES, Samples, template_samples
from cnsifusion.threads import both

#: Prior standard deviations of stretch along an axis and of shear (fractions of size between adult heads).
_STRETCH_SD, _SHEAR_SD = 0.08, 0.04
#: Neighbouring samples are not independent: about this many count as one against the prior.
_CORRELATED_SAMPLES = 30.0
_SHAPE_TERMS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
#: Rotations (degrees) that the coarse search tries about the left, posterior and superior axes.
_PITCH, _ROLL, _YAW = (-24, -12, 0, 12, 24), (-14, 0, 14), (-14, 0, 14)
#: So many of these are refined.
_STARTS = 10
#: Turns are stepped in units of 1/50 rad so that all steps are about a millimetre at the rim of the brain.
_ARM = 50.0

#: Typical T2 contrast (CSF = 1).
TYPICAL = {"csf": 1.0, "gm": 0.45, "wm": 0.33, "putamen": 0.38, "pallidum": 0.28}
#: Loss of score per fraction of the brain outside the image; and a difference in correlation that decides nothing.
_OUTSIDE_COST, _RIVAL_MARGIN = 0.5, 0.03
#: A coarse fit with less than this correlation is tried again from a brain of this size: of a small one the template's
#: rim lies in the skull, and no step from there leads inward.
_POOR, _SMALL = 0.6, 0.86
#: A coarse fit with less than this correlation is tried again with the ventricles swollen by these shares (see
#: swelling.py), the first of which must gain so much: large ventricles of old age gain 0.04, lesions and a stroke 0.01.
_FULL, SWELLINGS, _FIRST_GAIN = 0.85, (0.5, 0.35, 0.65), 0.028
#: From this correlation on the best of these counts for the ventricles. If it gains so much more it counts for all:
#: large ventricles of old age gain 0.07 and leave the nuclei in place, hydrocephalus gains 0.08 and presses them away.
_CONVINCING, _GAIN = 0.8, 0.08
#: Signal below this fraction of the brightest, reaching the border of the image, is air or what was cut off.
_SIGNAL = 0.05


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> rotation @ (1 + stretch) @ (x - centre) + shift: template LPS mm to patient LPS mm."""

    rotation: np.ndarray
    stretch: np.ndarray  # symmetric 3x3
    shift: np.ndarray

    @property
    def linear(self) -> np.ndarray:
        """The 3x3 part."""
        return self.rotation @ (np.eye(3) + self.stretch)

    @property
    def matrix(self) -> np.ndarray:
        """4x4 matrix, template LPS mm to patient LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.linear
        matrix[:3, 3] = self.shift - self.linear @ CENTRE
        return matrix

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Patient positions of template ``points`` (n, 3), LPS mm."""
        return (points - CENTRE) @ self.linear.T + self.shift


@dataclass(frozen=True, eq=False)
class Fit:
    """An affine and how well it explains the head.

    ``correlation`` is between the painted template and the patient (gain corrected), ``inside`` the fraction of the
    template's brain inside the image, ``gain`` the terms of the gain (see gain_terms).
    """

    affine: Affine
    correlation: float
    inside: float
    gain: np.ndarray


@dataclass(frozen=True, eq=False)
class Reduced:
    """A head at low resolution: ``array`` [k, j, i] (0-1) on ``grid``, and where there is ``signal`` (no air)."""

    array: np.ndarray
    signal: np.ndarray
    grid: Grid


def reduced(volume: Volume, cell_mm: float, sigma: float) -> Reduced:
    """``volume`` averaged into cells of about ``cell_mm`` and smoothed to ``sigma`` mm; extremes clipped."""
    factors = [max(1, round(cell_mm / s)) for s in volume.spacing]
    nk, nj, ni = (n // f for n, f in zip(volume.array.shape, factors[::-1]))
    fk, fj, fi = factors[::-1]
    array = volume.array[: nk * fk, : nj * fj, : ni * fi].reshape(nk, fk, nj, fj, ni, fi).mean((1, 3, 5), dtype=float)
    spacing = tuple(s * f for s, f in zip(volume.spacing, factors))
    grid = volume.grid.resized((ni, nj, nk), (spacing[0], spacing[1], spacing[2]))
    low, high = np.percentile(array, (1, 99.7))
    array = (np.clip(array, low, high) - low) / max(high - low, 1e-9)
    empty, _ = ndimage.label(np.pad(array < _SIGNAL, 1, constant_values=True))
    signal = (empty != empty[0, 0, 0])[1:-1, 1:-1, 1:-1]
    # A cell or slice of width w is itself a blur of standard deviation w / sqrt(12).
    widths = [np.sqrt(max(sigma**2 - s**2 / 12, 0)) / s for s in grid.spacing[::-1]]
    return Reduced(ndimage.gaussian_filter(array, widths, truncate=3), signal, grid)


class _Read:
    """A head read between its cells at ``points`` (n, 3) LPS mm: trilinear ``values``, and which points have signal.

    The gradient is worked out when it is asked for: most places that the fit tries are not stepped on from.
    """

    def __init__(self, volume: Reduced, points: np.ndarray):
        ijk = volume.grid.to_ijk(points)
        size = np.array(volume.grid.size)
        inside = _every((ijk >= -0.5) & (ijk <= size - 0.5))
        ijk = np.clip(ijk, 0, size - 1.000001)
        near = np.rint(ijk).astype(np.intp)
        self.inside = inside & volume.signal[near[:, 2], near[:, 1], near[:, 0]]
        base = ijk.astype(np.intp)
        fi, fj, fk = (ijk - base).T
        stride_j, stride_k = volume.grid.size[0], volume.grid.size[0] * volume.grid.size[1]
        flat = base[:, 2] * stride_k + base[:, 1] * stride_j + base[:, 0]
        # A volume of one slice has no neighbour: step 0 then reads the same voxel twice.
        di, dj, dk = (s if n > 1 else 0 for s, n in zip((1, stride_j, stride_k), volume.grid.size))
        v = volume.array.ravel()
        c000, c100, c010, c110 = v[flat], v[flat + di], v[flat + dj], v[flat + di + dj]
        flat = flat + dk
        c001, c101, c011, c111 = v[flat], v[flat + di], v[flat + dj], v[flat + di + dj]
        a00, a10 = c000 + fi * (c100 - c000), c010 + fi * (c110 - c010)
        a01, a11 = c001 + fi * (c101 - c001), c011 + fi * (c111 - c011)
        b0, b1 = a00 + fj * (a10 - a00), a01 + fj * (a11 - a01)
        self.values = b0 + fk * (b1 - b0)
        self._grid, self._shares = volume.grid, (fj, fk)
        self._steps = (c100 - c000, c110 - c010, c101 - c001, c111 - c011), (a10 - a00, a11 - a01), b1 - b0

    def gradient(self) -> np.ndarray:
        """(n, 3) per mm in LPS."""
        (fj, fk), (along_i, along_j, along_k) = self._shares, self._steps
        gi0 = (1 - fj) * along_i[0] + fj * along_i[1]
        gi1 = (1 - fj) * along_i[2] + fj * along_i[3]
        gi = (1 - fk) * gi0 + fk * gi1
        gj = (1 - fk) * along_j[0] + fk * along_j[1]
        return np.stack([gi, gj, along_k], 1) / self._grid.spacing @ self._grid.matrix.T


def _every(axes: np.ndarray) -> np.ndarray:
    """Whether all three of the last axis hold (np.all says the same, many times slower)."""
    return axes[..., 0] & axes[..., 1] & axes[..., 2]


def _search(volume: Reduced, samples: Samples) -> list[Affine]:
    """The best of a lattice of rotations and shifts."""
    centres = _centres(volume)
    size, spacing = np.array(volume.grid.size), np.array(volume.grid.spacing)
    array, signal = volume.array.ravel(), volume.signal.ravel()
    to_voxel = np.linalg.inv(volume.grid.matrix).T / spacing
    shifts = volume.grid.to_ijk(centres)
    picture = samples.painted(TYPICAL)
    found: list[tuple[float, Affine]] = []
    for angles in product(_PITCH, _ROLL, _YAW):
        rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        index = np.rint(shifts[:, None, :] + (samples.points - CENTRE) @ rotation.T @ to_voxel).astype(np.int32)
        inside = _every((index >= 0) & (index < size))
        flat = (index[..., 2] * size[1] + index[..., 1]) * size[0] + index[..., 0]
        flat = np.where(inside, flat, 0)
        inside &= signal[flat]
        values = np.where(inside, array[flat], 0.0)
        weight = inside.astype(float)
        count = np.maximum(weight.sum(1), 1)
        mean, painted = values.sum(1) / count, weight @ picture / count
        covariance = values @ picture / count - mean * painted
        spread = ((values**2).sum(1) / count - mean**2) * (weight @ picture**2 / count - painted**2)
        covered = count / len(picture)
        score = covariance / np.sqrt(np.maximum(spread, 1e-12)) - _OUTSIDE_COST * (1 - covered)
        for m in np.argsort(-np.where(covered > 0.5, score, -1), kind="stable")[:3]:
            found.append((float(score[m]), Affine(rotation, np.zeros((3, 3)), centres[m])))
    found.sort(key=lambda item: -item[0])
    return [affine for _, affine in found[:_STARTS]]


def _centres(volume: Reduced) -> np.ndarray:
    """Candidate positions (n, 3) of the template brain's centre: a lattice below the top of the foreground."""
    size = np.array(volume.grid.size)
    filled = np.flatnonzero(volume.signal.sum((1, 2)) > 0.02 * size[0] * size[1])
    top = int(filled[-1]) if len(filled) else size[2] - 1
    head = np.argwhere(volume.signal[max(0, top - round(110 / volume.grid.spacing[2])) : top + 1])
    middle = head.mean(0)[::-1] if len(head) else size / 2
    x, y, z = np.meshgrid((-12, 0, 12), (-24, -12, 0, 12, 24), (-100, -88, -76, -64, -52, -40), indexing="ij")
    offsets = np.stack([x.ravel(), y.ravel(), z.ravel()], 1) / np.array(volume.grid.spacing)
    return volume.grid.to_lps(np.array([middle[0], middle[1], top]) + offsets)


def _refine(
    volume: Reduced, start: Affine, samples: Samples, levels: Mapping[str, float], free_shape: bool, iterations: int
) -> Fit:
    """Gauss-Newton from ``start``: rigid with one scale, or (``free_shape``) a full affine."""
    picture = samples.painted(levels)
    best = _Tried(volume, start, samples, picture)
    matrix, vector = best.equations(free_shape)
    damping = 1e-3
    for n in range(iterations):
        step = np.linalg.solve(matrix + np.diag(np.diag(matrix)) * damping, vector)
        trial = _Tried(volume, _moved(best.fit.affine, step, free_shape), samples, picture)
        gain = trial.fit.correlation - best.fit.correlation
        if gain > 0:
            best, damping = trial, damping / 4
            if gain < 2e-5 or n == iterations - 1:
                break
            matrix, vector = best.equations(free_shape)
        else:
            damping = max(damping, 1e-3) * 10
            if damping > 100:
                break
    return best.fit


class _Tried:
    """An affine that was tried: how well it fits, and what the next Gauss-Newton step from there needs."""

    def __init__(self, volume: Reduced, affine: Affine, samples: Samples, picture: np.ndarray):
        self._samples, self._read = samples, _Read(volume, affine.apply(samples.points))
        inside, terms = self._read.inside, samples.terms
        basis = np.concatenate([np.ones((len(picture), 1)), terms * self._read.values[:, None]], 1)
        weight = inside * samples.brain
        ridge = np.diag([1e-6, 1e-6] + [1e-3 * max(weight.sum(), 1.0)] * (basis.shape[1] - 2))
        for _ in range(2):
            weighted = basis * weight[:, None]
            gain = np.linalg.solve(basis.T @ weighted + ridge, weighted.T @ picture)
            residual = picture - basis @ gain
            # Lesions, vessels, what is no brain: large residuals lose their say (Geman and McClure's weight).
            scale = 3 * np.sqrt((weight * residual**2).sum() / max(weight.sum(), 1e-9)) + 1e-9
            weight = inside * samples.brain / (1 + (residual / scale) ** 2) ** 2
        covered = float(weight.sum() and inside[samples.brain > 0.5].mean())
        mean = (weight * picture).sum() / max(weight.sum(), 1e-9)
        rest, variance = (weight * residual**2).sum(), (weight * (picture - mean) ** 2).sum()
        explained = np.sqrt(max(0.0, 1 - rest / max(variance, 1e-9))) * np.sign(gain[1])
        self.fit = Fit(affine, float(explained - _OUTSIDE_COST * (1 - covered)), covered, gain)
        self._basis, self._ridge, self._weight, self._residual, self._rest = basis, ridge, weight, residual, rest

    def equations(self, free_shape: bool) -> tuple[np.ndarray, np.ndarray]:
        """The normal equations (matrix, right side) of the next step."""
        affine, weight, n = self.fit.affine, self._weight, self._basis.shape[1]
        full = np.concatenate([self._basis, np.stack(self._slopes(free_shape), 1)], 1)
        weighted = full * weight[:, None]
        normal, right = full.T @ weighted, weighted.T @ self._residual
        # Eliminate the gain: what is left is the step in position and shape.
        solved = np.linalg.solve(normal[:n, :n] + self._ridge, np.column_stack([normal[:n, n:], right[:n]]))
        matrix = normal[n:, n:] - normal[n:, :n] @ solved[:, :-1]
        vector = right[n:] - normal[n:, :n] @ solved[:, -1]
        noise = self._rest / max(weight.sum(), 1.0) * _CORRELATED_SAMPLES
        for p, (a, b) in enumerate(_SHAPE_TERMS if free_shape else [(0, 0)]):
            precision = noise / ((_STRETCH_SD if a == b else _SHEAR_SD) * _ARM) ** 2
            matrix[6 + p, 6 + p] += precision
            vector[6 + p] -= precision * affine.stretch[a, b] * _ARM
        return matrix + 1e-9 * np.eye(len(matrix)), vector

    def _slopes(self, free_shape: bool) -> list[np.ndarray]:
        """How the corrected values answer to each shift, turn and term of shape."""
        affine, samples, raw = self.fit.affine, self._samples, self._samples.raw
        gain = samples.terms @ self.fit.gain[1:]
        along = self._read.gradient() @ affine.rotation * gain[:, None]  # in the turned frame
        columns = [*along.T, *(np.cross(raw @ (np.eye(3) + affine.stretch), along).T / _ARM)]
        if not free_shape:
            return [*columns, (along * raw).sum(1) / _ARM]
        for a, b in _SHAPE_TERMS:
            columns.append((along[:, a] * raw[:, b] + (along[:, b] * raw[:, a] if a != b else 0)) / _ARM)
        return columns


def _moved(affine: Affine, step: np.ndarray, free_shape: bool) -> Affine:
    """``affine`` after a Gauss-Newton ``step`` (shift mm, turn and shape in units of 1/50), of limited length."""
    step = step / max(1.0, np.abs(step[:3]).max() / 12, np.abs(step[3:]).max() / 12)
    rotation = affine.rotation @ Rotation.from_rotvec(step[3:6] / _ARM).as_matrix()
    stretch = affine.stretch.copy()
    if free_shape:
        for value, (a, b) in zip(step[6:], _SHAPE_TERMS):
            stretch[a, b] += value / _ARM
            stretch[b, a] = stretch[a, b]
    else:
        stretch = stretch + np.eye(3) * step[6] / _ARM
    return replace(affine, rotation=rotation, stretch=stretch, shift=affine.shift + affine.rotation @ step[:3])


def tissue_levels(volume: Reduced, fit: Fit, samples: Samples) -> dict[str, float]:
    """Intensity of every tissue in this head (gain corrected, CSF = 1), by robust regression on its fractions."""
    read = _Read(volume, fit.affine.apply(samples.points))
    gain = samples.terms @ fit.gain[1:]
    corrected = read.values * gain / max(abs(float(gain.mean())), 1e-9)
    base = weight = read.inside * samples.brain
    for _ in range(4):
        weighted = samples.tissue * weight[:, None]
        levels = np.linalg.solve(samples.tissue.T @ weighted + 1e-6 * np.eye(len(TISSUES)), weighted.T @ corrected)
        residual = corrected - samples.tissue @ levels
        scale = 2 * np.sqrt((weight * residual**2).sum() / max(weight.sum(), 1e-9)) + 1e-9
        weight = base / (1 + (residual / scale) ** 2) ** 2
    return dict(zip(TISSUES, (levels / max(levels[0], 1e-9)).tolist()))


@dataclass(frozen=True, eq=False)
class Registration:
    """The best fit, the tissue levels of this head and ``rival_mm``: how far away a start of equal worth ended.

    ``swelling`` is how much larger than the template's the ventricles are (see ``swollen``; 0: as they are there).
    ``for_ventricles`` is a fit with swollen ventricles that suits them, though not what lies around them, better.
    """

    fit: Fit
    levels: dict[str, float]
    rival_mm: float
    swelling: float
    for_ventricles: Registration | None = None


def register(volume: Volume) -> Registration:
    """The affine fit of the template to ``volume`` (any T2-like head, skull or none)."""
    coarse, fine = both(lambda: reduced(volume, 4.0, 4.0), lambda: reduced(volume, 2.0, 2.0))
    sparse, medium = (template_samples(*chosen) for chosen in SAMPLES[:2])
    starts = _search(coarse, sparse)
    shaped = _shaped(coarse, starts, medium)
    if shaped[0].correlation < _POOR:
        small = [replace(start, stretch=np.eye(3) * (_SMALL - 1)) for start in starts]
        shaped = sorted([*shaped, *_shaped(coarse, small, medium)], key=lambda f: -f.correlation)
    swollen, swelling = _swollen(coarse, starts, shaped[0])
    if not swelling:
        return _refined(fine, shaped, 0.0)
    if swollen[0].correlation >= shaped[0].correlation + _GAIN:
        return _refined(fine, swollen, swelling)
    plain, better = both(lambda: _refined(fine, shaped, 0.0), lambda: _refined(fine, swollen, swelling))
    return replace(plain, for_ventricles=better)


def _refined(fine: Reduced, shaped: list[Fit], swelling: float) -> Registration:
    """The registration that the best of ``shaped`` leads to."""
    dense = template_samples(*SAMPLES[2], swelling)
    best = _refine(fine, shaped[0].affine, dense, TYPICAL, True, 10)
    levels = tissue_levels(fine, best, dense)
    best = _refine(fine, best.affine, dense, levels, True, 10)
    rivals = [f for f in shaped[1:] if f.correlation > shaped[0].correlation - _RIVAL_MARGIN]
    rival_mm = max((_apart(f.affine, shaped[0].affine) for f in rivals), default=0.0)
    return Registration(best, levels, rival_mm, swelling)


def _swollen(coarse: Reduced, starts: list[Affine], plain: Fit) -> tuple[list[Fit], float]:
    """The fits with swollen ventricles, and how much, where they are better than the ``plain`` one; else that and 0."""
    if plain.correlation >= _FULL:
        return [plain], 0.0
    if plain.correlation < _POOR:
        starts = _search(coarse, template_samples(*SAMPLES[0], SWELLINGS[0]))
    best, swelling = [plain], 0.0
    for share in SWELLINGS:
        fits = _shaped(coarse, [best[0].affine, *starts], template_samples(*SAMPLES[1], share))
        if not swelling and fits[0].correlation < plain.correlation + _FIRST_GAIN:
            break
        if fits[0].correlation > best[0].correlation:
            best, swelling = fits, share
    return (best, swelling) if best[0].correlation >= _CONVINCING else ([plain], 0.0)


def _shaped(coarse: Reduced, starts: list[Affine], samples: Samples) -> list[Fit]:
    """The full affines that the best of ``starts`` lead to, the best first."""
    first = sorted((_refine(coarse, s, samples, TYPICAL, False, 5) for s in starts), key=lambda f: -f.correlation)
    rough = [_refine(coarse, f.affine, samples, TYPICAL, False, 10) for f in _distinct(first)[:5]]
    rough.sort(key=lambda f: -f.correlation)
    shaped = [_refine(coarse, f.affine, samples, TYPICAL, True, 12) for f in _distinct(rough)[:3]]
    return sorted(shaped, key=lambda f: -f.correlation)


def _distinct(fits: list[Fit]) -> list[Fit]:
    """``fits`` without those that ended within 4 mm of a better one."""
    kept: list[Fit] = []
    for fit in fits:
        if all(_apart(fit.affine, other.affine) > 4 for other in kept):
            kept.append(fit)
    return kept


def _apart(one: Affine, other: Affine) -> float:
    """Largest distance (mm) between two placements of the template's brain (of six points on its rim)."""
    rim = CENTRE + np.array([(60, 0, 0), (-60, 0, 0), (0, 80, 0), (0, -80, 0), (0, 0, 60), (0, 0, -50)])
    return float(np.linalg.norm(one.apply(rim) - other.apply(rim), axis=1).max())
