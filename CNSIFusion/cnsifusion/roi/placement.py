"""A placement of the template that is known beforehand, as a file: the search for it (seconds) is then left out.

Simulated heads cut down to their deep structures carry one, since too little of the head is left to search in.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from cnsifusion.errors import BadInput
from cnsifusion.imaging.grid import ALONG_LPS, Grid, triple
from cnsifusion.imaging.write import atomic_path
from cnsifusion.roi.regions import Plane
from cnsifusion.roi.warp import Warp

#: Unpacked; the largest simulated head's takes 3.5 MB.
_MAX_BYTES = 1 << 26
_ARRAYS = ("affine", "displacement", "origin", "spacing", "midplane")


@dataclass(frozen=True, eq=False)
class Placement:
    """``affine`` (4x4, template to patient, LPS mm), the ``warp`` on top of it, and the mid-sagittal plane."""

    affine: np.ndarray
    warp: Warp
    midplane: Plane


def write_placement(placement: Placement, path: Path) -> None:
    """Write ``placement`` atomically as ``.npz``; the warp's grid must run along LPS."""
    grid, plane = placement.warp.grid, placement.midplane
    with atomic_path(path) as temporary:
        np.savez(
            temporary, affine=placement.affine, displacement=placement.warp.array.astype(np.float32),
            origin=grid.origin, spacing=grid.spacing, midplane=[plane.point, plane.normal],
        )  # fmt: skip


def read_placement(path: str | Path) -> Placement:
    """Read what ``write_placement`` wrote; raises BadInput for any other file, whatever it holds."""
    try:
        with ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                raise ValueError("too large")
        with np.load(path, allow_pickle=False) as data:
            affine, array, origin, spacing, plane = (np.asarray(data[name], float) for name in _ARRAYS)
        k, j, i = array.shape[1:]
        shapes = (affine.shape, array.shape[0], origin.shape, spacing.shape, plane.shape)
        numbers = (affine, array, origin, spacing, plane)
        if shapes != ((4, 4), 3, (3,), (3,), (2, 3)) or not all(np.isfinite(a).all() for a in numbers):
            raise ValueError("wrong shapes or numbers")
        if abs(np.linalg.det(affine)) < 1e-6 or spacing.min() <= 0 or np.linalg.norm(plane[1]) < 1e-6:
            raise ValueError("no placement")
        grid = Grid((i, j, k), triple(spacing), triple(origin), ALONG_LPS)
        return Placement(affine, Warp(array, grid), Plane(triple(plane[0]), triple(plane[1])))
    except (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, BadZipFile, zlib.error) as error:
        raise BadInput("The placement file cannot be read; leave its cell empty.") from error
