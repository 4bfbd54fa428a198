"""Hands for the desktop tests: real mouse and keys through the X server (xdotool), waiting, screenshots."""

import subprocess
import sys
import time
from pathlib import Path

import qt
import slicer

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
#: What tests measured, for the report: name -> number.
measures: dict = {}


class Skip(Exception):
    """The test cannot run here; the text says why."""


def real(name: str) -> Path:
    """A file of the shared test data, or a skip where it is absent."""
    path = SHARED / name
    if not path.exists():
        raise Skip(f"the real volumes of ../shared/data are not here ({name})")
    return path


def settle(seconds: float = 0.1) -> None:
    """Let Slicer handle its events for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


def waitFor(condition, what: str, seconds: float = 60.0) -> None:
    """Let Slicer run until ``condition()``; TimeoutError names ``what``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        slicer.app.processEvents()
        time.sleep(0.005)


_lastClick = {"at": 0.0}


def xdotool(*words) -> None:
    """Send real events to the X server, then let Slicer handle them.

    Clicks keep 0.6 s from each other: on a quick machine two of them would be one double click.
    """
    if "click" in words or "mousedown" in words:
        settle(max(0.0, _lastClick["at"] + 0.6 - time.monotonic()))
        _lastClick["at"] = time.monotonic()
    subprocess.run(["xdotool", *(str(word) for word in words)], check=True)
    settle(0.12)


def click(widget) -> None:
    """Click the middle of a widget with the real mouse, scrolling the module panel to it first.

    The panel may still move under the mouse (lines of the data probe come and go with it): then once more.
    """
    for _ in range(20):
        reveal(widget)
        moveOver(widget)
        if widget.rect.contains(widget.mapFromGlobal(qt.QCursor.pos())) and widget.visible:
            break
    xdotool("click", 1)


def moveOver(widget) -> None:
    """The real mouse over the middle of a widget."""
    place = widget.mapToGlobal(qt.QPoint(widget.width // 2, widget.height // 2))
    xdotool("mousemove", place.x(), place.y())


def reveal(widget) -> None:
    """Scroll the panel so that the widget can be seen."""
    parent = widget.parent()
    while parent is not None:
        if parent.inherits("QScrollArea"):
            parent.ensureWidgetVisible(widget)
        parent = parent.parent()
    settle(0.1)


def sliceWidget(name: str = "Red"):
    """A slice view of the layout."""
    return slicer.app.layoutManager().sliceWidget(name)


def screenPoint(lps, name: str = "Red") -> tuple:
    """Where a position (LPS mm) is on the screen, in the named slice view."""
    import numpy as np

    from cnsifusion.mrml.volumes import matrixToArray

    widget = sliceWidget(name)
    toXy = np.linalg.inv(matrixToArray(widget.mrmlSliceNode().GetXYToRAS()))
    x, y = (toXy @ (-lps[0], -lps[1], lps[2], 1.0))[:2]
    view = widget.sliceView()
    ratio = view.devicePixelRatioF() if hasattr(view, "devicePixelRatioF") else 1.0
    place = view.mapToGlobal(qt.QPoint(round(x / ratio), round(view.height - 1 - y / ratio)))
    return place.x(), place.y()


def moveTo(lps, name: str = "Red") -> None:
    """The real mouse to a position (LPS mm) of a slice view: once more where that moved as the mouse came into it."""
    for _ in range(5):
        place = screenPoint(lps, name)
        xdotool("mousemove", *place)
        if screenPoint(lps, name) == place:
            break


def clickAt(lps, name: str = "Red", *, button: int = 1) -> None:
    """A real click at a position of a slice view."""
    moveTo(lps, name)
    xdotool("click", button)


def drag(points, name: str = "Red") -> None:
    """Press at the first position, move through the others, release at the last."""
    moveTo(points[0], name)
    xdotool("mousedown", 1)
    for point in points[1:]:
        moveTo(point, name)
    xdotool("mouseup", 1)


def key(name: str) -> None:
    """A real key press."""
    xdotool("key", name)


def screenshot(path) -> None:
    """The main window as it stands."""
    settle(0.3)
    slicer.util.mainWindow().grab().save(str(path))


def showWindow(width: int = 1366, height: int = 768):
    """The main window over the whole (virtual) screen."""
    window = slicer.util.mainWindow()
    window.showNormal()
    window.setGeometry(0, 0, width, height)
    window.raise_()
    window.activateWindow()
    settle(0.5)
    return window


def openPanel():
    """The CNSIFusion module, open; returns its Panel."""
    slicer.util.selectModule("CNSIFusion")
    settle(0.3)
    return slicer.modules.cnsifusion.widgetRepresentation().self().panel


def loadT2():
    """The real T2 where it is, else a simulated one, loaded by Slicer as a reader would."""
    path = SHARED / "oms_patient01_study1" / "T2w.nii.gz"
    if path.exists():
        return slicer.util.loadVolume(str(path))
    from CNSIFusionLib import sampleData

    return sampleData.simulate()[0]


class StallWatch:
    """The longest gap between ticks of a 5 ms timer in the GUI thread, on the clock and in that thread's own time."""

    def __enter__(self):
        self.longest = self.longestCpu = 0.0
        self._last, self._lastCpu = time.monotonic(), time.thread_time()
        self._timer = qt.QTimer()
        self._timer.setInterval(5)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()
        return self

    def __exit__(self, *_exception):
        self._timer.stop()

    def _tick(self):
        now, cpu = time.monotonic(), time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self.longestCpu = max(self.longestCpu, cpu - self._lastCpu)
        self._last, self._lastCpu = now, cpu


def log(*words) -> None:
    """A line for the launcher's log."""
    print(*words, file=sys.stderr, flush=True)
