"""No tool raises on any volume at hand, and undoing everything gives back what was: the whole reader, on real heads."""

from pathlib import Path

import numpy as np
import pytest
import toolwalk

from cnsifusion.imaging import read_image
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.segmentation import addSegmentationNode, fingerprint, showRegions
from cnsifusion.mrml.tools import ACTIONS, NONE, toolsFor
from cnsifusion.mrml.volumes import addVolumeNode
from cnsifusion.roi.names import SEGMENTS
from cnsifusion.roi.regions import Plane, RegionSet

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
OTHERS = ("sri24/late.nii.gz", "cstar_stroke/FLAIR_brain.nii.gz")
IMAGES = sorted([*DATA.glob("*/*T2w*.nii.gz"), *(DATA / name for name in OTHERS)])
_ACTIONS = 40


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="the real test volumes (../shared/data) are not here")
@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.parent.name + "/" + p.name.split(".")[0])
def test_no_action_raises_and_everything_can_be_undone(path):
    volume, face = read_image(path), toolwalk.SlicersOwn()
    grid, node = volume.grid, addVolumeNode(face.scene, volume, "T2")
    case = CaseState.forVolume(face.scene, node)
    case.segmentation = addSegmentationNode(face.scene, node)
    middle = grid.to_lps((np.array(grid.size) - 1) / 2)
    showRegions(RegionSet(grid, midplane=Plane(tuple(middle), (1.0, 0.0, 0.0))), case.segmentation, node)
    face.open(case)
    tools, random, used = face.controller, np.random.default_rng(11), set()
    for _ in range(_ACTIONS):
        tools.segmentName = str(random.choice(list(SEGMENTS)))
        tools.tool = str(random.choice([key for key in toolsFor(tools.segmentName) if key != NONE]))
        tools.erase, tools.leakGuard = bool(random.random() < 0.3), bool(random.random() < 0.7)
        tools.tolerance, tools.neighbours = float(random.random()), int(random.choice([0, 1, 3]))
        tools.forget()
        start = random.uniform(0.25, 0.75, 3) * (np.array(grid.size) - 1)
        places = [start, *(start + random.uniform(-40, 40, 3) * (1, 1, 0) for _ in range(5))]
        lps = [tuple(grid.to_lps(place)) for place in places]
        before = face.applied
        tools.hover(lps[0])
        tools.press(lps[0])
        for place in lps[1:]:
            tools.drag(place)
        tools.release()
        if random.random() < 0.3:
            tools.act(str(random.choice(list(ACTIONS))))
        if face.applied > before:
            used.add(tools.tool)
            assert isinstance(tools.statistics(), list)
    assert len(used) >= 3 and fingerprint(case.segmentation)
    for _ in range(face.applied):
        face.undo()
    assert fingerprint(case.segmentation) == ""
