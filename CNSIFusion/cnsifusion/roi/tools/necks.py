"""Pieces of one slice's mask: connected regions, and how they are cut where they are narrow.

All of it runs several times per slice while a reader waits, so labels are chosen by look-up tables, boxes come from
the pixels that are set: scipy's own helpers take several times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import ndimage

from cnsifusion.roi.morphology import EDGES, covered, padded, spread

#: A tail beyond a neck that ends within this length is a horn and kept; a longer one is a leak and cut at the neck.
_HORN_MM = 14.0
#: The half-width at the point counts for at most this (mm) when necks are judged.
_NECK_MAX_MM = 2.5
#: Slices are looked over in cells of so many rows and columns.
_CELL = 4
#: Neighbours that share a corner or an edge.
_CORNERS = ndimage.generate_binary_structure(2, 2)

#: Rows and columns of a slice's window.
Box = tuple[slice, slice]
#: Whether a region, given in its box of the window, runs out to where it must not.
Leaks = Callable[[Box, np.ndarray], bool]


def box_of(mask: np.ndarray) -> Box:
    """The smallest box around what is set in a slice's ``mask``; without a row where nothing is."""
    where = np.flatnonzero(mask)
    if not len(where):
        return slice(0, 0), slice(0, 0)
    columns = where % mask.shape[1]
    return (
        slice(int(where[0]) // mask.shape[1], int(where[-1]) // mask.shape[1] + 1),
        slice(int(columns.min()), int(columns.max()) + 1),
    )


def around(boxes: list[Box]) -> Box:
    """The smallest box that holds all of ``boxes`` (one at least)."""
    rows, columns = (slice(min(s.start for s in spans), max(s.stop for s in spans)) for spans in zip(*boxes))
    return rows, columns


def moved(box: Box, within: Box) -> Box:
    """A ``box`` given in the box ``within``, as one of what that lies in."""
    rows, columns = (slice(w.start + b.start, w.start + b.stop) for b, w in zip(box, within))
    return rows, columns


def seen(box: Box, within: Box) -> Box:
    """A ``box`` that lies in the box ``within``, as one of that: what moved() takes back."""
    rows, columns = (slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, within))
    return rows, columns


def pieces_at(mask: np.ndarray, start: np.ndarray) -> list[tuple[Box, np.ndarray]]:
    """The connected pieces of a slice's ``mask`` that ``start`` touches: the box of each, and what it is in its box.

    Cells of some pixels tell first, and quickly, in what part of the slice they all lie.
    """
    cells, count = ndimage.label(_cells(mask), EDGES)
    rows, columns = box_of(_chosen(cells, cells[_cells(start)], count))
    part = slice(rows.start * _CELL, rows.stop * _CELL), slice(columns.start * _CELL, columns.stop * _CELL)
    labels, count = ndimage.label(mask[part], EDGES)
    touched = np.flatnonzero(np.bincount(labels[start[part]], minlength=1)[1:]) + 1
    boxes = ndimage.find_objects(labels, count) if count else []
    return [(moved(boxes[number - 1], part), labels[boxes[number - 1]] == number) for number in touched]


