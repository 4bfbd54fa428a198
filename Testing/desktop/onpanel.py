"""The panel open in Slicer, for its tests: its case, its words, when it rests."""

import os
from pathlib import Path

import desk
import numpy as np
import slicer


def panel():
    return slicer.modules.cnsifusion.widgetRepresentation().self().panel


def case():
    return panel().session.case


def idle() -> bool:
    return panel().session.job is None and not panel()._dirty


def waitIdle(seconds: float = 120.0) -> None:
    desk.waitFor(idle, "the running job", seconds)
    desk.settle(0.2)


def choose(node) -> None:
    """What the selector's signal does when the reader picks a volume."""
    panel().ui.volumeSelector.setCurrentNode(node)
    panel().ui.volumeSelector.nodeActivated(node)
    desk.settle(0.1)


def anotherImageComes(regions) -> None:
    """An image is opened over the one that the display node ``regions`` belongs to: they leave the views."""
    assert regions.GetVisibility(), "over their own image"
    other = slicer.util.addVolumeFromArray(np.ones((4, 9, 9), np.int16), name="Opened next")
    slicer.util.setSliceViewerLayers(background=other)
    desk.waitFor(lambda: not regions.GetVisibility(), "the regions leaving the views", 5)
    slicer.mrmlScene.Clear()


def message() -> str:
    return panel().ui.messageLabel.text


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def waitInSight(*widgets) -> None:
    """Wait until all of each widget can be seen in the module panel, without scrolling it."""

    def seen() -> bool:
        boxes = [widget.visibleRegion().boundingRect() for widget in widgets]
        return [(b.width(), b.height()) for b in boxes] == [(w.width, w.height) for w in widgets]

    desk.waitFor(seen, "the tools in sight", 5)


def addVoxels() -> None:
    """What another tool draws into the ventricles of the case, without the panel's editor."""
    from regioneditor import RegionEditor

    editor = RegionEditor(slicer.mrmlScene, case().segmentation, case().volume)
    editor.apply("CSF ventricles", np.ones((2, 9, 9), bool), (1, 1, 1))
    editor.close()


def analyzeAgain() -> None:
    """Start an analysis and wait until the engine itself works on it."""
    waitIdle()
    panel().session.analyze()
    desk.waitFor(lambda: "step" in (panel().session.job.progress if panel().session.job else {}), "progress", 60)


def watchedAnalysis() -> desk.StallWatch:
    """Analyze once more; the watch over the GUI thread until the views stand still, with the view's sizes meanwhile."""
    waitIdle()
    view = desk.sliceWidget().sliceView()
    with desk.StallWatch() as watch:
        watch.sizes = {(view.width, view.height)}
        panel().guarded(panel().session.analyze)
        desk.waitFor(lambda: watch.sizes.add((view.width, view.height)) or idle(), "the analysis", 240)
        desk.settle(0.4)
    assert message() == "", message()
    return watch


def foldRegions(folded: bool) -> None:
    """Open or fold the step of the regions."""
    panel().ui.regionsSection.collapsed = folded
    desk.settle(0.3)
