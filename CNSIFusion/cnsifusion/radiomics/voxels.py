"""Regions, and the geometry of their voxels: built once per call, used for every filtered image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from cnsifusion.errors import BadInput

Identity = str | int | float | bool | None


@dataclass(frozen=True, eq=False)
class RegionMask:
    """One region to extract features from: a row of the feature table.

    ``mask`` is bool: 3-D [k, j, i] on the volume's grid, or one 2-D slice with its ``slice_index`` along the 2-D axis
    (k by default). ``identification`` holds further columns of the row (patient, side, part, slice ...).
    """

    label: str
    mask: np.ndarray
    slice_index: int | None = None
    identification: Mapping[str, Identity] = field(default_factory=dict)


def offsets(distances: Sequence[int], in_plane: bool) -> np.ndarray:
    """Neighbour offsets (n, 3), ordered k, j, i, at the given infinity-norm distances in voxels; of each opposite pair
    only the one whose first non-zero component is positive. In plane: no step along k.
    """
    reach = range(-max(distances), max(distances) + 1)
    steps = [o for o in product((0,) if in_plane else reach, reach, reach) if max(map(abs, o)) in distances]
    return np.array([o for o in steps if next(c for c in o if c) > 0], np.intp)


class Voxels:
    """The voxels of all regions, region after region, in each region in C order.

    ``coords``: (N, 3) indices k, j, i. ``starts``: (R + 1,) first voxel of each region. ``region``: (N,) region of each
    voxel. ``shape``: grid shape [k, j, i].

    Raises BadInput for a mask that does not fit the grid.
    """

    def __init__(self, regions: Sequence[RegionMask], shape: tuple[int, int, int], reach: int, in_plane: bool) -> None:
        self.shape = shape
        pieces = [_coordinates(region, shape) for region in regions]
        self.starts = np.cumsum([0, *(len(p) for p in pieces)])
        self.coords = np.concatenate(pieces) if pieces else np.empty((0, 3), np.intp)
        self.region = np.repeat(np.arange(len(pieces)), np.diff(self.starts))
        self._lay_out(pieces, np.array([0 if in_plane else reach, reach, reach]))

    @property
    def sizes(self) -> np.ndarray:
        """(R,) number of voxels of each region."""
        return np.diff(self.starts)

    @property
    def extents(self) -> np.ndarray:
        """(R, 3) size of each region's bounding box along k, j, i; 0 for an empty region."""
        return np.array([np.ptp(self.of(r), axis=0) + 1 if n else (0, 0, 0) for r, n in enumerate(self.sizes)])

    def of(self, region: int) -> np.ndarray:
        """Indices (n, 3) of one region's voxels."""
        return self.coords[self.starts[region] : self.starts[region + 1]]

    def _lay_out(self, pieces: list[np.ndarray], pad: np.ndarray) -> None:
        """Give each region a padded box of its own in one flat array, so that a neighbour is a constant step away."""
        count = len(pieces)
        self._strides = np.zeros((count, 3), np.intp)
        self._address = np.empty(len(self.coords), np.intp)
        base = 0
        for r, piece in enumerate(pieces):
            if not len(piece):
                continue
            low = piece.min(axis=0)
            box = piece.max(axis=0) - low + 1 + 2 * pad
            self._strides[r] = (box[1] * box[2], box[2], 1)
            self._address[self.starts[r] : self.starts[r + 1]] = base + (piece - low + pad) @ self._strides[r]
            base += int(box.prod())
        self._voxel_at = np.full(base, -1, np.int32)
        self._voxel_at[self._address] = np.arange(len(self.coords), dtype=np.int32)

    def neighbours(self, offset: np.ndarray) -> np.ndarray:
        """For every voxel the voxel of its region at ``offset`` (k, j, i) from it, or N where there is none: (N,)."""
        found = self._voxel_at[self._address + (self._strides @ offset)[self.region]]
        return np.where(found >= 0, found, len(self.coords))

    def lines(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voxels sorted along the lines of a direction whose first non-zero component is 1.

        Returns the order (N,), whether each voxel in it directly follows the one before on the same line (N,), and
        for each region whether any line holds two of its voxels (R,), gaps allowed.
        """
        along = int(np.flatnonzero(direction)[0])
        place = self.coords[:, along]
        across = [self.coords[:, a] - direction[a] * place for a in range(3) if a != along]
        line = self.region
        for c in across:
            low = c.min(initial=0)
            line = line * (c.max(initial=0) - low + 1) + (c - low)
        key = line * self.shape[along] + place
        order = np.argsort(key) if np.any(key[1:] < key[:-1]) else np.arange(len(key))
        sorted_line, sorted_key = line[order], key[order]
        same = np.zeros(len(order), bool)
        same[1:] = sorted_line[1:] == sorted_line[:-1]
        follows = same.copy()
        follows[1:] &= np.diff(sorted_key) == 1
        several = np.bincount(self.region[order][same], minlength=len(self.sizes)) > 0
        return order, follows, several


def _coordinates(region: RegionMask, shape: tuple[int, int, int]) -> np.ndarray:
    """Indices (n, 3), ordered k, j, i, of a region's voxels in C order."""
    mask = np.asarray(region.mask)
    if mask.dtype != bool:
        raise BadInput(f"The mask of region {region.label} is not true/false; compare it with its label value.")
    if mask.ndim == 2:
        if region.slice_index is None or not 0 <= region.slice_index < shape[0] or mask.shape != shape[1:]:
            raise BadInput(f"Region {region.label} does not fit the image: its slice or size is another.")
    elif mask.shape != shape:
        raise BadInput(f"Region {region.label} does not fit the image: its grid is another; resample it to the image.")
    flat = np.flatnonzero(mask)
    kj, i = np.divmod(flat, shape[2])
    k, j = np.divmod(kj, shape[1]) if mask.ndim == 3 else (np.full_like(kj, region.slice_index), kj)
    return np.stack([k, j, i], axis=1)
