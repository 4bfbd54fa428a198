"""Shape of a region in three dimensions (pyradiomics' shape): a marching cubes mesh through the midpoints between in
and out.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from cnsifusion.radiomics.counts import ratio
from cnsifusion.radiomics.shape import axis_lengths, outermost

NAMES = (
    "Elongation", "Flatness", "LeastAxisLength", "MajorAxisLength", "Maximum2DDiameterColumn", "Maximum2DDiameterRow",
    "Maximum2DDiameterSlice", "Maximum3DDiameter", "MeshVolume", "MinorAxisLength", "Sphericity", "SurfaceArea",
    "SurfaceVolumeRatio", "VoxelVolume",
)  # fmt: skip

#: Corners of a cube (k, j, i); corner n is bit n of the cube's number.
_CORNERS = np.array([(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)])

#: The cube's edges as pairs of corners; the letters a to l name them in this order.
_EDGES = np.array(
    [(0, 1), (0, 3), (0, 4), (1, 2), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 7), (5, 6), (6, 7)]
)

#: The triangles of cubes 1 to 127, three edge letters each; cube 255 - n has those of n, turned inside out. Made by
#: tracing the border between the corners in and out (corners that touch only across a face's diagonal stay apart) and
#: choosing, of all ways to cut the polygons into triangles, one with pyradiomics' area and volume at any spacing.
_TRIANGLES = """
    acb ade bdcdec dfg acbdfg afefge bfcfgcgec bhf acfchf adebhf chehfefde bhdhgd acdchgcgd abebhehge chehge cij
    aibijb adecij bdjdejeij cijdfg aibijbdfg afefgecij bfjfgefejeij bhfcij aifijfjhf adebhfcij defeifijfjhf
    bhdhgdcij aidijdjhdhgd abebhehgecij eihijhehg eki acbeki adidki bdkbkckic dfgeki acbdfgeki afifgigki
    bfcfgcgkckic bhfeki acfchfeki adidkibhf chihfifdidki bhdhgdeki acdchgcgdeki abibhgbgigki chgcgigki cejekj
    aebekbkjb adcdkjdjc bdjdkj cejekjdfg aebekbkjbdfg afcfgcgkckjc bfkfgkbkj bhfcejekj aefekjejfjhf adcdkjdjcbhf
    dkjdjfjhf bhdhgdcejekj aekakjajhahgagd abhahgagkakjajc gkhkjh glk acbglk adeglk bdcdecglk dfkflk acbdfkflk
    aflalelke bfcflkfkckec bhfglk acfchfglk adebhfglk chehfefdeglk bhkhlkbkd acdchlcldlkd abebhehlelke chehlelke
    cijglk aibijbglk adecijglk bdjdejeijglk cijdfkflk aibijbdfkflk aflalelkecij bfeflelkebejeij bhfcijglk
    aifijfjhfglk adebhfcijglk defeifijfjhfglk bhkhlkbkdcij aihijhahdhlkhkd abebhehlelkecij eihijhehkhlk egigli
    acbegigli adldglali bdcdgcglclic dfeflifie acbdfeflifie afifli bfcflific bhfegigli acfchfegigli adldglalibhf
    chdhfdcdidgldli bhdhlihidied acdchdhldlidied ablbhlali chihli cegcgjglj aebeglelbljb adcdgcglcljc bdjdgjglj
    cejedjdfjflj aebedfefleljejb aflalcljc bfjflj bhfcegcgjglj aejegjgljajfjhf adcdgcglcljcbhf dgjgljdjfjhf
    bhlbldljclceled aedhlj ablbhlalcljc hlj
