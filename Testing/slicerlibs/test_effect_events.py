"""The Qt effect's handling of events, on Slicer's real libraries with stand-ins for Qt, the view and the controls."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import slicer
import toolwalk
import vtk
from regioneditor import RegionEditor

from cnsifusion.errors import BadInput
from cnsifusion.mrml.drawn import segmentIdOf, segmentMask
from cnsifusion.mrml.segmentation import addSegmentationNode, showRegions
from cnsifusion.mrml.tools import CSF, OUTLINE
from cnsifusion.mrml.volumes import addVolumeNode
from cnsifusion.roi.names import PVS_LEFT, VENTRICLES

GRID, SLICE = toolwalk.GRID, 3
PRESS, RELEASE = vtk.vtkCommand.LeftButtonPressEvent, vtk.vtkCommand.LeftButtonReleaseEvent
DOUBLE, MOVE = vtk.vtkCommand.LeftButtonDoubleClickEvent, vtk.vtkCommand.MouseMoveEvent
OTHERS = [
    (getattr(vtk.vtkCommand, f"{button}ButtonPressEvent"), getattr(vtk.vtkCommand, f"{button}ButtonReleaseEvent"))
    for button in ("Right", "Middle")
]
WHEEL, KEY = vtk.vtkCommand.MouseWheelForwardEvent, vtk.vtkCommand.KeyPressEvent
SQUARE = ((6, 6), (14, 6), (14, 14), (6, 14))


class Timer:
    """A timer that never rings."""

    active = False
    later: tuple = ()

    @staticmethod
    def singleShot(_milliseconds, action):
        """What the effect does once Slicer has ended it."""
        Timer.later = (*Timer.later, action)

    def __getattr__(self, _name):
        return lambda *_: None


class Controls:
    """What the effect tells its controls."""

    def __init__(self, effect):
        self._effect, self.text, self.drawn = effect, "", 0

    def explain(self, text):
        self.text = text

    def showMessage(self):
        self.text = self._effect.controller.message

    def showAlignment(self, reason, offer):
        self.text = reason or self.text

    def draw(self):
        self.drawn += 1
        self.showMessage()

    def bringIntoSight(self):
        pass

    def handKeysTo(self, view):
        pass

    compare = draw


class Scripted:
    """Slicer's side of a scripted effect: the editor's node, one undo step, one change."""

    ConfirmedWithoutDialog = 2

    def __init__(self, editor: RegionEditor):
        self._editor, self.steps = editor, 0

    def parameterSetNode(self):
        return self._editor.node

    def active(self):
        return True

    def confirmCurrentSegmentVisible(self):
        return self.ConfirmedWithoutDialog

    def saveStateForUndo(self):
        self.steps += 1
        self._editor.logic.SaveStateForUndo()

    def modifySelectedSegmentByLabelmap(self, labelmap, mode, extent):
        segmentId, erase = self._editor.node.GetSelectedSegmentID(), mode == self._editor.logic.ModificationModeRemove
        self._editor._modify(segmentId, labelmap, erase, extent)

    def viewNode(self, view):
        return view.node

    def selectEffect(self, name):
        self._editor.node.SetActiveEffectName(name)

    def __getattr__(self, _name):
        return lambda *_: None  # actors and rendering


class View:
    """An axial view whose pixels (x, y) are the voxels (i, j) of one slice."""

    def __init__(self, scene):
        self.node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
        axes = np.diag([-1, -1, 1]) @ GRID.matrix
        for row in range(3):
            for column in range(3):
                self.node.GetSliceToRAS().SetElement(row, column, axes[row, column])
        self.node.UpdateMatrices()

    def className(self):
        return "qMRMLSliceWidget"


class Reader:
    """A reader at the effect: mouse, wheel and keys, one event at a time."""

    def __init__(self, effect, scripted, editor, view):
        self.effect, self.scripted, self.editor, self._view = effect, scripted, editor, view

    def does(self, event, at=(0, 0), *, shift=False, key="") -> bool:
        """One event; whether the effect used it up."""
        interactor = SimpleNamespace(
            GetShiftKey=lambda: shift, GetControlKey=lambda: False, GetAltKey=lambda: False,
            GetKeySym=lambda: key, GetEventPosition=lambda: at,
        )  # fmt: skip
        return self.effect.processInteractionEvents(interactor, event, self._view)

    def strokes(self, between=lambda: None, press=PRESS) -> None:
        """A square, with something ``between`` its corners."""
        self.does(press, SQUARE[0])
        for corner in SQUARE[1:]:
            between()
            self.does(MOVE, corner)
        self.does(RELEASE, SQUARE[-1])

    def choose(self, name: str, tool: str) -> None:
        """A region and a tool."""
        self.effect.selectSegment(name)
        self.effect.updateGUIFromMRML()
        self.effect.controller.tool = tool

    @property
    def text(self) -> str:
        return self.effect._options.text

    def pixels(self, name: str) -> int:
        """How much of a region is drawn."""
        node = self.editor.segmentationNode
        return int(segmentMask(node, segmentIdOf(node, name), self.editor.volumeNode).sum())


@pytest.fixture
def reader(headless, monkeypatch):
    def module(name, **words):
        made = ModuleType(name)
        vars(made).update(words)
        monkeypatch.setitem(sys.modules, name, made)

    class Abstract:
        def __init__(self, scriptedEffect):
            self.scriptedEffect = scriptedEffect

        def xyToRas(self, xy, _view):
            x, y, z = GRID.to_lps((*xy, SLICE))
            return (-x, -y, z)

    module("qt", QTimer=Timer)
    module("slicer.i18n", tr=str)
    module("SegmentEditorEffects", AbstractScriptedSegmentEditorLabelEffect=Abstract)
    logic = slicer.vtkSlicerSegmentEditorLogic
    monkeypatch.setattr(slicer, "qSlicerSegmentEditorAbstractEffect", logic, raising=False)
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "CNSISegmentEditor"))
    from CNSISegmentEditorLib import SegmentEditorEffect

    volume, regions = toolwalk.head()
    node = addVolumeNode(headless.scene, volume, "T2")
    segmentation = addSegmentationNode(headless.scene, node)
    showRegions(regions, segmentation, node)
    editor = RegionEditor(headless.scene, segmentation, node)
    editor.node.SetAndObserveSegmentationNode(segmentation)
    editor.node.SetAndObserveSourceVolumeNode(node)
    scripted = Scripted(editor)
    effect = SegmentEditorEffect(scripted)
    effect._options = Controls(effect)
    effect.activate()
    yield Reader(effect, scripted, editor, View(headless.scene))
    effect.deactivate()
    editor.close()
    for name in [name for name in sys.modules if name.startswith("CNSISegmentEditorLib")]:
        del sys.modules[name]


def test_keys_and_wheel_in_a_stroke_change_nothing_and_do_not_end_it(reader):
    def disturb():
        assert reader.does(KEY, key="e") and reader.does(WHEEL, shift=True) and reader.does(WHEEL)

    reader.choose(PVS_LEFT, OUTLINE)
    reader.strokes(disturb)
    assert reader.pixels(PVS_LEFT) > 50 and reader.scripted.steps == 1
    assert not reader.effect.controller.erase


@pytest.mark.parametrize(("press", "release"), OTHERS)
def test_other_buttons_do_nothing_in_a_stroke_and_are_the_views_otherwise(reader, press, release):
    """The view's menu opened in mid-stroke and took the stroke's end."""

    def disturb():
        assert reader.does(press) and reader.does(release)

    reader.choose(PVS_LEFT, OUTLINE)
    assert not reader.does(press) and not reader.does(release)
    reader.strokes(disturb)
    assert reader.pixels(PVS_LEFT) > 50 and reader.scripted.steps == 1
    assert not reader.does(press)  # the view zooms or moves ...
    reader.does(PRESS, SQUARE[0])
    assert not reader.does(release), "... and must hear of the end, though a stroke began meanwhile"
    assert reader.does(press)
    reader.does(RELEASE, SQUARE[0])
    assert reader.does(release) and not reader.does(press), "nor of an end whose beginning it did not hear of"


def test_the_tools_come_back_as_they_were_left_and_with_add(reader):
    reader.choose(VENTRICLES, CSF)
    tools = reader.effect.controller
    tools.tolerance, tools.neighbours, tools.leakGuard, tools.bothSides, tools.erase = 0.7, 2, False, False, True
    reader.effect.deactivate()
    reader.effect.activate()
    again = reader.effect.controller
    assert again is not tools and (again.tool, again.tolerance, again.neighbours) == (CSF, 0.7, 2)
    assert (again.leakGuard, again.bothSides, again.erase) == (False, False, False)
    other = addSegmentationNode(reader.editor.volumeNode.GetScene(), reader.editor.volumeNode)
    reader.editor.node.SetAndObserveSegmentationNode(other)
    reader.effect.activate()
    assert reader.effect.controller.tolerance == 0.5, "another reader's segmentation begins anew"


def test_the_next_patient_begins_anew_whose_segmentation_has_the_same_id(reader):
    from CNSISegmentEditorLib.edits import Kept

    first, second = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationNode()
    assert first.GetID() == second.GetID()
    reader.choose(VENTRICLES, CSF)
    tools, kept = reader.effect.controller, Kept()
    tools.segmentationNode, tools.tolerance = first, 0.7
    kept.takeFrom(tools)
    for node, tolerance in ((second, 0.4), (first, 0.7)):
        tools.segmentationNode, tools.tolerance = node, 0.4
        kept.giveTo(tools)
        assert tools.tolerance == tolerance
    tools.segmentationNode = reader.editor.segmentationNode


def test_undo_that_takes_the_chosen_region_away_leaves_the_effect_to_another(reader):
    """A region just chosen, and still empty, is in no state before: undo ended the effect with it."""
    Timer.later, node = (), reader.editor.node
    segmentation = reader.editor.segmentationNode.GetSegmentation()
    reader.choose(VENTRICLES, OUTLINE)
    reader.effect.deactivate()
    assert not Timer.later, "the reader chose another effect"
    for left in (VENTRICLES, None):
        reader.effect.activate()
        node.SetActiveEffectName("")
        node.SetSelectedSegmentID("")  # as Slicer does before it ends the effect
        if left is None:
            segmentation.RemoveAllSegments()
        reader.effect.deactivate()
        (goOn,), Timer.later = Timer.later, ()
        goOn()
        assert (node.GetActiveEffectName() or "") == ("CNSI" if left else "")
        assert bool(node.GetSelectedSegmentID()) == bool(left)
        assert not left or node.GetSelectedSegmentID() == segmentIdOf(reader.editor.segmentationNode, left)


def test_a_focus_outlined_from_the_list_is_not_left_on_another_slice(reader):
    reader.choose(VENTRICLES, CSF)
    effect, view = reader.effect, reader._view
    inside = np.argwhere(effect.controller.drawn(VENTRICLES).on(GRID.shape))
    effect.controller.erase = True
    effect._draw(view, effect.controller.hover(tuple(GRID.to_lps(inside[0][::-1]))))
    assert effect._outlines[view].shown
    effect.processViewNodeEvents(view.node, vtk.vtkCommand.ModifiedEvent, view)
    assert not effect._outlines[view].shown


def test_what_is_done_to_a_whole_region_is_one_step_and_needs_a_region(reader):
    reader.choose(VENTRICLES, CSF)
    reader.effect.onWhole(lambda tools: tools.reject("wrong place"))
    assert reader.pixels(VENTRICLES) == 0 and reader.scripted.steps == 1
    reader.effect.deactivate()
    reader.effect.onWhole(lambda tools: tools.reject("wrong place"))
    assert reader.scripted.steps == 1


def test_the_second_of_two_quick_clicks_is_a_click(reader):
    reader.choose(PVS_LEFT, OUTLINE)
    reader.strokes(press=DOUBLE)
    assert reader.pixels(PVS_LEFT) > 50 and reader.scripted.steps == 1


def test_the_wheel_is_the_views_where_the_tool_has_no_slider(reader):
    reader.choose(VENTRICLES, OUTLINE)
    assert not reader.does(WHEEL, shift=True)
    reader.choose(VENTRICLES, CSF)
    tolerance = reader.effect.controller.tolerance
    assert reader.does(WHEEL, shift=True) and reader.effect.controller.tolerance > tolerance
    assert not reader.does(WHEEL)


def test_a_renamed_region_is_no_region_of_the_protocol(reader):
    reader.choose(PVS_LEFT, OUTLINE)
    segmentation = reader.editor.segmentationNode.GetSegmentation()
    segmentation.GetSegment(reader.editor.node.GetSelectedSegmentID()).SetName("mine")
    count = segmentation.GetNumberOfSegments()
    reader.strokes()
    assert "Choose one of the protocol's regions" in reader.text
    assert segmentation.GetNumberOfSegments() == count and reader.scripted.steps == 0


def test_the_second_region_of_the_same_name_is_not_drawn_into_the_first(reader):
    segmentation = reader.editor.segmentationNode.GetSegmentation()
    reader.choose(VENTRICLES, OUTLINE)
    before = reader.pixels(VENTRICLES)
    segmentation.AddEmptySegment("copy", VENTRICLES)
    reader.editor.node.SetSelectedSegmentID("copy")
    reader.strokes()
    assert "Choose one of the protocol's regions" in reader.text
    assert reader.pixels(VENTRICLES) == before and reader.scripted.steps == 0


def test_what_cannot_be_done_is_said_beside_what_stands(reader):
    def refuse():
        raise BadInput("The other one is under a non-linear transform.")

    drawn = reader.effect._options.drawn
    reader.effect.run(refuse)
    assert "non-linear" in reader.text and reader.effect._options.drawn == drawn + 1
