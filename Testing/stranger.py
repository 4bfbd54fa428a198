"""A region file as a stranger's Slicer writes it: label names that are not the protocol's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cnsifusion.imaging import Volume


def strangersFile(volume: Volume, path: Path, names: Sequence[str]) -> list[int]:
    """Write a segmentation on the volume's grid with one box for each name; returns the boxes' voxels."""
    array, (slices, rows, columns) = np.zeros(volume.grid.shape, np.uint8), volume.grid.shape
    for n in range(len(names)):
        first = columns // 3 + 12 * n
        array[slices // 2, rows // 2 : rows // 2 + 10 + 4 * n, first : first + 10] = n + 1
    stored = volume.with_array(array).to_sitk()
    for n, name in enumerate(names):
        for key, value in (("Name", name), ("ID", f"s{n}"), ("Layer", "0"), ("LabelValue", str(n + 1))):
            stored.SetMetaData(f"Segment{n}_{key}", value)
    sitk.WriteImage(stored, str(path))
    return [int((array == n + 1).sum()) for n in range(len(names))]
