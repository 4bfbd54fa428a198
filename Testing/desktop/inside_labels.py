"""A region file with a stranger's label names, brought into a real Slicer with a real mouse and keys."""

import tempfile
import time
from pathlib import Path

import desk
import numpy as np
import qt
import slicer
from onpanel import case, choose, foldRegions, message, panel, waitIdle

NAMES = ("Ventrikel <b>x</b>", "lentiform, lower (L)", "tumour")
LEAVE_OUT = "leave out"


def _whileOpen(*steps) -> None:
    """Click “Bring in a file…”; each step, given the dialog in front, runs inside that dialog's own event loop."""
    left, faults = list(steps), []

    def turn():
        window = slicer.app.activeModalWidget()
        if window is not None and left:
            try:
                left.pop(0)(window)
            except Exception as fault:  # noqa: BLE001  (raised again below: here Qt would swallow it)
                faults.append(fault)
                left.clear()
                window.reject()
        if left:
            qt.QTimer.singleShot(400, turn)

    qt.QTimer.singleShot(1500, turn)
    desk.click(panel().ui.importButton)
    desk.waitFor(lambda: (not left or faults) and slicer.app.activeModalWidget() is None, "the dialogs' end", 30)
    if faults:
        raise faults[0]
    desk.settle(0.3)


def _fileNamed(path: Path):
    """Type the path into Slicer's file dialog."""

    def step(window):
        desk.moveOver(slicer.util.findChild(window, "fileNameEdit"))
        desk.xdotool("type", str(path))
        desk.key("Return")

    return step


def _combos(window) -> list:
    return sorted(slicer.util.findChildren(window, className="QComboBox"), key=lambda combo: combo.y)


def _press(word: str):
    def step(window):
        desk.click(next(b for b in slicer.util.findChildren(window, className="QPushButton") if b.text == word))

    return step


def _choose(*regions: str):
    """Open each row's list with the mouse and pick a region there."""

    def step(window):
        for combo, region in zip(_combos(window), regions):
            if combo.currentText != region:
                desk.click(combo)
                view = combo.view()
                place = view.visualRect(view.model().index(combo.findText(region), 0)).center()
                place = view.viewport().mapToGlobal(place)
                time.sleep(0.3)  # a list that opened just now takes the first release for the end of its opening
                desk.xdotool("mousemove", place.x(), place.y(), "click", 1)
            assert combo.currentText == region, (combo.currentText, region)

    return step


def _guesses(window) -> None:
    assert window.windowTitle == "Which label is which region?"
    guesses = [combo.currentText for combo in _combos(window)]
    assert guesses == ["CSF ventricles", "Sub-lentiform left", LEAVE_OUT], guesses
    assert set(NAMES) <= {label.text for label in slicer.util.findChildren(window, className="QLabel")}


def _saysNothingIsLeft(window) -> None:
    said = [label.text for label in slicer.util.findChildren(window, className="QLabel") if label.visible]
    assert any("Every label is left out" in text for text in said), said


def test_a_strangers_labels_are_asked_for_and_one_undo_takes_them_back():
    from regioneditor import RegionEditor
    from stranger import strangersFile

    from cnsifusion.mrml.segmentation import fingerprint
    from cnsifusion.mrml.volumes import volumeFromNode

    desk.showWindow()
    desk.openPanel()
    choose(desk.loadT2())
    waitIdle()
    foldRegions(False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stranger.seg.nrrd"
        voxels = strangersFile(volumeFromNode(panel().volume()), path, NAMES)
        _whileOpen(_fileNamed(path), _guesses, _press("Cancel"))
        assert case().segmentation is None and message() == "", message()
        editor = RegionEditor(slicer.mrmlScene, panel().session.segmentation(), case().volume)
        editor.apply("CSF ventricles", np.ones((2, 9, 9), bool), (1, 1, 1))
        editor.close()
        drawn = fingerprint(case().segmentation)
        _whileOpen(
            _fileNamed(path),
            _choose(LEAVE_OUT, LEAVE_OUT, LEAVE_OUT),
            _press("Bring in"),
            _saysNothingIsLeft,
            _choose("CSF ventricles", "Sub-lentiform right", "CSF ventricles"),
            _press("Bring in"),
        )
    assert "Brought in: CSF ventricles, Sub-lentiform right." in message(), message()
    masks = panel().session.regions().masks
    found = {name: int(mask.sum()) for name, mask in masks.items()}
    assert found == {"CSF ventricles": voxels[0] + voxels[2], "Sub-lentiform right": voxels[1]}
    foldRegions(False)
    desk.click(panel().ui.editButton)
    desk.click(slicer.util.findChild(panel()._sections["regions"].corrector.widget, "UndoButton"))
    assert fingerprint(case().segmentation) == drawn


def test_thirty_actions_can_be_undone():
    from cnsifusion.mrml.editing import Change
    from cnsifusion.mrml.segmentation import fingerprint

    editor = panel()._sections["regions"].corrector.widget
    tools, node = editor.activeEffect().self().controller, case().segmentation
    undo, redo = (slicer.util.findChild(editor, name) for name in ("UndoButton", "RedoButton"))
    states = []
    for column in range(33):
        tools.commit([Change("CSF ventricles", np.ones((1, 1, 1), bool), (0, 0, column))])
        states.append(fingerprint(node))
    assert len(set(states)) == 33
    for button, expected in ((undo, states[31:1:-1]), (redo, states[3:])):
        for state in expected:
            assert button.enabled
            button.click()
            assert fingerprint(node) == state
        assert not button.enabled