def _cells(mask: np.ndarray) -> np.ndarray:
    """Which cells of _CELL x _CELL pixels hold a set one; those at the end may be smaller."""
    whole = np.zeros([-(-n // _CELL) * _CELL for n in mask.shape], bool)
    whole[: mask.shape[0], : mask.shape[1]] = mask
    lines = whole.view(np.uint32)  # four columns in each
    return (lines[::_CELL] | lines[1::_CELL] | lines[2::_CELL] | lines[3::_CELL]) != 0


def opened(mask: np.ndarray, pixels: int) -> np.ndarray:
    """What stays of a ``mask`` with an unset rim when it shrinks by so many steps and spreads again: binary_opening."""
    return spread(~spread(~mask, pixels), pixels)


def distances(mask: np.ndarray, sampling: tuple[float, float]) -> np.ndarray:
    """How far each pixel of ``mask`` is from the nearest that is not set: distance_transform_edt, in half the time."""
    nearest = ndimage.distance_transform_edt(mask, sampling=sampling, return_distances=False, return_indices=True)
    rows = (nearest[0] - np.arange(mask.shape[0])[:, None]) * sampling[0]
    columns = (nearest[1] - np.arange(mask.shape[1])) * sampling[1]
    return np.sqrt(rows * rows + columns * columns)


def within(mask: np.ndarray, reach: float, sampling: tuple[float, float]) -> np.ndarray:
    """What lies within ``reach`` mm of what is set: ``distances(~mask) <= reach``, many times as quick."""
    return covered(mask, _half_widths(reach, sampling))


@lru_cache(maxsize=64)
def _half_widths(reach: float, sampling: tuple[float, float]) -> list[int]:
    """How many columns a disc of ``reach`` mm holds beside its middle, in its middle row and those below it."""
    rows, columns = (np.arange(int(reach / size) + 2) * size for size in sampling)
    inside = np.sqrt((rows * rows)[:, None] + columns * columns) <= reach
    return [int(count) - 1 for count in inside.sum(axis=1) if count]


def contained(
    region: np.ndarray,
    seeds: np.ndarray,
    leaks: Callable[[np.ndarray], bool],
    keep: bool,
    necks: tuple[float, ...],
    sampling: tuple[float, float],
) -> np.ndarray:
    """The connected ``region`` cut at wider and wider ``necks`` (see :func:`_cut_at_necks`) until it ``leaks`` no more.

    A neck is where the half-width falls below one of ``necks`` (fractions, tried in turn) times that at the ``seeds``.
    One that still leaks is empty, or with ``keep`` the blob around the seeds: the least that a click can mean.
    """
    leaky = leaks(region)
    if not leaky and np.hypot(*np.multiply(np.subtract(region.shape, 1), sampling)) < _HORN_MM:
        return region  # so small that all of it is a horn
    inner, seeds = padded(region), padded(seeds)
    near = spread(seeds, 3) & inner
    wide = bool((near & ~within(~inner, _NECK_MAX_MM, sampling)).any())
    width = _NECK_MAX_MM if wide else float(distances(inner, sampling)[near].max())
    for fraction in necks:
        cut = _cut_at_necks(inner, seeds, near, fraction * width, sampling)[1:-1, 1:-1]
        if not (leaky and leaks(cut)):
            return cut
    if not keep:
        return np.zeros_like(region)
    radius = float(distances(inner, sampling)[seeds].max()) + 2 * max(sampling)
    return (inner & within(seeds, radius, sampling))[1:-1, 1:-1]


def _cut_at_necks(inner: np.ndarray, seeds: np.ndarray, near: np.ndarray, neck: float, sampling) -> np.ndarray:
    """The part of the connected ``inner`` around ``seeds`` up to its necks; horns, short tails beyond a neck, stay.

    A neck is where the half-width is at most ``neck`` mm; the part between necks that ``near`` touches is the core.
    """
    cores, count = ndimage.label(~within(~inner, neck, sampling), EDGES)
    core = _chosen(cores, cores[near], count)
    tails = inner & ~within(core, neck + max(sampling), sampling)
    if _surely_near(core, tails, sampling):
        return inner
    far = tails & ~within(core, _HORN_MM, sampling)
    if not far.any():
        return inner  # no tail is long
    labels, count = ndimage.label(tails, _CORNERS)
    kept = inner & ~_chosen(labels, labels[far], count)
    labels, count = ndimage.label(kept, EDGES)
    return _chosen(labels, labels[seeds | core], count)


def _surely_near(core: np.ndarray, tails: np.ndarray, sampling: tuple[float, float]) -> bool:
    """Whether cells of some pixels tell already that all of the ``tails`` lie within _HORN_MM of ``core``."""
    reach = _HORN_MM - (_CELL - 1) * float(np.hypot(*sampling))  # two pixels may be so much farther than their cells
    if reach < 0:
        return False
    near = within(_cells(core), reach, (sampling[0] * _CELL, sampling[1] * _CELL))
    return not (_cells(tails) & ~near).any()


def _chosen(labels: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """The pixels whose label (1 to ``count``) is among ``numbers``."""
    wanted = np.zeros(count + 1, bool)
    wanted[numbers] = True
    wanted[0] = False
    return wanted.take(labels)
