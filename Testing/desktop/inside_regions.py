"""What a reader does with a whole region, in a real Slicer with a real mouse: each action one undo step."""

import sys
from pathlib import Path

import desk
import numpy as np
import qt
import slicer
from editing import controller, effect, fresh, grid, message, openEditor, show, state, undoStates, voxels, widget

LEFT, RIGHT = "Sub-lentiform left", "Sub-lentiform right"
_MM = 9.0


def drawn(name: str = LEFT) -> np.ndarray:
    """A region as a whole array."""
    return controller()._fresh(name).on(grid().shape)


def options():
    return effect()._options


def press(text: str) -> None:
    """Click the effect's button with this word."""
    buttons = [*options()._tools.values(), *options()._actions.values()]
    desk.click(next(button for button in buttons if button.text == text))
    desk.settle(0.2)


def around(radius: float = _MM, corners: int = 24) -> list:
    """Positions on a circle around the middle of the region that these tests draw."""
    x, y, z = state["middle"]
    angles = np.linspace(0, 2 * np.pi, corners + 1)
    return [(x + radius * np.cos(a), y + radius * np.sin(a), z) for a in angles]


def oneRegion() -> np.ndarray:
    """A round region on the left, drawn on one slice with the mouse; undo steps begin after it."""
    fresh()
    effect().selectSegment(LEFT)
    desk.settle(0.2)
    press("Outline")
    show(state["middle"])
    desk.drag(around())
    assert voxels(LEFT) > 100, message()
    widget().setMaximumNumberOfUndoStates(0)
    widget().setMaximumNumberOfUndoStates(10)
    return drawn()


def oneStep(before: np.ndarray, name: str = LEFT) -> np.ndarray:
    """What is drawn now; one press of Z gives back what was before, one of Y what came."""
    after = drawn(name)
    assert (after != before).any(), message()
    desk.moveTo(state["middle"])
    desk.key("z")
    assert (drawn(name) == before).all()
    assert not undoStates()
    desk.key("y")
    assert (drawn(name) == after).all()
    return after


def test_open():
    from cnsifusion.roi.regions import Plane

    openEditor()
    x, y, z = state["point"]
    state["middle"] = (x + 25.0, y + 5.0, z)
    state["plane"] = Plane((x, y, z), (1.0, 0.0, 0.0))


def test_dragging_inside_moves_the_region():
    before = oneRegion()
    press("Move")
    x, y, z = state["middle"]
    desk.drag([(x, y, z), (x + 3, y + 2, z), (x + 6, y + 4, z)])
    after = oneStep(before)
    spacing = grid().spacing
    moved = [np.argwhere(mask).mean(axis=0) for mask in (before, after)]
    _, dj, di = moved[1] - moved[0]
    assert abs(di * spacing[0] - 6) < 1 and abs(dj * spacing[1] - 4) < 1
    assert abs(after.sum() / before.sum() - 1) < 0.05


def test_dragging_from_outside_turns_and_scales():
    before = oneRegion()
    press("Move")
    x, y, z = state["middle"]
    desk.drag([(x + 14, y, z), (x + 18, y, z), (x + 21, y, z)])
    after = oneStep(before)
    assert abs(after.sum() / before.sum() - 1.5**2) < 0.3


def test_spline_begins_from_what_is_drawn_and_follows_the_mouse():
    before = oneRegion()
    press("Spline")
    x, y, z = state["middle"]
    desk.moveTo((x, y, z))
    desk.settle(0.3)
    desk.screenshot(Path(sys.argv[-1]).with_name("spline.png"))
    desk.drag([(x + _MM, y, z), (x + _MM + 4, y, z), (x + _MM + 8, y, z)])
    after = oneStep(before)
    added = np.argwhere(after & ~before)
    assert len(added) > 20
    position = grid().to_lps(added.mean(axis=0)[::-1])
    assert position[0] > x + _MM - 2 and abs(position[1] - y) < 4


def test_a_new_spline_is_three_clicks():
    fresh()
    effect().selectSegment(RIGHT)
    desk.settle(0.2)
    press("Spline")
    show(state["middle"])
    for place in around(8.0, 3)[:2]:
        desk.clickAt(place)
        assert voxels(RIGHT) == 0 and "click" in message()
    desk.clickAt(around(8.0, 3)[2])
    assert voxels(RIGHT) > 50
    desk.key("z")
    assert voxels(RIGHT) == 0 and not undoStates()


def test_mirror_across_the_patients_own_plane():
    from dataclasses import replace

    before = oneRegion()
    empty = drawn(RIGHT)
    press("Mirror")
    assert "propose the regions first" in message() and not undoStates()
    controller()._details = replace(controller()._details, midplane=state["plane"])
    press("Mirror")
    after = drawn(RIGHT)
    assert abs(after.sum() / before.sum() - 1) < 0.1
    centres = [grid().to_lps(np.argwhere(mask).mean(axis=0)[::-1])[0] for mask in (before, after)]
    assert abs(sum(centres) / 2 - state["point"][0]) < 0.5
    desk.moveTo(state["middle"])
    desk.key("z")
    assert (drawn(RIGHT) == empty).all() and (drawn(LEFT) == before).all()


