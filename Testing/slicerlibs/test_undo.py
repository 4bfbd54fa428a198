"""Random readers on both undo machineries: every action is one step, undoing everything is bit-equal to the start."""

from types import SimpleNamespace

import numpy as np
import pytest
import toolwalk

from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.editing import Change
from cnsifusion.mrml.segmentation import addSegmentationNode
from cnsifusion.mrml.volumes import addVolumeNode
from cnsifusion.roi.names import VENTRICLES

_READERS = 20


@pytest.mark.parametrize("machinery", sorted(toolwalk.MACHINERIES))
def test_random_readers(machinery):
    pytest.importorskip("trame_slicer.core", reason="needs the extra 'web'")
    tally = toolwalk.walks(machinery, _READERS)
    assert tally.actions > 20 * _READERS
    assert min(tally.changes, tally.undone) > 2 * _READERS, tally


def test_the_page_keeps_thirty_steps_and_its_figures_follow_them():
    pytest.importorskip("trame_slicer.core", reason="needs the extra 'web'")
    from cnsifusion.web.tools import Tools

    machine = toolwalk.Browsers()
    case = CaseState.forVolume(machine.scene, addVolumeNode(machine.scene, toolwalk.head()[0], "T2"))
    case.segmentation = addSegmentationNode(machine.scene, case.volume)
    session = SimpleNamespace(case=case, segmentation=lambda: case.segmentation)
    tools = Tools(SimpleNamespace(slicer=machine._slicer), session, lambda: None)
    tools.setCase(case)

    def shown():
        return tools.stateForPage()["statistics"]

    figures = [shown()]
    for column in range(33):
        tools._controller.commit([Change(VENTRICLES, np.ones((1, 2, 1), bool), (2, 20, column))])
        figures.append(shown())
    assert len({str(figure) for figure in figures}) == 34, "a poor test"
    for action, can, expected in ((tools.undo, "canUndo", figures[32:2:-1]), (tools.redo, "canRedo", figures[4:])):
        for figure in expected:
            assert tools.stateForPage()[can]
            action()
            assert shown() == figure
        assert not tools.stateForPage()[can]
    tools.setCase(None)
