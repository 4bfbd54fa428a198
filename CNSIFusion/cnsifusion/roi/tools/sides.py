"""The other side of the head on one slice: the line of symmetry, and the CSF there that matches what was found here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.roi.tools.necks import distances

#: The slice is looked at in cells of about this size (mm), turned by up to this many degrees in steps.
_CELL_MM = 2.5
_TURN_DEGREES, _TURN_STEP = 24.0, 3.0
#: Halves that agree less than this are no two sides of a head: axial slices reach 0.95 and more, half a head 0.84.
_MIN_SYMMETRY = 0.9
#: What lies opposite holds this share of the mirrored region at least, and is at most so many times as large.
_MATCH, _LARGER = 0.3, 2.5
#: No head is straight: what lies opposite is looked for up to so far (mm) nearer to the line or farther from it.
_BENT_MM = 4.0


@dataclass(frozen=True)
class Midline:
    """The line of symmetry of a slice: ``normal`` . (y, x) = ``offset``, in mm from the centre of pixel (0, 0)."""

    normal: tuple[float, float]
    offset: float

    def mirrored(self, pixels: np.ndarray, sampling: tuple[float, float]) -> np.ndarray:
        """Pixels (n, 2) of (row, column) on the other side, to the nearest; ``sampling`` is their size in mm."""
        normal = np.array(self.normal)
        places = pixels * np.array(sampling)
        across = places - 2 * ((places @ normal) - self.offset)[:, None] * normal
        return np.rint(across / sampling).astype(int)


def find_midline(plane: np.ndarray, sampling: tuple[float, float]) -> Midline | None:
    """The line about which an axial slice [j, i] is most symmetric; None where its halves are not alike.

    ``sampling`` is the size of a pixel (rows, columns) in mm. The slice is turned in small steps; at each, one
    convolution of its rows with themselves compares every left with every right.
    """
    steps = (max(round(_CELL_MM / sampling[0]), 1), max(round(_CELL_MM / sampling[1]), 1))
    cells = _cells(plane, steps)
    if min(cells.shape) < 8:
        return None
    size = np.multiply(steps, sampling)
    scores: dict[float, tuple[float, float]] = {}

    def best_of(angles: np.ndarray) -> float:
        for angle in angles:
            scores[float(angle)] = _symmetry(cells, float(angle), size)
        return max(scores, key=lambda angle: scores[angle][0])

    angle = best_of(np.arange(-_TURN_DEGREES, _TURN_DEGREES + 1, _TURN_STEP))
    for step in (_TURN_STEP / 2, _TURN_STEP / 4):
        angle = best_of(np.array([angle - step, angle + step]))
    score, shift = scores[angle]
    if score < _MIN_SYMMETRY:
        return None
    turn = np.radians(angle)
    normal = np.array([np.sin(turn), np.cos(turn)])
    first = (np.array(steps) - 1) / 2 * sampling  # centre of the first cell
    centre = first + (np.array(cells.shape) - 1) / 2 * size
    return Midline((float(normal[0]), float(normal[1])), float(centre @ normal + shift))


class Opposite:
    """Where a region of one slice would lie on the other side: where most is ``bright`` near its mirror image.

    ``region`` and ``bright`` are bool windows [j, i] whose first pixel is ``corner`` (j, i) of the slice.
    """

    def __init__(
        self,
        region: np.ndarray,
        bright: np.ndarray,
        corner: tuple[int, int],
        midline: Midline,
        sampling: tuple[float, float],
    ):
        self._rest, self._sampling = bright & ~region, sampling
        mirrored = midline.mirrored(np.argwhere(region) + corner, sampling) - corner
        self._size = max(len(mirrored), 1)
        steps = np.outer(np.arange(0, _BENT_MM, min(sampling)), (1, -1)).reshape(-1, 1)
        shifts = np.rint(steps * midline.normal / sampling).astype(int)
        margin = int(np.abs(shifts).max())
        near = mirrored[self._inside(mirrored, margin)]
        padded = np.pad(self._rest, 2 * margin)  # all that is near stays in it, wherever it is shifted
        width = padded.shape[1]
        flat, bright_there = (near[:, 0] + 2 * margin) * width + near[:, 1] + 2 * margin, padded.ravel()
        hits = [np.count_nonzero(bright_there.take(flat + (row * width + column))) for row, column in shifts]
        best = mirrored + shifts[int(np.argmax(hits))]  # of equal ones the nearest is taken
        self._pixels = best[self._inside(best, 0)]

    def _inside(self, pixels: np.ndarray, margin: int) -> np.ndarray:
        """Which ``pixels`` lie in the window, or at most ``margin`` rows or columns beyond it."""
        rows, columns = ((p >= -margin) & (p < n + margin) for p, n in zip(pixels.T, self._rest.shape))
        return rows & columns

    def seed(self) -> tuple[int, int] | None:
        """The deepest bright pixel there that the region does not hold itself; None where too little is bright."""
        rest = self._rest
        hits = self._pixels[rest[tuple(self._pixels.T)]]
        if len(hits) < _MATCH * self._size:
            return None
        low, high = hits.min(axis=0), hits.max(axis=0) + 1
        depth = distances(np.pad(rest[low[0] : high[0], low[1] : high[1]], 1), self._sampling)
        row, column = hits[int(depth[tuple((hits - low + 1).T)].argmax())]
        return int(row), int(column)

    def matches(self, found: np.ndarray) -> bool:
        """Whether ``found``, grown from the seed, lies as the mirrored region does and is about as large."""
        held, size = int(np.count_nonzero(found[tuple(self._pixels.T)])), int(np.count_nonzero(found))
        return held >= _MATCH * self._size and size <= _LARGER * self._size


def _cells(plane: np.ndarray, steps: tuple[int, int]) -> np.ndarray:
    """Means over cells of ``steps`` pixels, above the air around; fat and eyes are cut to the 98th percentile."""
    rows, columns = plane.shape[0] // steps[0], plane.shape[1] // steps[1]
    if not rows or not columns:
        return np.zeros((0, 0))
    trimmed = plane[: rows * steps[0], : columns * steps[1]].astype(float)
    cells = trimmed.reshape(rows, steps[0], columns, steps[1]).mean(axis=(1, 3))
    air = np.median(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]))  # the frame must not count
    return np.minimum(cells, np.percentile(cells, 98)) - air


def _symmetry(cells: np.ndarray, degrees: float, size: np.ndarray) -> tuple[float, float]:
    """How alike the halves of the turned slice are at best, and how far that line lies (mm) from its centre."""
    turn, n = np.radians(degrees), max(cells.shape)
    along, across = np.array([np.cos(turn), -np.sin(turn)]), np.array([np.sin(turn), np.cos(turn)])
    matrix = np.stack([along, across], 1) * size[1] / size[:, None]
    start = (np.array(cells.shape) - 1) / 2 - matrix @ np.full(2, (n - 1) / 2)
    turned = ndimage.affine_transform(cells, matrix, start, (n, n), order=1)
    power = float((turned**2).sum())
    if power == 0:
        return 0.0, 0.0
    spectrum = np.fft.rfft(turned, 2 * n, axis=1)
    folded = np.fft.irfft((spectrum**2).sum(axis=0), 2 * n) / power
    near = folded[n // 2 : n + n // 2]  # the line lies in the middle half of the slice
    best = int(near.argmax())
    return float(near[best]), (best + n // 2 - (n - 1)) / 2 * float(size[1])
