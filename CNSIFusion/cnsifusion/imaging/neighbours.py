"""Do neighbouring slices fit each other? Slices stored twice, moved against each other or missing, by their voxels.

A file's positions do not tell: NIfTI has none of single slices, and a scanner writes those that it planned.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume

#: Slices are compared with pixels of at least this size, smoothed by so much (mm, standard deviation).
_PIXEL_MM, _SMOOTH_MM = 2.0, 1.5
#: What is brighter than this share of the 98th percentile is head; slices with so much of the largest area count.
_HEAD, _LEAST_AREA = 0.15, 0.6
#: A step from slice to slice is compared with the four around it, in so many parts of the head along both axes:
#: anatomy changes suddenly in some of them. Where the step is this much smaller in four fifths of the parts the slice
#: is the same, where it is this much larger in half of them there is a gap.
_PARTS, _SAME, _GAP = 8, 0.4, 1.45
#: A slice lies beside its neighbours when moving it, by so much (mm; what it turns counts at 50 mm from the middle),
#: explains so much of what it differs from their mean, and the next slice would have to be moved the other way.
_MOVED_MM, _EXPLAINED, _LEVER_MM = 0.8, 0.1, 50.0


def misfit(volume: Volume) -> tuple[str, str] | None:
    """A code and a sentence on slices of ``volume`` that do not fit their neighbours; None where all do."""
    content = volume.content()
    seen, first = volume.cropped(content).averaged(_PIXEL_MM), content[0].start + 1
    bright = max(float(np.percentile(seen.array, 98)), 1e-30)
    planes = np.clip(seen.array / bright, 0, 1)
    planes = ndimage.gaussian_filter(planes, (0, *(_SMOOTH_MM / size for size in seen.spacing[1::-1])), truncate=3)
    head = planes > _HEAD
    if not head.any():
        return None
    area = head.mean((1, 2))
    large = area > _LEAST_AREA * area.max()
    same, gaps = _steps(planes, head, large)
    moved = _moved(planes, seen.spacing, large)
    if len(same):
        what = "A slice is stored twice" if len(same) == 1 else f"{len(same)} slices are stored twice"
        return "repeated-slices", f"{what} ({_between(same, first)}): regions there would be wrong."
    if len(moved):
        text = f"The head moved {_between(moved, first)}: outlines do not lie in line there, check every slice."
        return "moved-slices", text
    if len(gaps):
        text = f"Slices may be missing, the image jumps {_between(gaps, first)}: volumes and places would be wrong."
        return "missing-slices", text
    return None


def _between(steps: np.ndarray, first: int) -> str:
    """From the first to the last of ``steps``, each of which lies after the slice of its index."""
    return f"between slices {steps[0] + first} and {steps[-1] + 1 + first}"


def _steps(planes: np.ndarray, head: np.ndarray, large: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """After which slices the next is the same, and after which there is a gap."""
    rows, columns = (np.flatnonzero(head.any(axes)) for axes in ((0, 2), (0, 1)))
    step = np.sqrt(_parts(np.diff(planes, axis=0) ** 2, rows, columns))
    inside = _parts(head.astype(np.float32), rows, columns) > 0.5
    same, gaps = [], []
    for k in range(2, len(step) - 2):
        used = inside[k] & inside[k + 1]
        if large[k] and large[k + 1] and used.any():
            around = step[[k - 2, k - 1, k + 1, k + 2]].mean(0)
            middle, most = np.percentile(step[k, used] / np.maximum(around[used], 1e-6), (50, 80))
            same += [k] * bool(most < _SAME)
            gaps += [k] * bool(middle > _GAP)
    return np.array(same, int), np.array(gaps, int)


def _parts(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Means (k, n) of ``planes`` [k, j, i] in parts of the rectangle from the first to the last row and column."""
    box = planes[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for axis in (1, 2):
        edges = np.linspace(0, box.shape[axis], _PARTS + 1).astype(int)
        sizes = np.maximum(np.diff(edges), 1)
        box = np.add.reduceat(box, edges[:-1], axis) / (sizes[:, None] if axis == 1 else sizes)
    return box.reshape(len(box), -1)


def _moved(planes: np.ndarray, spacing: tuple[float, ...], large: np.ndarray) -> np.ndarray:
    """After which slices the head moved."""
    between = (planes[:-2] + planes[2:]) / 2
    off = planes[1:-1] - between
    y, x = np.gradient((planes[1:-1] + between) / 2, spacing[1], spacing[0], axis=(1, 2))
    down, right = ((np.arange(n) - n / 2) * size for n, size in zip(off.shape[1:], spacing[1::-1]))
    ways = np.stack([y, x, (right * y - down[:, None] * x) / _LEVER_MM], 1).reshape(len(off), 3, -1)
    off = off.reshape(len(off), 1, -1)
    along, square = ways @ off.transpose(0, 2, 1), ways @ ways.transpose(0, 2, 1)
    damping = 1e-6 * np.trace(square, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    moves = np.linalg.solve(square + damping + 1e-12 * np.eye(3), along)[..., 0]
    explained = np.sum(moves * along[..., 0], 1) / np.maximum(np.sum(off**2, (1, 2)), 1e-12)
    sure = large[1:-1] & (explained > _EXPLAINED) & (np.sum(moves**2, 1) > _MOVED_MM**2)
    return np.flatnonzero(sure[1:] & sure[:-1] & (np.sum(moves[1:] * moves[:-1], 1) < 0)) + 1
