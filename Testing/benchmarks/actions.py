"""Whole actions of a reader in slicer-core (tool, undo state, segment update), and what many leave in memory.

Printed by tools.py.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from cnsifusion.imaging import Grid, Volume

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
#: Undo steps that both faces keep; and more than any of these runs takes.
_UNDO_STEPS, _EVERY_STEP = 30, 10_000


def whole_actions(image: np.ndarray, spacing: tuple[float, float, float], ventricles: np.ndarray) -> None:
    """Print the process time of every kind of action on ``image`` [k, j, i] with drawn ``ventricles``."""
    import toolwalk

    from cnsifusion.roi.names import SUBLENTIFORM_LEFT, VENTRICLES
    from cnsifusion.roi.regions import Plane

    grid = _grid(image, spacing)
    centre = np.array(ndimage.center_of_mass(ventricles))[::-1]
    region = np.zeros(image.shape, bool)
    k, j, i = int(centre[2]) - 3, int(centre[1]), int(centre[0] + 20 / spacing[0])
    region[k : k + 3, j : j + int(18 / spacing[1]), i : i + int(20 / spacing[0])] = True
    masks = {VENTRICLES: ventricles, SUBLENTIFORM_LEFT: region}
    middle = Plane(tuple(float(x) for x in grid.to_lps(centre)), (1.0, 0.0, 0.0))
    face = toolwalk.SlicersOwn()
    _open(face, image, grid, masks, middle, _EVERY_STEP)
    inside = np.argwhere(ndimage.binary_erosion(ventricles, np.ones((1, 3, 3))))  # of all slices
    random = np.random.default_rng(0)
    print(f"\nMilliseconds of process time of whole actions in slicer-core, {grid.size} voxels, undo state saved:")
    undos: list[float] = []
    for kind, act in _kinds(face, grid, inside, random, (i, j, k)).items():
        times = []
        for _ in range(40):
            prepare, go = act()
            prepare()
            steps = face.applied
            times.append(_timed(go))
            if face.applied > steps:
                undos.append(_timed(face.undo))
        _row(kind, times)
    _row("undo of any of these", undos)


def growth(image: np.ndarray, spacing: tuple[float, float, float], ventricles: np.ndarray) -> None:
    """Print what 500 CSF clicks that add or erase, every seventh undone, leave in memory with each undo machinery."""
    import toolwalk

    from cnsifusion.mrml.tools import CSF
    from cnsifusion.roi.names import VENTRICLES
    from cnsifusion.roi.tools.csf import ALL_SLICES

    grid, inside = _grid(image, spacing), np.argwhere(ventricles)
    print(f"\nMemory (MB) that clicks add, {_UNDO_STEPS} undo steps kept:")
    for name, machinery in toolwalk.MACHINERIES.items():
        face, random = machinery(), np.random.default_rng(0)
        _open(face, image, grid, {VENTRICLES: ventricles}, None, _UNDO_STEPS)
        tools, grown, first = face.controller, {}, _resident()
        tools.tool, tools.segmentName = CSF, VENTRICLES
        for number in range(1, 501):
            tools.erase, tools.neighbours = bool(number % 2), (0, 2, ALL_SLICES)[number % 3]
            tools.forget()
            tools.press(tuple(grid.to_lps(inside[random.integers(len(inside))][::-1])))
            tools.release()
            if number % 7 == 0:
                face.undo()
            if number in (50, 100, 250, 500):
                grown[number] = _resident() - first
        face.close()
        row = "   ".join(f"{number}: {size:4.0f}" for number, size in grown.items())
        print(f"  {name:14s} {row}   ({face.applied} changed something)", flush=True)


def _resident() -> float:
    """Memory of this process in MB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _open(face, image: np.ndarray, grid: Grid, masks: dict, middle, undoSteps: int) -> None:
    """Open a case with regions in a ``face`` of toolwalk."""
    from cnsifusion.mrml.case import CaseState
    from cnsifusion.mrml.segmentation import addSegmentationNode, showRegions
    from cnsifusion.mrml.volumes import addVolumeNode
    from cnsifusion.roi.regions import RegionSet

    node = addVolumeNode(face.scene, Volume(image.astype(np.float32), grid), "T2")
    case = CaseState.forVolume(face.scene, node)
    case.segmentation = addSegmentationNode(face.scene, node)
    showRegions(RegionSet(grid, masks, midplane=middle), case.segmentation, node)
    face.open(case, undoSteps)


