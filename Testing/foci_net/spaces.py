"""What the network is taught with: bright blobs of painted deep brains, some of them spaces of known shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from painting import WHITE, Scene, scene
from people import Person
from plantedfoci import cover
from proposal import disc
from scipy import ndimage

from cnsifusion.imaging import Volume
from cnsifusion.roi.foci import blobs, noise_level, search_zone
from cnsifusion.roi.foci_net import network_input
from cnsifusion.roi.regions import Plane

_FLUID = (4, 5, 14, 15, 24, 43, 44, 72, 0)
#: Bright in a map without being planted: neither a space nor none.
_VESSELS = (30, 62, 77)
_WHITE, _CORTEX, _PUTAMEN = (2, 41), 3, (12, 51)
#: The maps have no claustrum: a sheet of grey matter so far (mm) beside the putamen.
_CLAUSTRUM_MM = (1.0, 3.0)
_KINDS, _CHANCES = ("standing", "lying", "ball", "large", "disc"), (0.23, 0.23, 0.23, 0.08, 0.23)
_DIAMETERS, _LARGE = (0.8, 3.2), (3.5, 6.0)
#: Brightness as a share of CSF's, of half of the spaces and of discs (one slice of any brightness, half of them sharp).
_DIMMEST, _DIMMEST_DISC = 0.6, 0.12
_MOST, _APART_MM, _NEAR_MM = 8, 2.5, 6.0
#: Noise of half of the pictures is that of images enlarged by the scanner: blurred by up to so many pixels.
_NOISE, _SMOOTH_NOISE = (0.01, 0.07), 1.2
#: A third of the pictures are sharpened as by a scanner's filter: by up to so much of what a blur (pixels) takes away.
_SHARPENED, _SHARPER, _SHARP_BLUR = 1 / 3, 0.8, (0.6, 1.5)
#: A planted space must stand out by this much noise, and by this share of CSF.
_LEAST_NOISE, _LEAST_SHARE = 3.0, 0.06
#: Of the blobs that are none, this share is kept.
_KEPT = 0.2


def samples(person: Person, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blobs of ``count`` paintings: pictures (float16, n x 3 slices), what is the same all over each (n, 4), truths."""
    rng = np.random.default_rng(seed)
    putamen = np.isin(person.labels, _PUTAMEN)
    beside = np.where(np.isin(person.labels, _WHITE), ndimage.distance_transform_edt(~putamen), 0)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number in range(count):
        far = rng.uniform(*_CLAUSTRUM_MM)
        sheet = (beside >= far) & (beside < far + 1)
        painted = replace(person, labels=np.where(sheet, _CORTEX, person.labels))
        found += _blobs_of(painted, person.places[number % len(person.places)], rng)
    pictures, constants, truths = zip(*found)
    return np.concatenate(pictures), np.concatenate(constants), np.concatenate(truths)


