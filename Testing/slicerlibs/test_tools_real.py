"""No tool raises on any volume at hand, and undoing everything gives back what was: the whole reader, on real heads."""

from pathlib import Path

import numpy as np
import pytest
import toolwalk

from cnsifusion.imaging import read_image
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.segmentation import addSegmentationNode, fingerprint, showRegions
from cnsifusion.mrml.tools import ACTIONS, CSF, MOVE, NONE, OUTLINE, PVS, REJECT_REASONS, SPLINE, TOOLS, toolsFor
from cnsifusion.mrml.volumes import addVolumeNode
from cnsifusion.roi.names import SEGMENTS
from cnsifusion.roi.regions import Plane, RegionSet

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
OTHERS = ("sri24/late.nii.gz", "sri24/erly.nii.gz", "sri24/spgr.nii.gz", "cstar_stroke/FLAIR_brain.nii.gz")
IMAGES = sorted([*DATA.glob("*/*T2w*.nii.gz"), *(DATA / name for name in OTHERS)])
#: Every tool, adding and erasing, in every region that it serves.
_PLAN = [(name, tool, erase) for name in SEGMENTS for tool in toolsFor(name) if tool != NONE for erase in (False, True)]
#: These find nothing where the image holds no CSF and no dot under the cursor.
_SEARCHING = {CSF, PVS}


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

    def done(kind: str, action) -> None:
        before = face.applied
        action()
        assert face.applied in (before, before + 1), f"{kind}: more than one undo step"
        if face.applied > before:
            used.add(kind)
        else:
            assert tools.message or kind == MOVE, f"{kind}: nothing happened, and nothing was said"

    def stroke(places) -> None:
        lps = [tuple(grid.to_lps(place)) for place in places]
        tools.hover(lps[0])
        tools.press(lps[0])
        for place in lps[1:]:
            tools.drag(place)
        tools.release()

    def choose(tool: str, erase: bool) -> None:
        tools.tool, tools.erase = tool, erase
        tools.forget()

    for n in random.permutation(len(_PLAN)):
        tools.segmentName, tool, erase = _PLAN[n]
        start = random.uniform(0.25, 0.75, 3) * (np.array(grid.size) - 1)
        if tools.drawn(tools.segmentName).empty:  # two circles with a gap between
            choose(OUTLINE, False)
            for k in (0, 2):
                ring = [np.add(start, (15 * np.cos(a), 15 * np.sin(a), k)) for a in np.linspace(0, 6, 12)]
                done(OUTLINE, lambda ring=ring: stroke(ring))
        choose(tool, erase)
        if tool in (MOVE, SPLINE):
            drawn = tools.drawn(tools.segmentName)
            start = (np.argwhere(drawn.mask) + drawn.origin)[0][::-1]
        tools.leakGuard = bool(random.random() < 0.7)
        tools.tolerance, tools.neighbours = float(random.random()), int(random.choice([0, 1, 3]))
        places = [start, *(start + random.uniform(-40, 40, 3) * (1, 1, 0) for _ in range(5))]
        done(tool, lambda places=places: stroke(places))
        whole = str(random.choice([*ACTIONS, "reject"]))
        if whole == "reject":
            done(whole, lambda: tools.reject(REJECT_REASONS[0]))
        else:
            done(whole, lambda whole=whole: tools.act(whole))
        assert isinstance(tools.statistics(), list)
    missing = {*TOOLS, *ACTIONS, "reject"} - used - _SEARCHING - {NONE}
    assert not missing and fingerprint(case.segmentation), missing
    for _ in range(face.applied):
        face.undo()
    assert fingerprint(case.segmentation) == ""
