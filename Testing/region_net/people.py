"""The people of the label maps: region B as the protocol has it, nuclei, and where ``locate`` places their heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from labelheads import STRUCTURES
from proposal import SUBLENTIFORM, label_heads
from scipy import ndimage
from trueframe import true_placement, turned_labels

from cnsifusion.imaging import read_labels
from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.anatomy import Anatomy, locate
from cnsifusion.roi.region_net import side_points
from cnsifusion.roi.template import DEPTH_MM, below_columns, sublentiform_window

#: Slices (mm) of the crisp heads in which everybody is placed; the third style is the soft one.
STYLES = (3.0, 5.0, None)
#: The simulated heads synA and synB of the test data are made from these maps.
LEFT_OUT = ("training_seg_03", "training_seg_19")


@dataclass(frozen=True, eq=False)
class Person:
    """``labels`` on ``grid``; the share of region B (``region`` on ``frame``) and of the nuclei by side (on ``grid``).

    ``places``: by style, patient positions (k, j, i, 3; LPS mm) that the network sees on the left and on the right.
    """

    name: str
    labels: np.ndarray
    grid: Grid
    region: np.ndarray
    frame: Grid
    nuclei: tuple[np.ndarray, np.ndarray]
    places: list[tuple[np.ndarray, np.ndarray]]


def placed_heads(folder: Path, style: float | None) -> dict[str, Anatomy]:
    """Where ``locate`` places the heads of everybody in one style, by name."""
    return {head.name: locate(head.volume) for head in label_heads(folder, style)}


def person(path: Path, anatomies: list[Anatomy]) -> Person:
    """The person of the label map at ``path`` (see benchmarks/labelheads.py), placed as in ``anatomies``."""
    labels, grid = read_labels(path)
    region, frame = true_region(labels, grid)
    nuclei = [_share(np.isin(labels, _nucleus(side))) for side in SUBLENTIFORM]
    places = [side_points(anatomy) for anatomy in anatomies]
    return Person(path.name.split(".")[0], labels, grid, _share(region), frame, (nuclei[0], nuclei[1]), places)


def true_region(labels: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """Region B of both sides by the protocol's rule under true nuclei (bool [k, j, i] on a 1 mm grid of its own)."""
    structures = {name: np.isin(labels, codes) for name, codes in STRUCTURES.items()}
    code, box, (x, y, z) = turned_labels(labels, grid, true_placement(structures, grid).affine)
    region = np.zeros(box.shape, bool)
    for side in SUBLENTIFORM:
        others = STRUCTURES[f"amygdala_{side}"] + STRUCTURES[f"diencephalon_{side}"]
        region |= below_columns(np.isin(code, _nucleus(side)), int(DEPTH_MM)) & ~np.isin(code, others)
    return region & sublentiform_window(np.abs(x), -y, z), box


def _nucleus(side: str) -> tuple[int, ...]:
    return STRUCTURES[f"putamen_{side}"] + STRUCTURES[f"pallidum_{side}"]


def _share(mask: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(mask.astype(np.float32), 0.5)
