"""The CNSI effect in a real Slicer with a real mouse: hover, click, drag, wheel, undo, redo, what it leaves alone."""

import sys

import desk
import numpy as np
import qt
import slicer
from editing import (
    brightest,
    controller,
    effect,
    fresh,
    grid,
    message,
    openEditor,
    outline,
    show,
    state,
    undoStates,
    voxels,
    widget,
)
from onpanel import waitInSight


def test_registered_with_icon_help_and_protocol_names():
    openEditor()
    assert "CNSI" in widget().availableEffectNames()
    assert effect().icon().availableSizes()
    assert "Shift + wheel" in effect().helpText()
    assert effect()._options.ui.regionCombo.currentText == "CSF ventricles"


def test_tools_and_what_they_say_are_in_sight_on_a_small_screen():
    ui = effect()._options.ui
    waitInSight(ui.regionCombo, ui.toolFrame, ui.messageLabel, ui.addButton, ui.amountSlider, ui.actionFrame)


def test_the_views_keep_their_size_whatever_tool_is_chosen():
    """They shrank under the mouse when a tool with more controls was taken."""
    fresh()
    widths = {}
    for region in ("Sub-lentiform left", "CSF ventricles", "PVS left"):
        effect().selectSegment(region)
        desk.settle(0.3)
        for tool, button in list(effect()._options._tools.items()):
            button.click()
            desk.settle(0.3)
            widths[region, tool] = desk.sliceWidget().sliceView().width
    assert len(set(widths.values())) == 1, widths
    fresh()


def test_hover_shows_what_a_click_would_add_and_changes_nothing():
    fresh()
    desk.moveTo(state["point"])
    desk.settle(0.3)
    assert outline() is not None and outline().shown, message()
    assert voxels() == 0
    assert not undoStates()


def test_click_adds_the_preview_as_one_undo_step_and_redo_works():
    fresh()
    desk.moveTo(state["point"])
    desk.settle(0.3)
    previewed = int(controller().preview.mask.sum())
    desk.xdotool("click", 1)
    assert voxels() == previewed > 20
    segment = state["segmentation"].GetSegmentation().GetSegment(widget().currentSegmentID())
    from cnsifusion.mrml.segmentation import tagValue

    assert tagValue(segment, "DICOM.SegmentAlgorithmType") == "SEMIAUTOMATIC"
    assert tagValue(segment, "CNSIFusion.Edited") == "1"
    assert "35764002" in tagValue(segment, segment.GetTerminologyEntryTagName())
    assert undoStates()
    desk.key("z")
    assert voxels() == 0
    assert not undoStates()
    desk.key("y")
    assert voxels() == previewed


def shownSlice() -> float:
    """The slice of the image that the red view shows."""
    x, y, z = (desk.sliceWidget().mrmlSliceNode().GetSliceToRAS().GetElement(row, 3) for row in range(3))
    return float(grid().to_ijk((-x, -y, z))[2])


def otherSide() -> tuple:
    """A position in what a click at the tests' point takes on the other side of the head."""
    from scipy import ndimage

    controller().hover(state["point"])
    found, (k, j, i) = controller().preview, np.rint(grid().to_ijk(state["point"]))[::-1].astype(int)
    mask = found.on(grid().shape)[k]
    labels, _ = ndimage.label(mask)
    depth = ndimage.distance_transform_edt(mask & (labels != labels[j, i]))
    assert depth.max() >= 1, "nothing on the other side"
    j, i = np.unravel_index(int(depth.argmax()), depth.shape)
    return tuple(grid().to_lps((i, j, k)))


def test_drag_grows_along_the_stroke_in_one_undo_step():
    fresh()
    start, end = np.array(state["point"]), np.array(otherSide())
    controller().bothSides = False
    desk.clickAt(state["point"])
    clicked = voxels()
    desk.key("z")
    assert clicked > 20 and voxels() == 0
    desk.drag([tuple(start + (end - start) * part) for part in (0, 0.25, 0.5, 0.75, 1)])
    assert voxels() > clicked + 20, (voxels(), clicked)
    desk.key("z")
    assert voxels() == 0
    assert not undoStates()


