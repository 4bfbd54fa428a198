"""What the network is taught with: the deep brain of a person painted as a T2 of random signal, slices and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from labelheads import AIR, MIRRORED, nearest
from labelheads import sampled as averaged
from people import Person
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cnsifusion.imaging import Volume
from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.region_net import sampled

WHITE = 150.0
#: Range of the signal by label: shares of white matter's (cerebellum, diencephalon, brain stem) or of grey matter's
#: (cerebellar cortex, hippocampus, amygdala), and T2 signals where white matter has WHITE.
_OF_WHITE = {7: (0.95, 1.05), 28: (0.88, 1.1), 16: (0.9, 1.05)}
_OF_GREY = {3: (1.0, 1.0), 8: (0.93, 1.03), 17: (0.88, 1.05), 18: (0.88, 1.05)}
_OF_FLUID = {4: (1.0, 1.0), 5: (1.0, 1.0), 14: (1.0, 1.0), 15: (0.7, 1.0), 24: (0.75, 1.05), 72: (1.0, 1.0)}
_SIGNAL = {
    2: (WHITE, WHITE), 85: (120, 210), 10: (140, 195), 11: (145, 210), 12: (130, 205), 13: (85, 150), 26: (150, 215),
    25: (180, 280), 77: (190, 190),
}  # fmt: skip
_GREY, _FLUID, _OUTSIDE, _OTHER = (180, 250), (320, 520), (60, 260), 140.0
#: Vessels of the maps: most of those in the nuclei are perivascular spaces.
_VESSELS, _VESSEL_SIGNALS = (30, 62), (95.0, 250.0)
_CISTERN, _FLUID_CODE = 24, 4
_SLICES_MM = (1.0, 2.0, 3.0, 3.5, 4.0, 4.0, 5.0, 5.0, 6.0)
#: Around the region that many voxels of the 1 mm maps are painted.
_MARGIN = 12


def samples(person: Person, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` paintings: images (float16, 2 * count on SIDE), shares of region B and nucleus (uint8, ... x 2)."""
    rng, images, truths = np.random.default_rng(seed), [], []
    for number in range(count):
        sides = _jittered(person.places[number % len(person.places)], rng)
        volume = _painted(person, np.concatenate([side.reshape(-1, 3) for side in sides]), rng)
        slope = rng.normal(0, 0.0015, 3)
        for side, nucleus in zip(sides, person.nuclei):
            images.append((sampled(volume, side) * np.exp((side - side.mean((0, 1, 2))) @ slope)).astype(np.float16))
            shares = [_read(person.region, person.frame, side), _read(nucleus, person.grid, side)]
            truths.append(np.rint(255 * np.stack(shares)).astype(np.uint8))
    return np.stack(images), np.stack(truths)


def _read(share: np.ndarray, grid: Grid, points: np.ndarray) -> np.ndarray:
    return ndimage.map_coordinates(share, grid.to_kji(points), order=1)