def _grid(image: np.ndarray, spacing: tuple[float, float, float]) -> Grid:
    size = (image.shape[2], image.shape[1], image.shape[0])
    return Grid(size, spacing, (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def _timed(action: Callable) -> float:
    start = time.process_time()
    action()
    return 1000 * (time.process_time() - start)


def _row(kind: str, times: list[float]) -> None:
    print(f"  {kind:26s} median {np.median(times):6.1f}   p95 {np.percentile(times, 95):6.1f}", flush=True)


def _kinds(face, grid: Grid, inside: np.ndarray, random, corner: tuple[int, int, int]) -> dict[str, Callable]:
    """Kind of action -> a function that gives (what to do before, what is timed); a change is undone and timed too."""
    from cnsifusion.mrml.tools import CSF, MIRROR, MOVE, SPLINE
    from cnsifusion.roi.names import SUBLENTIFORM_LEFT, VENTRICLES
    from cnsifusion.roi.tools.csf import ALL_SLICES

    tools = face.controller

    def choose(tool: str, name: str, erase: bool = False, neighbours: int = 0) -> None:
        tools.tool, tools.segmentName, tools.erase, tools.neighbours = tool, name, erase, neighbours
        tools.forget()

    def ventricle() -> tuple:
        return tuple(grid.to_lps(inside[random.integers(len(inside))][::-1]))

    def click(place) -> None:
        tools.press(place)
        tools.release()

    def stroke(first, last) -> None:
        tools.press(first)
        tools.drag(last)
        tools.release()

    def hover(erase: bool) -> tuple:
        place = ventricle()
        return lambda: choose(CSF, VENTRICLES, erase), lambda: tools.hover(place)

    def csf(erase: bool) -> tuple:
        place = ventricle()

        def before() -> None:  # a click after the tools were idle: on a slice that is not all drawn already
            choose(CSF, VENTRICLES, erase)
            if not erase:
                tools.tolerance = 0.8

        return before, lambda: click(place)

    def all_slices(erase: bool) -> tuple:
        place = ventricle()

        def before() -> None:  # added to nothing, erased from the whole
            choose(CSF, VENTRICLES, erase, ALL_SLICES)
            tools.tolerance = 0.5
            if not erase:
                tools.reject("wrong place")

        return before, lambda: click(place)

    i, j, k = corner
    edge, out = tuple(grid.to_lps((i, j + 10, k + 1))), tuple(grid.to_lps((i - 8, j + 10, k + 1)))
    middle, away = tuple(grid.to_lps((i + 10, j + 10, k + 1))), tuple(grid.to_lps((i + 18, j + 14, k + 1)))
    return {
        "hover, adding CSF": lambda: hover(False),
        "hover, erasing CSF": lambda: hover(True),
        "click, adding CSF": lambda: csf(False),
        "click, erasing CSF": lambda: csf(True),
        "erasing CSF, all slices": lambda: all_slices(True),
        "drag of a spline point": lambda: (lambda: choose(SPLINE, SUBLENTIFORM_LEFT), lambda: stroke(edge, out)),
        "moving a region": lambda: (lambda: choose(MOVE, SUBLENTIFORM_LEFT), lambda: stroke(middle, away)),
        "mirroring a region": lambda: (lambda: choose(MOVE, SUBLENTIFORM_LEFT), lambda: tools.act(MIRROR)),
        "rejecting the ventricles": lambda: (lambda: choose(CSF, VENTRICLES), lambda: tools.reject("wrong place")),
        "figures of the ventricles": lambda: (lambda: choose(CSF, VENTRICLES), tools.statistics),
        "adding CSF, all slices": lambda: all_slices(False),  # the last: the ventricles stay rejected
    }