def test_shift_wheel_changes_the_tolerance_and_the_preview():
    fresh()
    desk.moveTo(state["point"])
    desk.settle(0.2)
    before, previewed = controller().tolerance, controller().preview.mask.sum()
    desk.xdotool("keydown", "shift")
    desk.xdotool("click", 4, "click", 4)
    desk.xdotool("keyup", "shift")
    assert controller().tolerance > before and controller().preview.mask.sum() > previewed
    assert abs(effect()._options.ui.amountSlider.value - controller().tolerance) < 1e-6
    assert abs(desk.sliceWidget().mrmlSliceNode().GetSliceToRAS().GetElement(2, 3) - state["point"][2]) < 3


def test_slider_and_neighbours_are_moved_by_hand():
    fresh()
    slider, box = effect()._options.ui.amountSlider, effect()._options.ui.neighboursBox
    before = controller().tolerance
    groove = slicer.util.findChildren(slider, className="ctkSlider")[0]
    desk.reveal(groove)
    place = groove.mapToGlobal(qt.QPoint(round(groove.width * 0.95), groove.height // 2))
    desk.xdotool("mousemove", place.x(), place.y(), "click", 1)
    assert controller().tolerance > before
    desk.reveal(box)
    box.setFocus()
    desk.key("Up")
    assert controller().neighbours == 1 and box.visible
    lower = brightest(state["slice"] - 2)  # where the ventricle goes on in the slices over and under it
    show(lower)
    desk.clickAt(lower)
    segment = controller().drawn("CSF ventricles")
    assert segment.mask.any(axis=(1, 2)).sum() in (2, 3)
    desk.key("z")
    assert voxels() == 0 and not undoStates()
    show(state["point"])


def test_plain_wheel_is_the_views():
    fresh()
    desk.moveTo(state["point"])
    node = desk.sliceWidget().mrmlSliceNode()
    before, tolerance = node.GetSliceOffset(), controller().tolerance
    desk.xdotool("click", 4)
    assert node.GetSliceOffset() != before
    assert controller().tolerance == tolerance
    desk.xdotool("click", 5)


def test_buttons_with_modifiers_are_the_views():
    for modifier in ("shift", "ctrl", "alt"):
        fresh()
        show(state["point"])
        desk.moveTo(state["point"])
        desk.xdotool("keydown", modifier)
        desk.xdotool("mousedown", 1)
        desk.xdotool("mousemove_relative", 12, 9)
        desk.xdotool("mouseup", 1)
        desk.xdotool("keyup", modifier)
        assert voxels() == 0, modifier
        assert not undoStates()
    slicer.util.resetSliceViews()
    show(state["point"])


def test_erase_takes_away_and_the_key_switches():
    fresh()
    controller().bothSides = False
    desk.clickAt(state["point"])
    added = voxels()
    assert added
    desk.key("e")
    assert controller().erase
    options = effect()._options
    buttons = (options.ui.addButton, options.ui.eraseButton, *options._tools.values())
    assert [button.text for button in buttons if button.font.bold()] == ["Erase", "CSF"]  # seen on a dark style too
    desk.xdotool("mousemove_relative", 1, 0)
    desk.xdotool("click", 1)
    assert voxels() < added / 2
    desk.key("z")
    assert voxels() == added
    desk.key("e")
    assert not controller().erase


def test_keys_and_wheel_are_the_effects_only_while_it_is_active():
    """Key E and Shift + wheel with no effect, with ours, with Slicer's Paint and with none again: each its owner's."""
    fresh()
    ours, node, heard = effect(), desk.sliceWidget().mrmlSliceNode(), []
    interactor = desk.sliceWidget().sliceView().interactor()
    # Behind the effects, where the view's own keys are handled: what an effect uses up does not come through.
    tags = [
        interactor.AddObserver(event, lambda caller, name: heard.append((name, caller.GetKeySym() or "")), -1.0)
        for event in ("KeyPressEvent", "MouseWheelForwardEvent")
    ]

    def tried() -> tuple:
        """Whether wheel and key came through to the view, and our tolerance and switch (None while not active)."""
        desk.settle(0.3)
        heard.clear()
        desk.xdotool("keydown", "shift")
        desk.xdotool("click", 4)
        desk.xdotool("keyup", "shift")
        desk.key("e")
        known = ours.controller
        wheel = any(name == "MouseWheelForwardEvent" for name, _key in heard)
        return wheel, ("KeyPressEvent", "e") in heard, known and known.tolerance, known and known.erase

    try:
        desk.moveTo(state["point"])
        amount = controller().tolerance
        widget().setActiveEffect(None)
        assert tried() == (True, True, None, None), "nobody's: the view has both"

        widget().setActiveEffectByName("CNSI")
        wheel, key, tolerance, erase = tried()
        assert not wheel and not key and tolerance > amount and erase

        widget().setActiveEffectByName("Paint")
        paint, before = widget().activeEffect(), voxels()
        paint.setCommonParameter("BrushDiameterIsRelative", 0)
        size = float(paint.parameter("BrushAbsoluteDiameter"))
        assert tried() == (False, True, None, None) and voxels() == before
        assert float(paint.parameter("BrushAbsoluteDiameter")) != size, "the wheel is Paint's"

        widget().setActiveEffect(None)
        assert tried() == (True, True, None, None)
        offset = node.GetSliceOffset()
        desk.key("f")
        assert node.GetSliceOffset() != offset, "the view's own keys"

        show(state["point"])
        widget().setActiveEffectByName("CNSI")
        kept = controller().erase
        desk.key("e")
        assert controller().erase != kept
    finally:
        for tag in tags:
            interactor.RemoveObserver(tag)


def test_outline_tool_draws_what_was_circled():
    fresh()
    effect().selectSegment("Sub-lentiform left")
    desk.settle(0.2)
    assert controller().tool == "outline"
    x, y, z = state["point"]
    radius = 8.0
    angles = np.linspace(0, 2 * np.pi, 25)
    desk.drag([(x + radius * np.cos(a), y + radius * np.sin(a), z) for a in angles])
    spacing = state["volume"].GetSpacing()
    area = voxels("Sub-lentiform left") * spacing[0] * spacing[1]
    assert abs(area - np.pi * radius**2) < 0.15 * np.pi * radius**2, area
    desk.key("z")
    assert voxels("Sub-lentiform left") == 0


def test_pvs_list_accepts_rejects_and_jumps():
    from cnsifusion.mrml.segmentation import showRegions
    from cnsifusion.roi.regions import Focus, Plane, RegionSet

    fresh()
    ijk = tuple(int(v) for v in np.rint(grid().to_ijk(state["point"])))
    near = np.array([(ijk[2], ijk[1] + dj, ijk[0] + di) for dj in (0, 1) for di in (0, 1)])
    focus = Focus("left", ijk, tuple(grid().to_lps(ijk)), 1.4, 5.0, 0.9, False, near)
    regions = RegionSet(grid(), masks={"PVS left": np.zeros(grid().shape, bool)}, midplane=Plane((0, 0, 0), (1, 0, 0)))
    regions.foci.append(focus)
    widget().setActiveEffect(None)
    showRegions(regions, state["segmentation"], state["volume"])
    widget().setActiveEffectByName("CNSI")
    effect().selectSegment("PVS left")
    desk.settle(0.2)
    table = effect()._options.ui.fociTable
    assert table.visible and table.rowCount == 1
    texts = [table.item(0, column).text() for column in range(5)]
    assert texts == ["", "left", str(ijk[2] + 1), "1.4 mm", "5.0 x noise"]
    assert "Slice 1 is the lowest; Slicer's Data Probe counts from 0" in table.toolTip
    desk.reveal(table)
    x, y, z = state["point"]
    show((x, y, z + 3 * grid().spacing[2]))

    def clickCell(column: int) -> None:
        desk.reveal(table)
        desk.settle(0.3)  # the panel may still move
        place = table.viewport().mapToGlobal(table.visualItemRect(table.item(0, column)).center())
        desk.xdotool("mousemove", place.x(), place.y(), "click", 1)

    def inSight() -> bool:
        view = desk.sliceWidget().sliceView()
        return view.rect.contains(view.mapFromGlobal(qt.QPoint(*desk.screenPoint(state["point"]))))

    node = desk.sliceWidget().mrmlSliceNode()
    fieldOfView = node.GetFieldOfView()
    node.SetFieldOfView(fieldOfView[0] / 6, fieldOfView[1] / 6, fieldOfView[2])
    node.SetXYZOrigin(300, 300, 0)
    assert abs(shownSlice() - ijk[2]) > 2 and not inSight()
    clickCell(2)
    desk.waitFor(lambda: abs(shownSlice() - ijk[2]) < 0.1, "the focus' slice", 10)
    assert voxels("PVS left") == 0
    assert inSight() and outline().shown, "which of the bright dots the row is about"
    node.SetSliceOffset(node.GetSliceOffset() + grid().spacing[2])  # as the slider over the view does
    assert not outline().shown, "another slice has no such dot"
    node.SetFieldOfView(*fieldOfView)
    node.SetXYZOrigin(0, 0, 0)
    clickCell(0)
    assert voxels("PVS left") == 4
    assert table.item(0, 0).text() == "✓"
    show(state["point"])
    desk.moveTo(state["point"])
    desk.settle(0.3)
    assert outline().shown and controller().preview.mask.sum() == 4
    desk.xdotool("click", 1)
    assert voxels("PVS left") == 0
    desk.key("z")
    assert voxels("PVS left") == 4


def test_choices_without_a_usable_image_are_quiet():
    """The controls of the image as it was stay in sight; a tool chosen then ended in an error."""
    fresh()
    options, faults = effect()._options, []
    moved = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    former, sys.excepthook = sys.excepthook, lambda *fault: faults.append(fault[1])
    try:
        state["volume"].SetAndObserveTransformNodeID(moved.GetID())
        desk.settle(0.2)
        assert controller() is None and "under different transforms" in message()
        for button in (*options._tools.values(), options.ui.eraseButton):
            assert button.enabled
            button.click()
    finally:
        sys.excepthook = former
        slicer.mrmlScene.RemoveNode(moved)
        desk.settle(0.2)
    assert not faults and controller() is not None, faults


def test_hover_and_whole_clicks_are_quick():
    """In the GUI thread's own time, so that a busy machine does not count; on the clock they are only written down."""
    import time

    fresh()
    x, y, z = state["point"]
    view, times = desk.sliceWidget(), {"hover": [], "click": []}

    def timed(kind, action):
        own, clock = time.thread_time(), time.perf_counter()
        action()
        times[kind].append((1000 * (time.thread_time() - own), 1000 * (time.perf_counter() - clock)))

    def hover():
        """What a move of the mouse costs: the outline, and the view drawn with it."""
        effect()._move(place, view)
        view.sliceView().forceRender()

    for number in range(24):
        lps = (x + 0.5 * (number % 3), y + 0.5 * (number // 3), z)
        place = tuple(round(v) for v in inView(lps))
        timed("hover", hover)
        timed("click", lambda lps=lps: (controller().press(lps), controller().release()))
        controller().erase = not controller().erase
        controller().forget()
    for kind, limit in (("hover", 33), ("click", 100)):
        own, clock = np.array(times[kind]).T
        for name, values in (("own", own), ("clock", clock)):
            desk.measures[f"{kind}_ms_{name}"] = [round(float(np.percentile(values, p)), 1) for p in (50, 95)]
        assert np.percentile(own, 95) < limit, desk.measures


def inView(lps) -> tuple:
    """A position in the red view's pixels."""
    from cnsifusion.mrml.volumes import matrixToArray

    toXy = np.linalg.inv(matrixToArray(desk.sliceWidget().mrmlSliceNode().GetXYToRAS()))
    return tuple((toXy @ (-lps[0], -lps[1], lps[2], 1.0))[:2])
