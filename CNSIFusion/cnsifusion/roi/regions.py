"""The regions of one head in memory: masks by the protocol's names, ventricular parts, foci, and their origin."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cnsifusion.imaging.grid import Grid

#: A focus that is at least so sure is drawn.
LIKELY = 0.5


@dataclass(frozen=True)
class Plane:
    """The mid-sagittal plane: a point (LPS, mm) on it and the unit normal that points to the patient's left."""

    point: tuple[float, float, float]
    normal: tuple[float, float, float]

    def distance(self, lps: np.ndarray) -> np.ndarray:
        """Signed distance (mm) of LPS positions (..., 3) from the plane; positive on the patient's left."""
        return (np.asarray(lps, float) - self.point) @ np.asarray(self.normal)


@dataclass(frozen=True)
class Focus:
    """One PVS-like focus. ``ijk`` is the voxel nearest its centre, ``lps`` its centre in mm."""

    side: str
    ijk: tuple[int, int, int]
    lps: tuple[float, float, float]
    diameter_mm: float
    contrast_to_noise: float
    confidence: float
    large: bool
    voxels: np.ndarray  # (n, 3) voxel indices ordered k, j, i

    @property
    def likely(self) -> bool:
        """Surer than not: the proposal draws it unless it is large; the others are candidates for the reader."""
        return self.confidence >= LIKELY


def slices_in_words(first: int, last: int) -> str:
    """Slices by their indices for a reader, who counts from 1: "slice 4", "slices 4 to 7"."""
    return f"slice {first + 1}" if first == last else f"slices {first + 1} to {last + 1}"


@dataclass
class RegionSet:
    """Regions on the canonical grid of their image.

    ``masks`` maps the protocol's segment names to bool arrays [k, j, i]; a missing name means "not drawn or not
    offered", and ``withheld`` says why in one sentence. ``parts`` labels the ventricles (see names.PARTS, 0 = none).
    ``origin`` says per segment how it was made: ``automatic`` | ``semiautomatic`` | ``manual`` | ``imported``, and
    ``edited`` lists the segments a reader changed after the proposal. ``notes`` are sentences for the reader.
    """

    grid: Grid
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    parts: np.ndarray | None = None
    midplane: Plane | None = None
    foci: list[Focus] = field(default_factory=list)
    origin: dict[str, str] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    withheld: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