def _blobs_of(
    person: Person, places: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blobs of one painting, side by side."""
    ground = scene(person, np.concatenate([side.reshape(-1, 3) for side in places]), rng, spots=False)
    grid = ground.volume.grid
    points = grid.to_lps(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1).reshape(-1, 3))
    region = ndimage.map_coordinates(person.region, person.frame.to_kji(points), order=1).reshape(grid.shape) > 0.5
    left, right = (side.reshape(-1, 3).mean(0) for side in places)
    midplane = Plane(tuple((left + right) / 2), tuple((left - right) / np.linalg.norm(left - right)))
    sides = midplane.distance(points).reshape(grid.shape)
    kinds = ground.share(_FLUID) < 0.3, ground.share(_VESSELS), ground.share(_WHITE) > 0.9
    found = []
    for mirrored in (False, True):
        mask = region & ((sides < 0) == mirrored)
        if mask.any():
            found.append(_side(ground, kinds, mask, search_zone(ground.volume, mask, midplane), mirrored, rng))
    return [side for side in found if side is not None]


def _side(
    ground: Scene,
    kinds: tuple[np.ndarray, np.ndarray, np.ndarray],
    mask: np.ndarray,
    zone: np.ndarray,
    mirrored: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Blobs of the side whose region B is ``mask``, some of them planted; None if there are none.

    ``kinds``: what is little fluid (bool), the share of vessels, what is white matter (bool).
    """
    dry, vessels, white = kinds
    clear = dry & (vessels < 0.1)
    array, planted = _planted(ground, mask & clear, (zone > 0) & clear, rng)
    volume = Volume(_noisy(array, rng), ground.volume.grid)
    noise = noise_level(volume, white)
    tissue = float(np.median(volume.array[mask]))
    csf = (ground.fluid - tissue) * rng.uniform(0.9, 1.1)
    true = np.zeros(mask.shape, bool)
    unsure = ndimage.binary_dilation(vessels > 0.15, iterations=2)
    for added, share in planted:
        core, brightest = share > share.max() / 2, added.max((1, 2))
        if brightest.max() >= max(_LEAST_NOISE * noise, _LEAST_SHARE * csf):
            seen = brightest >= max(_LEAST_NOISE * noise * 2 / 3, _LEAST_SHARE * csf)
            true |= core & seen[:, None, None]
        unsure |= share > 0.15 * share.max()
    true = ndimage.maximum_filter(true, (1, 3, 3))
    peaks, diameters = blobs(volume, zone, noise, csf)
    at = tuple(peaks.T)
    kept = true[at] | (~unsure[at] & (rng.random(len(peaks)) < _KEPT))
    if not kept.any():
        return None
    image = network_input(volume, peaks, diameters, noise, tissue, csf, mirrored)[kept]
    return image[:, :3].astype(np.float16), image[:, 3:, 0, 0], true[at][kept]


def _planted(
    ground: Scene, inside: np.ndarray, around: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """The picture with spaces planted mostly ``inside``, sometimes ``around``; what each adds, and its shape (0-1)."""
    volume = ground.volume
    array, planted, taken = volume.array.copy(), [], []
    width = ground.blur / volume.spacing[0]
    pools = [np.argwhere(mask) for mask in (inside, around)]
    for _ in range(rng.integers(0, _MOST + 1)):
        pool = pools[int(rng.random() < 0.4)]
        if not len(pool):
            continue
        if taken and rng.random() < 0.4:  # spaces come in clusters
            near = np.linalg.norm(volume.grid.to_lps(pool[:, ::-1]) - taken[-1], axis=1) < _NEAR_MM
            pool = pool[near] if near.any() else pool
        place = pool[rng.integers(len(pool))]
        point = volume.grid.to_lps(place[::-1])
        if any(np.linalg.norm(point - other) < _APART_MM for other in taken):
            continue
        taken.append(point)
        kind = str(rng.choice(_KINDS, p=_CHANCES))
        diameter = float(rng.uniform(*(_LARGE if kind == "large" else _DIAMETERS)))
        shape = "ball" if kind == "large" else kind
        plain = rng.random() < 0.5
        share = _disc(volume, diameter, place) if kind == "disc" else cover(volume, shape, diameter, place, rng)
        if kind != "disc" or not plain:
            share = ndimage.gaussian_filter(share, (0, width, width))
        dimmest = _DIMMEST_DISC if kind == "disc" else 1 if plain else _DIMMEST
        bright = array + rng.uniform(dimmest, 1) * (ground.fluid - array)
        added = (share * np.maximum(bright - array, 0)).astype(np.float32)
        array += added
        planted.append((added, share))
    return array, planted


def _disc(volume: Volume, diameter: float, place: np.ndarray) -> np.ndarray:
    """Share (0-1, [k, j, i]) of every voxel in a disc about ``place`` (k, j, i), in its slice alone."""
    share = np.zeros(volume.array.shape, np.float32)
    share[place[0]] = disc(volume, diameter, place)
    return share


def _noisy(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``array`` with Rician noise, white or blurred in the plane, some of it sharpened."""
    parts = rng.standard_normal((2, *array.shape)).astype(np.float32)
    if rng.random() < 0.5:
        width = rng.uniform(0.4, _SMOOTH_NOISE)
        parts = ndimage.gaussian_filter(parts, (0, 0, width, width))
        parts /= parts.std()
    real, imaginary = parts * WHITE * rng.uniform(*_NOISE)
    noisy = np.hypot(array + real, imaginary)
    if rng.random() < _SHARPENED:
        width = rng.uniform(*_SHARP_BLUR)
        noisy += rng.uniform(0, _SHARPER) * (noisy - ndimage.gaussian_filter(noisy, (0, width, width)))
    return noisy
