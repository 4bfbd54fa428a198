#!/usr/bin/env python3
"""How the browser face feels: slices and outlines per second, and how long its event loop is held up.

    python Testing/benchmarks/faces.py [IMAGE]

Prints a table; nothing passes or fails here. The latency is that of a small request every 25 ms, answered by the same
event loop as everything else, at rest and while an analysis runs; it includes whatever else this computer does. The
worker alone, cold and warm and with both networks, is measured by analysis.py.
"""

from __future__ import annotations

import http.client
import os
import random
import statistics
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "slicerlibs"))

from browser import Reader, RunningApp, openPage  # noqa: E402

REAL = ROOT.parent / "shared" / "data" / "oms_patient01_study1" / "T2w.nii.gz"


class Pulse:
    """Asks the server for a small file again and again, and keeps how long each answer took (s)."""

    def __init__(self, app: RunningApp, cookies: list[dict]) -> None:
        self._app, self._cookie = app, "; ".join(f"{c['name']}={c['value']}" for c in cookies)
        self.seconds: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._app.port, timeout=60)
        while not self._stop.is_set():
            start = time.perf_counter()
            connection.request("GET", "/logo.png", headers={"Cookie": self._cookie})
            connection.getresponse().read()
            self.seconds.append(time.perf_counter() - start)
            time.sleep(0.025)


def main(image: Path) -> int:
    """Measure on one image."""
    start = time.perf_counter()
    app = RunningApp()
    _row("program start to address", time.perf_counter() - start)
    try:
        opened = time.perf_counter()
        with openPage(app.address) as page:
            _row("page's first view", time.perf_counter() - opened)
            _measure(app, Reader(page, app), image)
    finally:
        app.stop()
    return 0


def _measure(app: RunningApp, reader: Reader, image: Path) -> None:
    page = reader.page
    cookies = page.context.cookies()
    frames = []
    session = page.context.new_cdp_session(page)
    session.on("Network.webSocketFrameReceived", lambda event: frames.append(event["response"]["opcode"] == 2))
    session.send("Network.enable")
    reader.openImage(image)
    reader.waitFor("!document.querySelector('#step-image').innerText.includes('Checking')", 300)
    page.click("#tool-csf")
    page.wait_for_timeout(1500)
    with Pulse(app, cookies) as rest:
        page.wait_for_timeout(3000)
    _latency("event loop at rest", rest.seconds)
    places = _places(reader)
    page.evaluate("""() => { window.shown = 0; new MutationObserver(() => window.shown++).observe(
        document.querySelector('#outline'), {childList: true, subtree: true, attributes: true}) }""")
    with Pulse(app, cookies) as hovering:
        start, used = time.perf_counter(), _cpu(app)
        for step in range(240):
            page.mouse.move(*places[step % len(places)])
        elapsed, used = time.perf_counter() - start, _cpu(app) - used
    print(f"{'hover: processor time per mouse move':48} {1000 * used / 240:8.1f} ms")
    print(f"{'hover: mouse moves sent per second':48} {240 / elapsed:8.1f}")
    print(f"{'hover: other outlines shown per second':48} {page.evaluate('window.shown') / elapsed:8.1f}")
    _latency("event loop while hovering", hovering.seconds)
    _clicks(reader, places)
    page.click("#tool-none")
    _scroll(reader, frames)
    page.click("#button-propose")
    reader.waitFor("document.querySelector('#region-Sub-lentiform-left').innerText.includes('automatic')", 600)
    for run in ("first", "second", "third"):
        _analyze(app, reader, run)
    cancels = []
    moments = random.Random(1)
    while len(cancels) < 20:
        page.click("#button-analyze")
        page.wait_for_selector("#progress-analyze")
        page.wait_for_timeout(moments.uniform(0, 1500))
        if not page.locator("#progress-analyze").is_visible():
            continue  # it was quicker
        start = time.perf_counter()
        page.click("#button-cancel")
        page.wait_for_selector("#progress-analyze", state="detached")
        cancels.append(time.perf_counter() - start)
    _row("cancel to idle, median of 20", statistics.median(cancels))
    _row("cancel to idle, worst of 20", max(cancels))
    page.wait_for_timeout(8000)  # the new worker gets ready; it knows nothing of this head
    _analyze(app, reader, "cold: after a cancel")