def test_fill_between_two_slices():
    before = oneRegion()
    x, y, z = state["middle"]
    spacing = grid().spacing[2]
    press("Outline")
    show((x, y, z + 2 * spacing))
    desk.drag([(px, py, z + 2 * spacing) for px, py, _ in around(6.0)])
    two = drawn()
    assert two.any(axis=(1, 2)).sum() == before.any(axis=(1, 2)).sum() + 1
    press("Fill between")
    filled = drawn()
    assert filled.any(axis=(1, 2)).sum() == 3
    desk.moveTo((x, y, z + 2 * spacing))
    desk.key("z")
    assert (drawn() == two).all()
    show(state["middle"])


def test_reject_with_a_reason_from_the_menu():
    from cnsifusion.mrml.segmentation import regionsInfo

    before = oneRegion()
    button = options()._actions["reject"]
    desk.reveal(button)

    def choose():
        menu = button.menu()
        action = menu.actions()[1]
        place = menu.mapToGlobal(menu.actionGeometry(action).center())
        desk.xdotool("mousemove", place.x(), place.y(), "click", 1)

    qt.QTimer.singleShot(700, choose)
    desk.click(button)
    desk.settle(1.2)
    assert not drawn().any()
    assert "lesion in the region" in regionsInfo(state["segmentation"])[0][LEFT]
    desk.moveTo(state["middle"])
    desk.key("z")
    assert (drawn() == before).all()
    assert LEFT not in regionsInfo(state["segmentation"])[0]


def test_figures_follow_and_another_reader_is_compared():
    from cnsifusion.mrml.segmentation import addSegmentationNode, regionsFromNode, showRegions

    before = oneRegion()
    desk.settle(0.4)
    label = options().ui.statisticsLabel
    milliliters = before.sum() * grid().voxel_volume / 1000
    assert f"{LEFT}: {milliliters:.2f} ml on 1 slice" in label.text
    other = addSegmentationNode(slicer.mrmlScene, state["volume"])
    showRegions(regionsFromNode(state["segmentation"], state["volume"]), other, state["volume"])
    options().ui.otherSelector.setCurrentNode(other)
    assert f"{LEFT}: Dice 1.00" in label.text
    press("Move")
    x, y, z = state["middle"]
    desk.drag([(x, y, z), (x + 3, y, z), (x + 5, y, z)])
    desk.settle(0.5)
    assert "Dice 1.00" not in label.text and f"{LEFT}: Dice 0." in label.text
    desk.screenshot(Path(sys.argv[-1]).with_name("figures.png"))
    options().ui.otherSelector.setCurrentNode(None)
    assert "Dice" not in label.text
    slicer.mrmlScene.RemoveNode(other)


def test_erasing_csf_takes_the_drawn_piece():
    fresh()
    show(state["point"])
    press("Outline")
    tissue = around(5.0)
    desk.drag(tissue)
    drawnThere = voxels()
    assert drawnThere > 50
    press("CSF")
    desk.click(options().ui.eraseButton)
    assert controller().erase
    desk.clickAt(state["middle"])
    assert voxels() == 0
    desk.key("z")
    assert voxels() == drawnThere


def test_leak_guard_can_be_switched_off():
    fresh()
    box = options().ui.leakGuardBox
    assert box.visible and box.checked
    desk.click(box)
    assert controller().leakGuard is False
    desk.click(box)
    assert controller().leakGuard is True
    press("Outline")
    assert not box.visible and not options().ui.neighboursBox.visible and options().ui.eraseButton.visible
    press("Move")
    assert not options().ui.eraseButton.visible, "moving adds and erases nothing of its own"


def test_a_click_takes_both_sides_while_the_box_is_ticked():
    fresh()
    box = options().ui.bothSidesBox
    assert box.visible and box.checked
    desk.clickAt(state["point"])
    both = voxels()
    desk.key("z")
    assert voxels() == 0 and not undoStates()
    desk.click(box)
    assert controller().bothSides is False
    desk.clickAt(state["point"])
    assert 20 < voxels() < 0.8 * both, (voxels(), both)
    desk.key("e")
    assert not box.visible, "erasing keeps to its side"
    desk.key("e")
    assert box.visible


def test_undo_after_another_region_was_chosen_keeps_the_effect():
    """The region just chosen, still empty, went with the step before it, and the effect with the region."""
    fresh()
    desk.clickAt(state["point"])
    added = voxels()
    press("Outline")
    effect().selectSegment(LEFT)
    desk.moveTo(state["point"])
    desk.key("z")
    desk.settle(0.3)
    assert added and voxels() == 0 and widget().activeEffect().name == "CNSI"
    assert effect().segmentName == "CSF ventricles" and controller().tool == "outline"
    desk.key("y")
    assert voxels() == added


def test_a_right_click_in_mid_stroke_opens_no_menu():
    """It took the stroke's end."""
    fresh()
    desk.moveTo(state["point"])
    desk.xdotool("mousedown", 1, "mousedown", 3, "mouseup", 3, "mouseup", 1)
    assert slicer.app.activePopupWidget() is None and effect()._pressedIn is None
    assert voxels() > 20 and undoStates()


def test_everything_is_let_go():
    fresh()
    effectSelf, selector = effect(), options().ui.otherSelector
    widget().setActiveEffect(None)
    assert effectSelf.controller is None and not effectSelf._watch.active and effectSelf._outlines == {}
    effectSelf.cleanup()
    assert selector.mrmlScene() is None
    before = voxels()
    desk.moveTo(state["point"])
    desk.xdotool("click", 1)
    assert voxels() == before