""".split()  # noqa: SIM905  (words read better than quoted strings)


@lru_cache(maxsize=1)
def _cubes() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of all triangles: cube (T,) and area vector (T, 3); of the 128 cubes: sums of a . (b x c) and of area vectors."""
    middles = _CORNERS[_EDGES].mean(axis=1)
    cube = np.array([n for n, word in enumerate(_TRIANGLES, 1) for _ in range(len(word) // 3)])
    edges = np.array([ord(letter) - ord("a") for word in _TRIANGLES for letter in word]).reshape(-1, 3)
    a, b, c = (middles[edges[:, n]] for n in range(3))
    vector = np.cross(b, c) + np.cross(c, a) + np.cross(a, b)
    local, facing = np.zeros(128), np.zeros((128, 3))
    np.add.at(local, cube, (a * np.cross(b, c)).sum(axis=1))
    np.add.at(facing, cube, vector)
    return cube, vector, local, facing


def features(coords: np.ndarray, spacing: np.ndarray) -> dict[str, float]:
    """The 14 features of the voxels ``coords`` (n, 3), ordered k, j, i; ``spacing`` (3,) in mm in the same order."""
    low = coords.min(axis=0) - 1
    mask = np.zeros(np.ptp(coords, axis=0) + 3, bool)
    mask[tuple((coords - low).T)] = True
    area, volume = area_and_volume(mask, spacing)
    least, minor, major = axis_lengths(coords, spacing)
    points = _vertices(mask)
    slices, columns, rows = (_widest_plane(points, axis, spacing) for axis in range(3))
    return {
        "Elongation": float(ratio(minor, major)),
        "Flatness": float(ratio(least, major)),
        "LeastAxisLength": least,
        "MajorAxisLength": major,
        "Maximum2DDiameterColumn": columns,
        "Maximum2DDiameterRow": rows,
        "Maximum2DDiameterSlice": slices,
        "Maximum3DDiameter": _widest(points, spacing),
        "MeshVolume": volume,
        "MinorAxisLength": minor,
        "Sphericity": (36 * np.pi * volume**2) ** (1 / 3) / area,
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume,
        "VoxelVolume": len(coords) * float(spacing.prod()),
    }


def area_and_volume(mask: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    """Area (mm2) and enclosed volume (mm3) of the mesh of ``mask`` [k, j, i], which is False at its border."""
    number = np.zeros(np.array(mask.shape) - 1, np.uint8)
    for n, corner in enumerate(_CORNERS):
        window = tuple(slice(c, size - 1 + c) for c, size in zip(corner, mask.shape))
        number |= mask[window].astype(np.uint8) << n
    place = np.stack(np.nonzero((number > 0) & (number < 255)), axis=1)
    number = number[tuple(place.T)]
    sign = np.where(number < 128, 1.0, -1.0)
    number = np.where(number < 128, number, 255 - number)
    cube, vector, local, facing = _cubes()
    mm2 = np.linalg.norm(vector * (spacing.prod() / spacing), axis=1) / 2
    area = np.bincount(number, minlength=128)[cube] @ mm2
    volume = (sign * (local[number] + (place * facing[number]).sum(axis=1))).sum() / 6
    return float(area), float(volume * spacing.prod())


def _vertices(mask: np.ndarray) -> np.ndarray:
    """Mesh vertices (n, 3) in doubled voxel units, so that midpoints are whole."""
    points = []
    for axis in range(3):
        found = 2 * np.stack(np.nonzero(np.diff(mask, axis=axis)), axis=1)
        found[:, axis] += 1
        points.append(found)
    return np.concatenate(points)


def _widest(points: np.ndarray, spacing: np.ndarray) -> float:
    """Largest distance in mm between ``points`` (n, 3) in doubled voxel units."""
    outer = outermost(points) * (spacing / 2)
    return float(pdist(outer[ConvexHull(outer).vertices]).max())


def _widest_plane(points: np.ndarray, axis: int, spacing: np.ndarray) -> float:
    """Largest distance in mm between points of one plane perpendicular to ``axis``."""
    ordered = points[np.argsort(points[:, axis], kind="stable")]
    planes = np.split(np.delete(ordered, axis, 1), np.flatnonzero(np.diff(ordered[:, axis])) + 1)
    step = np.delete(spacing, axis) / 2
    limits = np.array([np.linalg.norm(np.ptp(plane, axis=0) * step) for plane in planes])
    best = 0.0
    for n in np.argsort(-limits):
        if limits[n] <= best:
            break  # no plane left is wide enough
        outer = outermost(planes[n]) * step
        best = max(best, float(pdist(outer).max(initial=0)))
    return best
