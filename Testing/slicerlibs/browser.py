"""The browser face for tests and screenshots: the real program in a child process, a real headless Chromium."""

from __future__ import annotations

import io
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZE = {"width": 1366, "height": 768}


class RunningApp:
    """``cnsifusion app`` as a user starts it. ``address`` is the first URL, with the key."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "cnsifusion.cli", "app", "--no-browser", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.lines: list[str] = []
        self._addresses: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.address = self._addresses.get(timeout=90)
        except queue.Empty:
            self.stop()
            raise RuntimeError("cnsifusion app printed no address:\n" + "".join(self.lines[-30:])) from None
        self.port = int(re.search(r":(\d+)/", self.address).group(1))
        self.key = self.address.split("key=")[1]

    def stop(self) -> None:
        """Interrupt it as Ctrl+C does, and wait."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def faults(self) -> list[str]:
        """Exceptions in what the program printed, by the last line of each traceback or the worker's line.

        A page that is closed or reloaded while it is being answered makes wslink log that its transport is closing.
        """
        kind = r"(\w+\.)*\w*(Error|Exception)\b|.*(request|analysis) failed: "
        raised = [line.strip() for line in self.lines if re.match(kind, line)]
        return [line for line in raised if "Cannot write to closing transport" not in line]

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"http://\S+key=\S+", line):
                self._addresses.put(found.group(0))


def chromiumPath() -> str | None:
    """A Chromium or Chrome on this machine, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next((found for name in names if (found := shutil.which(name))), None)


def needsPage() -> list:
    """The marks of a file of tests of the page; the file is skipped where what the page needs is not installed."""
    import pytest

    pytest.importorskip("trame_slicer", reason="needs the extra 'web'")
    pytest.importorskip("playwright", reason="needs the extra 'test'")
    missing = "no Chromium or Chrome on this machine (set CHROMIUM)"
    return [pytest.mark.usefixtures("demonstrationBundle"), pytest.mark.skipif(chromiumPath() is None, reason=missing)]


@contextmanager
def openPage(address: str) -> Iterator:
    """A Chromium page on the running app, once its five steps are there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromiumPath(), args=CHROMIUM_FLAGS)
        try:
            page = browser.new_context(viewport=SIZE).new_page()
            page.set_default_timeout(30_000)
            page.goto(address)
            page.wait_for_selector("#step-result")
            yield page
        finally:
            browser.close()


