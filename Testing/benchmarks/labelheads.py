"""Heads that are not copies of the template: axial T2 painted from whole-head label maps of real people.

The maps are not part of this project. They are the training label maps of SynthSeg (github BBillot/SynthSeg,
``data/training_label_maps``, Apache-2.0; FreeSurfer codes, 500 and above outside the brain), 1 mm, from 20 adults;
give their folder to the benchmark. Signal is linear in the label fractions of a voxel, so the truth is exact.

``crisp_heads`` paints the same people as the simulated heads synA and synB of the test data are made: voxel edges of
the map are kept (the nearest label at the pixel's centre, five times along a slice), and the picture is blurred by a
pixel in the plane. What is half CSF then lies up to a pixel from where brightness says it does.

With ``lesions``, white matter up to 10 mm from the lateral ventricles is bright in patches: so far on the way to CSF.
``swollen`` heads have hydrocephalus: lateral ventricles of so many ml (see swollenheads.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation
from swollenheads import with_hydrocephalus

from cnsifusion.imaging import Volume, read_labels
from cnsifusion.imaging.grid import Grid, snap

#: T2 signal by label (deep white matter about 150), rounded from what axial T2 of adults shows.
_SIGNAL = {
    2: 150, 3: 215, 4: 400, 5: 400, 7: 150, 8: 205, 10: 160, 11: 180, 12: 160, 13: 118, 14: 400, 15: 400, 16: 148,
    17: 205, 18: 210, 24: 400, 25: 220, 26: 180, 28: 145, 30: 250, 62: 250, 72: 400, 77: 190, 85: 200,
}  # fmt: skip
#: The right side's codes and those of the left that have the same signal; skull, muscle, fat and skin from 500 on.
MIRRORED = {
    41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 57: 25, 58: 26, 60: 28,
    136: 25, 137: 26, 163: 25, 164: 26,
}  # fmt: skip
_OUTSIDE_BRAIN, AIR = 140.0, 6.0
#: What crisp heads show otherwise: lesions, choroid plexus, vessels without signal, chiasm.
_CRISP_SIGNAL = {25: 270, 57: 270, 136: 180, 163: 180, 30: 95, 62: 95, 85: 145}
_CRISP_SAMPLES = 5
_FLUID = (4, 5, 14, 15, 24, 43, 44, 72)
#: A code that the maps do not have; where a lesion may lie; its depth (mm): mean, spread, length of change, most.
_LESION, _MAY_BE_ILL, _DEPTH = 499, (2, 41, 77), (3.5, 4.5, 7.0, 10.0)
#: Codes of each true structure.
STRUCTURES = {
    "lateral": (4, 5, 43, 44), "third": (14,), "fourth": (15,), "putamen_left": (12,), "pallidum_left": (13,),
    "putamen_right": (51,), "pallidum_right": (52,), "thalamus_left": (10,), "thalamus_right": (49,),
    "caudate_left": (11,), "caudate_right": (50,), "hippocampus_left": (17,), "hippocampus_right": (53,),
    "amygdala_left": (18,), "amygdala_right": (54,), "diencephalon_left": (28,), "diencephalon_right": (60,),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class PaintedHead:
    """``volume`` and the true ``structures`` (bool [k, j, i], at least half a voxel; names of STRUCTURES)."""

    name: str
    volume: Volume
    structures: dict[str, np.ndarray]


@dataclass(frozen=True)
class Protocol:
    """Slice thickness, pixel and ``blur`` in the plane (mm), pitch, roll and yaw (degrees) of the slices, noise and
    shading (fractions). ``crisp``: see the module.
    """

    thickness: float
    pixel: float
    turn: tuple[float, float, float]
    noise: float
    shading: float
    blur: float = 0.3
    crisp: bool = False
    lesions: float = 0.0
    swollen: float = 0.0


def protocols() -> Iterator[Protocol]:
    """Endless fixed protocols: 1 to 6 mm slices, 0.45 to 0.8 mm pixels, oblique by up to 20 degrees."""
    rng = np.random.default_rng(11)
    for n in count():
        axis = rng.normal(size=3) * (1.0, 0.4, 0.4)
        turn = axis / np.linalg.norm(axis) * (0, 8, 14, 20)[n % 4]
        thickness = (4.0, 5.0, 3.0, 6.0, 2.0, 5.0, 1.0)[n % 7]
        yield Protocol(thickness, float(rng.uniform(0.45, 0.8)), tuple(turn.tolist()), 0.02, 0.15)


def painted_heads(folder: Path, lesions: float = 0.0, swollen: float = 0.0) -> Iterator[PaintedHead]:
    """A head of every label map of ``folder``, each under its own protocol."""
    for number, (path, protocol) in enumerate(zip(sorted(folder.glob("*.nii.gz")), protocols())):
        yield paint(path, replace(protocol, lesions=lesions, swollen=swollen), number if lesions else 0)


def crisp_heads(
    folder: Path, thickness: float, lesions: float = 0.0, swollen: float = 0.0
) -> Iterator[PaintedHead]:
    """A crisp head of every label map of ``folder``, in slices of ``thickness`` (mm), pitched by up to 12 degrees."""
    rng = np.random.default_rng(12)
    for number, path in enumerate(sorted(folder.glob("*.nii.gz"))):
        pitch, noise, shading = rng.uniform(-12, 12), rng.uniform(0.04, 0.055), rng.uniform(0.1, 0.15)
        protocol = Protocol(thickness, 0.6, (pitch, 0.0, 0.0), noise, shading, 0.6, True, lesions, swollen)
        yield paint(path, protocol, number)


def paint(path: Path, protocol: Protocol, seed: int = 0) -> PaintedHead:
    """The head of the label map at ``path`` as an axial T2 of ``protocol``."""
    labels, grid = read_labels(path)
    if protocol.swollen:
        labels = with_hydrocephalus(labels, protocol.swollen)
    target = _slices_of(labels, grid, protocol)
    mean = nearest if protocol.crisp else sampled
    if protocol.lesions:
        labels = _with_lesions(labels, np.random.default_rng(100 + seed))
    table = np.array([signal_of(code, protocol.crisp) for code in range(int(labels.max()) + 1)], np.float32)
    if protocol.lesions:
        table[_LESION] = table[2] + protocol.lesions * (table[4] - table[2])
    signal = mean(table[labels.astype(int)] - AIR, grid, target) + AIR
    structures = {
        name: mean(np.isin(labels, codes).astype(np.float32), grid, target) >= 0.5 for name, codes in STRUCTURES.items()
    }
    rng = np.random.default_rng(seed)
    signal = ndimage.gaussian_filter(signal, (0, protocol.blur / protocol.pixel, protocol.blur / protocol.pixel))
    texture = 0.15 * ndimage.gaussian_filter(rng.standard_normal(signal.shape), (0, 1.5, 1.5))
    if protocol.crisp:
        texture *= 1 - mean(np.isin(labels, _FLUID).astype(np.float32), grid, target)
    signal *= 1 + texture
    for axis, size in enumerate(signal.shape):
        x = np.linspace(-1, 1, size).reshape([-1 if a == axis else 1 for a in range(3)])
        signal *= np.exp(protocol.shading * (0.4 * (x**2 - 1 / 3) + rng.uniform(-0.4, 0.4) * x))
    real, imaginary = rng.standard_normal((2, *signal.shape)) * protocol.noise * 150
    stored = np.rint(np.hypot(signal + real, imaginary)).astype(np.float32)
    return PaintedHead(path.name.split(".")[0], Volume(stored, target), structures)


def _with_lesions(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean, spread, length, most = _DEPTH
    pattern = ndimage.gaussian_filter(rng.standard_normal(labels.shape).astype(np.float32), length)
    depth = np.clip(mean + spread * pattern / pattern.std(), 0, most)
    ill = np.isin(labels, _MAY_BE_ILL) & (ndimage.distance_transform_edt(~np.isin(labels, (4, 43))) < depth)
    return np.where(ill, _LESION, labels)


def signal_of(code: int, crisp: bool = False) -> float:
    if code == 0:
        return AIR
    if crisp and code in _CRISP_SIGNAL:
        return _CRISP_SIGNAL[code]
    return _SIGNAL.get(MIRRORED.get(int(code), int(code)), _OUTSIDE_BRAIN)


def _slices_of(labels: np.ndarray, grid: Grid, protocol: Protocol) -> Grid:
    """The image's grid: turned about the brain's middle, wide enough for the brain and its scalp."""
    brain = (labels > 0) & (labels < 500)
    points = grid.to_lps(np.argwhere(brain[::4, ::4, ::4])[:, ::-1] * 4)
    middle = (points.min(0) + points.max(0)) / 2
    turn = Rotation.from_euler("xyz", protocol.turn, degrees=True).as_matrix()
    own = (points - middle) @ turn
    low, high = own.min(0) - np.array([14, 14, 6]), own.max(0) + np.array([14, 14, 16])
    spacing = (protocol.pixel, protocol.pixel, protocol.thickness)
    size = np.ceil((high - low) / spacing).astype(int)
    origin = middle + turn @ low
    return snap(Grid(tuple(size.tolist()), spacing, tuple(origin.tolist()), tuple(turn.ravel().tolist())))


def sampled(array: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    """Means (float32) of ``array`` (on ``grid``, 0 outside) in the voxels of ``target``: linear, averaged along slices.

    Of a mask that is the share of every voxel that lies in it.
    """
    result = np.zeros(target.shape, np.float32)
    inside = np.argwhere(array)
    if not len(inside):
        return result
    corners = np.stack(np.meshgrid(*zip(inside.min(0) - 1, inside.max(0) + 1), indexing="ij"), -1).reshape(-1, 3)
    ijk = target.to_ijk(grid.to_lps(corners[:, ::-1]))
    low = np.clip(np.floor(ijk.min(0)).astype(int) - 1, 0, target.size)
    high = np.clip(np.ceil(ijk.max(0)).astype(int) + 2, 0, target.size)
    if np.any(high <= low):
        return result
    box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1]))
    soft = ndimage.gaussian_filter(array, 0.5, truncate=3)
    first = target.to_lps(low.astype(float))
    thin = max(1, int(np.ceil(target.spacing[2])))
    for part in range(thin):
        depth = (part + 0.5) / thin - 0.5
        offset = grid.to_ijk(first + target.matrix[:, 2] * depth * target.spacing[2])[::-1]
        steps = (grid.matrix.T @ target.matrix * np.array(target.spacing) / np.array(grid.spacing)[:, None])[::-1, ::-1]
        shape = tuple(int(b - a) for a, b in zip(low[::-1], high[::-1]))
        result[box] += ndimage.affine_transform(soft, steps, offset, shape, order=1, mode="constant")
    return result / thin


def nearest(array: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    """Means (float32) of ``array``'s nearest voxels at _CRISP_SAMPLES points along the slice at each pixel's centre."""
    steps = (grid.matrix.T @ target.matrix * np.array(target.spacing) / np.array(grid.spacing)[:, None])[::-1, ::-1]
    result = np.zeros(target.shape, np.float32)
    for depth in (np.arange(_CRISP_SAMPLES) + 0.5) / _CRISP_SAMPLES - 0.5:
        first = target.to_lps(np.array([0.0, 0.0, depth]))
        result += ndimage.affine_transform(array, steps, grid.to_ijk(first)[::-1], target.shape, order=0)
    return result / _CRISP_SAMPLES