def _places(reader: Reader) -> list[tuple[float, float]]:
    """Places of the page where a click adds CSF: where hovering shows an outline, around the middle of the view."""
    page, box, found = reader.page, reader.axialBox(), []
    for number in range(300):
        row, column = divmod(number, 20)
        x, y = box["x"] + box["width"] * (0.38 + 0.012 * column), box["y"] + box["height"] * (0.30 + 0.02 * row)
        page.mouse.move(x, y)
        page.wait_for_timeout(60)
        if page.evaluate("document.querySelector('#outline').innerHTML.includes('path')"):
            found.append((x, y))
    print(f"{'places that show an outline, of 300':48} {len(found):8d}")
    return found


def _clicks(reader: Reader, places: list[tuple[float, float]]) -> None:
    """Clicks that add CSF, each taken back: from the button's release to the changed picture on the page."""
    page = reader.page
    page.evaluate("""() => {
        window.click = {};
        const note = (what) => { if (click.up) click[what] = [...(click[what] || []), performance.now() - click.up] };
        document.addEventListener('pointerup', () => { window.click = {up: performance.now()} }, true);
        document.querySelector('#slice-Red').parentElement.addEventListener('load', () => note('picture'), true);
        new MutationObserver(() => note('figure')).observe(document.querySelector('#region-CSF-ventricles'),
            {characterData: true, childList: true, subtree: true}) }""")
    found: dict[str, list[float]] = {"picture": [], "sharp picture": [], "figure": []}
    for place in places[:: max(len(places) // 30, 1)][:30]:
        page.mouse.move(*place)
        page.wait_for_timeout(400)
        page.mouse.down()
        page.mouse.up()
        page.wait_for_timeout(1200)
        seen = page.evaluate("window.click")
        if "figure" not in seen or "picture" not in seen:
            continue  # nothing changed
        for name, time_ms in (("picture", min(seen["picture"])), ("sharp picture", max(seen["picture"])),
                              ("figure", min(seen["figure"]))):  # fmt: skip
            found[name].append(time_ms / 1000)
        page.click("#undo")
        page.wait_for_timeout(600)
    print(f"{'clicks that added CSF, of 30':48} {len(found['figure']):8d}")
    for name, seconds in found.items():
        _latency(f"click to {name}", seconds)


def _scroll(reader: Reader, frames: list[bool]) -> None:
    """The wheel turned as fast as Chromium sends it: pictures and slice numbers that reach the page in a second."""
    page, box = reader.page, reader.axialBox()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(1000)
    page.evaluate("""() => { window.shown = 0; new MutationObserver(() => window.shown++).observe(
        document.querySelector('#slice-Red'), {characterData: true, childList: true, subtree: true}) }""")
    pictures, start = sum(frames), time.perf_counter()
    while (elapsed := time.perf_counter() - start) < 4.0:
        page.mouse.wheel(0, 120 if int(elapsed * 2) % 2 else -120)  # half a second each way: never at an end
    page.wait_for_timeout(200)
    found = {"pictures received": sum(frames) - pictures, "slice numbers shown": page.evaluate("window.shown")}
    for name, count in found.items():
        print(f"{'wheel: ' + name + ' per second':48} {count / elapsed:8.1f}", flush=True)


def _analyze(app: RunningApp, reader: Reader, run: str) -> None:
    page = reader.page
    with Pulse(app, page.context.cookies()) as analyzing:
        start, used = time.perf_counter(), _cpu(app)
        page.click("#button-analyze")
        page.wait_for_selector("#progress-analyze")
        page.wait_for_selector("#progress-analyze", state="detached", timeout=600_000)
        _row(f"click on Analyze to result, {run}", time.perf_counter() - start)
        _row("processor time of the face meanwhile", _cpu(app) - used)
    _latency("event loop while analyzing", analyzing.seconds)


def _cpu(app: RunningApp) -> float:
    """Processor seconds the program has used so far, without its child processes (Linux)."""
    fields = Path(f"/proc/{app.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _row(name: str, seconds: float) -> None:
    print(f"{name:48} {seconds:8.2f} s", flush=True)


def _latency(name: str, seconds: list[float]) -> None:
    ordered = sorted(1000 * s for s in seconds)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    print(f"{name:48} median {statistics.median(ordered):.0f}, p95 {p95:.0f}, worst {ordered[-1]:.0f} ms", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else REAL))