class Reader:
    """A radiologist at the page: what they see and click."""

    def __init__(self, page, app: RunningApp) -> None:
        self.page, self.app, self.errors = page, app, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def assertNoFault(self) -> None:
        """Nothing was raised on the page, or in the program."""
        assert self.errors == []
        assert not self.app.faults(), "".join(self.app.lines[-40:])

    def text(self, selector: str) -> str:
        """The words of one element."""
        return self.page.locator(selector).inner_text()

    def waitFor(self, expression: str, seconds: float = 60) -> None:
        """Until a JavaScript expression on the page is true."""
        self.page.wait_for_function(expression, timeout=seconds * 1000)

    def chooseRegion(self, name: str) -> None:
        """Click on a region's row; until it is chosen, since the tools then change places."""
        row = f"#region-{name.replace(' ', '-')}"
        self.page.click(row)
        self.page.wait_for_selector(f"{row}[aria-pressed=true]")

    def openImage(self, path: Path) -> None:
        """Type a path and press Open; until the check ended."""
        if self.page.locator("#another-image").count():
            self.page.click("#another-image")
        self.page.fill("#path", str(path))
        self.page.click("#button-open")
        self.waitFor("document.querySelector('#slice-Red').innerText.includes('/')")

    def withoutName(self) -> list[str]:
        """What a screen reader could not tell: sliders, lists, dialogs and pictures without a name."""
        found = "document.querySelectorAll('[role=slider], [role=dialog], select:not([hidden]), img')"
        named = "e.alt || e.getAttribute('aria-label')"
        return self.page.evaluate(f"[...{found}].filter(e => !({named})).map(e => e.outerHTML)")

    def milliliters(self, region: str) -> float:
        """The volume that stands in a region's row."""
        found = re.search(r"([\d.]+) (ml|mm³)", self.text("#region-" + region.replace(" ", "-")))
        return float(found[1]) / (1 if found[2] == "ml" else 1000) if found else 0.0

    def waitForChange(self, read, before, seconds: float = 20):
        """The new value of ``read()`` once it differs from ``before``."""
        end = time.monotonic() + seconds
        while (value := read()) == before:
            if time.monotonic() > end:
                raise TimeoutError(f"still {before!r}")
            self.page.wait_for_timeout(50)
        return value

    def slide(self, share: float) -> None:
        """Press the tool's slider at a share of its way."""
        way = self.page.locator(".v-slider-track").first.bounding_box()
        self.page.mouse.click(way["x"] + share * way["width"], way["y"] + way["height"] / 2)

    def axialBox(self) -> dict:
        """The axial view's box on the page: x, y, width, height."""
        return self.page.locator("#slice-Red").locator("xpath=..").bounding_box()

    def onScreen(self, places: tuple, number: int = 0) -> tuple[float, float]:
        """The page's point of a spot (mm from the slice's centre) among ``places``: (spots, extent of the slice in mm).

        The view shows the whole slice, centred, as Slicer fits it.
        """
        spots, extent = places
        box = self.axialBox()
        mmPerPixel = max(extent[0] / box["width"], extent[1] / box["height"])
        x, y = spots[number]
        return box["x"] + box["width"] / 2 + x / mmPerPixel, box["y"] + box["height"] / 2 + y / mmPerPixel

    def axialPixels(self) -> np.ndarray:
        """The axial view as an RGB array (rows, columns, 3)."""
        return self._pixels(self.axialBox())

    def settledPixels(self) -> np.ndarray:
        """The axial view once two pictures in a row are equal (the stream ends with a sharp still)."""
        before = self.axialPixels()
        for _ in range(40):
            self.page.wait_for_timeout(250)
            now = self.axialPixels()
            if np.array_equal(now, before):
                return now
            before = now
        raise TimeoutError("the view never settled")

    def besidePixels(self) -> np.ndarray:
        """The view of the other series as an RGB array (rows, columns, 3)."""
        return self._pixels(self.page.locator("#slice-Beside").locator("xpath=..").bounding_box())

    def dicomArchive(self) -> ZipFile:
        """The DICOM objects as the page hands them out."""
        with self.page.expect_download() as download:
            self.page.click("#dicom-zip")
        return ZipFile(download.value.path())

    def _pixels(self, box: dict) -> np.ndarray:
        picture = Image.open(io.BytesIO(self.page.screenshot(clip=box)))
        return np.asarray(picture.convert("RGB")).astype(int)


@contextmanager
def readerAtWork() -> Iterator[Reader]:
    """A reader at a page of a program of their own."""
    app = RunningApp()
    try:
        with openPage(app.address) as page:
            yield Reader(page, app)
    finally:
        app.stop()


#: The region that readers of tests work on.
LEFT = "Sub-lentiform left"


@contextmanager
def readerWithRegions(image, file) -> Iterator[Reader]:
    """A reader with the image's regions proposed and LEFT chosen; a copy of them, ``file``, is another reader's."""
    from cnsifusion.analysis import Analyzer

    Analyzer().propose(image, file)
    with readerAtWork() as reader:
        page, reader.file = reader.page, file
        reader.openImage(image)
        page.set_input_files("#upload-regions", file)
        reader.waitFor(f"document.querySelector('#region-{LEFT.replace(' ', '-')}').innerText.includes('ml')")
        reader.chooseRegion(LEFT)
        reader.waitFor("document.querySelector('#statistics')?.innerText.startsWith('Sub-lentiform left')")
        yield reader


def changed(reader: Reader, name: str, before: float) -> float:
    """The region's millilitres once they are others than before."""
    return reader.waitForChange(lambda: reader.milliliters(name), before)


def middle(reader: Reader) -> tuple[float, float]:
    """The page's place of the region's middle on the shown slice: where its colour is."""
    picture, box = reader.axialPixels(), reader.axialBox()
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    orange = (red - blue > 40) & (green - blue > 15) & (red - green > 12)
    rows, columns = np.nonzero(orange)
    assert len(rows) > 30, "the left region is not seen"
    return box["x"] + float(np.median(columns)), box["y"] + float(np.median(rows))
