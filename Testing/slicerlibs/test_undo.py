"""Hundreds of random actions, undos and redos on both undo machineries, compared with a model after each one."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_segmentation import snapshot, someRegions

from cnsifusion.imaging import Grid, Volume
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.editing import RegionEditor
from cnsifusion.mrml.segmentation import addSegmentationNode, showRegions
from cnsifusion.mrml.volumes import NodeGeometry, addVolumeNode
from cnsifusion.roi.names import PVS_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES

_STEPS, _LIMIT = 150, 30
_GRID = Grid((20, 24, 9), (0.6, 0.7, 4.0), (1.0, 2.0, 3.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


class SlicersOwn:
    """The desktop's machinery: Slicer's segmentation history."""

    def __init__(self):
        from harness import HeadlessSlicer

        self.slicer = HeadlessSlicer()
        self.scene = self.slicer.scene

    def open(self, case):
        editor = RegionEditor(self.scene, case.segmentation, case.volume)
        self.apply, self.undo, self.redo = editor.apply, editor.undo, editor.redo


class Browsers:
    """The browser's machinery: its Tools on trame-slicer's undo stack, without a page."""

    def __init__(self):
        core = pytest.importorskip("trame_slicer.core", reason="needs the extra 'web'")
        self.slicer = core.SlicerApp()
        self.scene = self.slicer.scene

    def open(self, case):
        from cnsifusion.web.tools import Tools

        tools = Tools(SimpleNamespace(slicer=self.slicer), SimpleNamespace(), lambda: None)
        tools.setCase(case)
        self.apply, self.undo, self.redo = tools._apply, tools.undo, tools.redo


@pytest.mark.parametrize("machinery", [SlicersOwn, Browsers])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_walk_of_actions_undos_and_redos(machinery, seed):
    face = machinery()
    random = np.random.default_rng(seed)
    voxels = random.integers(0, 1000, _GRID.shape).astype(np.float32)
    volume = addVolumeNode(face.scene, Volume(voxels, _GRID), "T2")
    case = CaseState.forVolume(face.scene, volume)
    case.segmentation = node = addSegmentationNode(face.scene, volume)
    showRegions(someRegions(NodeGeometry(volume).grid), node, volume)
    face.open(case)
    states, at = [snapshot(node, volume)], 0
    for step in range(_STEPS):
        kind = random.choice(["edit", "edit", "undo", "redo"])
        if kind == "edit":
            shape = tuple(int(n) for n in random.integers(1, 5, 3))
            origin = tuple(int(random.integers(0, n - s)) for n, s in zip(_GRID.shape, shape))
            mask = random.random(shape) < 0.6
            mask.flat[0] = True
            name = str(random.choice([VENTRICLES, PVS_LEFT, SUBLENTIFORM_RIGHT]))
            face.apply(name, mask, origin, bool(random.random() < 0.4))
            states = [*states[: at + 1], snapshot(node, volume)][-_LIMIT - 1 :]
            at = len(states) - 1
        elif kind == "undo":
            face.undo()
            at = max(at - 1, 0)
        else:
            face.redo()
            at = min(at + 1, len(states) - 1)
        assert snapshot(node, volume) == states[at], f"step {step}: {kind}"
