"""Screenshots of every step of the panel, taken inside Slicer by Testing/screenshots_desktop.py: IMAGE FOLDER."""

import sys
import time
import traceback
from pathlib import Path

import qt
import slicer

sys.path.insert(0, str(Path(__file__).resolve().parent))
import desk


def take(image: Path, folder: Path) -> None:
    """Walk through the five steps on an image and save the screen at each."""
    log = slicer.util.mainWindow().findChild(qt.QDockWidget, "ErrorLogDockWidget")
    for shown in (True, False):  # looked at: what Slicer said at its start is no part of the steps
        log.setVisible(shown)
        desk.settle(0.3)
    desk.showWindow()
    slicer.util.mainWindow().findChild(qt.QDockWidget, "PanelDockWidget").setMinimumWidth(430)
    panel = desk.openPanel()

    def idle() -> bool:
        return panel.session.job is None and not panel._dirty

    def save(name: str) -> None:
        desk.settle(1.0)
        desk.screenshot(folder / f"desktop_{name}.png")

    volume = slicer.util.loadVolume(str(image), properties={"name": "Axial T2"})
    panel.enter()
    panel.ui.largeViewCheck.checked = True
    desk.waitFor(lambda: panel.volume() is volume and idle(), "the check", 180)
    slicer.util.resetSliceViews()
    panel.ui.imageSection.collapsed = False
    save("1_image")
    panel.session.propose()
    desk.waitFor(idle, "the proposal", 240)
    lps = _centre(panel.session.case, "Sub-lentiform left")
    _jump(lps)
    panel.ui.regionsSection.collapsed = False
    panel.ui.imageSection.collapsed = True
    save("2_regions")
    panel.ui.imageSection.collapsed = panel.ui.modelSection.collapsed = panel.ui.analyzeSection.collapsed = True
    panel.guarded(panel._sections["regions"]._edit)
    desk.settle(1.0)
    ventricle = _centre(panel.session.case, "CSF ventricles")
    _jump(ventricle)
    effect = panel._sections["regions"].corrector.widget.activeEffect().self()
    place = _bright(panel.session.case, ventricle)
    effect._options.ui.eraseButton.click()  # take one ventricle away, so that the outline shows what a click adds
    desk.clickAt(place)
    effect._options.ui.addButton.click()
    desk.moveTo((place[0] + 0.6, *place[1:]))
    desk.reveal(effect._options.ui.messageLabel)
    save("2_correct")
    desk.clickAt((place[0] + 0.6, *place[1:]))  # the other pictures are of whole regions
    panel.closeTools()
    panel.ui.regionsSection.collapsed = True
    panel.ui.modelSection.collapsed = False
    save("3_model")
    panel.ui.analyzeSection.collapsed = False
    panel.session.analyze()

    def underWay() -> bool:
        job = panel.session.job
        return job is None or job.progress.get("fraction", 0) > 0.3

    desk.waitFor(underWay, "progress", 120)
    desk.settle(0.1)
    desk.screenshot(folder / "desktop_4_analyze.png")
    desk.waitFor(idle, "the analysis", 240)
    desk.settle(0.5)
    _jump(lps)
    section = panel._sections["result"]
    section.choose(*max(section._rows))
    save("5_result")
    desk.reveal(panel.ui.reportButton)
    panel.ui.contributionGroup.collapsed = False
    desk.settle(0.3)
    desk.reveal(panel.ui.reportButton)
    save("5_explanation")


def _centre(case, name: str) -> tuple:
    node = case.segmentation
    x, y, z = node.GetSegmentCenterRAS(node.GetSegmentation().GetSegmentIdBySegmentName(name))
    return (-x, -y, z)


def _jump(lps: tuple) -> None:
    from CNSIFusionLib import views

    views.jumpTo(lps)
    desk.settle(0.3)


def _bright(case, near: tuple) -> tuple:
    """The brightest position of the drawn ventricles in the slice of ``near``."""
    import numpy as np

    from cnsifusion.mrml.drawn import segmentIdOf, segmentMask
    from cnsifusion.mrml.volumes import volumeFromNode

    head = volumeFromNode(case.volume)
    drawn = segmentMask(case.segmentation, segmentIdOf(case.segmentation, "CSF ventricles"), case.volume)
    k = int(np.rint(head.grid.to_ijk(near))[2])
    row, column = np.unravel_index(int(np.argmax(np.where(drawn[k], head.array[k], -np.inf))), drawn[k].shape)
    return tuple(head.grid.to_lps((column, row, k)))


def main() -> None:
    """Take the pictures and leave Slicer."""
    start, code = time.monotonic(), 0
    try:
        take(Path(sys.argv[-2]), Path(sys.argv[-1]))
    except BaseException:  # noqa: BLE001  (Slicer must end, whatever happened)
        traceback.print_exc()
        desk.screenshot(Path(sys.argv[-1]) / "failed.png")
        code = 1
    print(f"pictures after {time.monotonic() - start:.0f} s", flush=True)
    slicer.util.exit(code)


if __name__ == "__main__":
    main()