def _jittered(places: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """``places`` as another placement of the same head might have them."""
    middle = np.concatenate([side.reshape(-1, 3) for side in places]).mean(0)
    turn = Rotation.from_euler("xyz", rng.normal(0, 1.5, 3), degrees=True).as_matrix() * (1 + rng.normal(0, 0.02, 3))
    shift = rng.normal(0, 0.8, 3)
    return [(side - middle) @ turn.T + middle + shift for side in places]


def _painted(person: Person, points: np.ndarray, rng: np.random.Generator) -> Volume:
    """An image that holds ``points`` (n, 3; LPS mm), on slices of random thickness and tilt."""
    volume = scene(person, points, rng).volume
    real, imaginary = rng.standard_normal((2, *volume.array.shape)) * WHITE * rng.uniform(0.01, 0.07)
    return volume.with_array(np.hypot(volume.array + real, imaginary).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Scene:
    """A ``volume`` without noise, the signal of CSF in it, its blur (mm in plane), and the labels on ``grid``."""

    volume: Volume
    fluid: float
    blur: float
    labels: np.ndarray
    grid: Grid
    paint: Callable[[np.ndarray, Grid, Grid], np.ndarray]

    def share(self, codes: tuple[int, ...]) -> np.ndarray:
        """How much (0-1) of every voxel of ``volume`` has one of ``codes``."""
        return self.paint(np.isin(self.labels, codes).astype(np.float32), self.grid, self.volume.grid)


def scene(person: Person, points: np.ndarray, rng: np.random.Generator, spots: bool = True) -> Scene:
    """``person`` painted anew about ``points`` (n, 3; LPS mm); ``spots``: with small bright ones in the tissue."""
    labels, grid = _part(person, points)
    target = _slices(points, rng)
    table = _signals(int(labels.max()), rng)
    signal = _textured(table[labels], labels, rng, spots)
    paint = nearest if rng.random() < 0.5 else averaged
    image = paint(signal - AIR, grid, target) + AIR
    blur = rng.uniform(0.2, 0.8)
    image = ndimage.gaussian_filter(image, (0, blur / target.spacing[0], blur / target.spacing[0]))
    return Scene(Volume(image.astype(np.float32), target), float(table[_FLUID_CODE]), blur, labels, grid, paint)


def _part(person: Person, points: np.ndarray) -> tuple[np.ndarray, Grid]:
    index = person.grid.to_kji(points)
    shape = person.labels.shape
    low = np.clip(np.floor(index.min(1)).astype(int) - _MARGIN, 0, shape)
    high = np.clip(np.ceil(index.max(1)).astype(int) + _MARGIN, 0, shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high))
    return person.labels[box].astype(int), person.grid.cropped(box)


def _slices(points: np.ndarray, rng: np.random.Generator) -> Grid:
    thickness, pixel = float(rng.choice(_SLICES_MM)), float(rng.uniform(0.45, 0.9))
    angles = rng.uniform(-18, 18), rng.normal(0, 5), rng.normal(0, 5)
    tilt = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    own = points @ tilt
    low = own.min(0) - np.array([3, 3, thickness * rng.uniform(1.2, 2.2)])
    size = np.ceil((own.max(0) + np.array([3, 3, 1.2 * thickness]) - low) / (pixel, pixel, thickness)).astype(int) + 1
    origin = (tilt @ low).tolist()
    return Grid(tuple(size.tolist()), (pixel, pixel, thickness), tuple(origin), tuple(tilt.ravel().tolist()))


def _signals(highest: int, rng: np.random.Generator) -> np.ndarray:
    """T2 signal of every label up to ``highest``, drawn anew."""
    grey, fluid, vessel = rng.uniform(*_GREY), rng.uniform(*_FLUID), rng.choice(_VESSEL_SIGNALS)
    drawn = {code: rng.uniform(*limits) for code, limits in _SIGNAL.items()} | dict.fromkeys(_VESSELS, vessel)
    for base, shares in ((WHITE, _OF_WHITE), (grey, _OF_GREY), (fluid, _OF_FLUID)):
        drawn |= {code: base * rng.uniform(*limits) for code, limits in shares.items()}
    table = np.full(highest + 1, _OTHER, np.float32)
    table[500:] = rng.uniform(*_OUTSIDE, max(highest - 499, 0))
    for code in range(min(highest + 1, 500)):
        table[code] = drawn.get(MIRRORED.get(code, code), _OTHER)
    table[0] = AIR
    return table


def _textured(signal: np.ndarray, labels: np.ndarray, rng: np.random.Generator, spots: bool) -> np.ndarray:
    """``signal`` with arteries in the cisterns, small bright ``spots`` in the tissue, and mottled on two scales."""

    def pattern(widths: float | tuple[float, float, float]) -> np.ndarray:
        field = ndimage.gaussian_filter(rng.standard_normal(labels.shape).astype(np.float32), widths)
        return field / field.std()

    cistern = labels == _CISTERN
    if rng.random() < 0.7:
        signal = np.where(cistern & (pattern(rng.uniform(0.8, 1.6)) > rng.uniform(1, 2)), rng.uniform(40, 140), signal)
    if spots and rng.random() < 0.5:
        bright = pattern((rng.uniform(0.7, 2.5), 0.7, 0.7)) > rng.uniform(2.3, 3.2)
        signal = np.where(~cistern & bright, rng.uniform(220, 400), signal)
    coarse, fine = rng.uniform(0, 0.09) * pattern(rng.uniform(3, 9)), rng.uniform(0, 0.04) * pattern(1.5)
    return (signal * (1 + coarse + fine)).astype(np.float32)
