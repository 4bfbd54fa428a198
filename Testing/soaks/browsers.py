"""The browser server under kill -9, and fifty readers one after the other on one server."""

from __future__ import annotations

import signal
import statistics
import sys
import time
import urllib.request
from pathlib import Path

import faults
from soak import OUTPUT, ROOT, Soak

sys.path.insert(0, str(ROOT / "Testing" / "slicerlibs"))

_GROWTH = 0.10
_SETTLING = 10  # sessions until caches and libraries are filled


def killed_servers(soak: Soak) -> None:
    """Servers with an image whose check runs in their worker, killed; the next start clears what they left."""
    row, room = soak.row("kill -9 of the browser server", 100, 3), soak.folder / "tmp"
    room.mkdir()
    here = {"TMPDIR": str(room)}
    while soak.more(row):
        run = faults.Run("app", "--no-browser", soak.small, environment=here)
        if soak.rng.random() < 0.8:
            address = run.process.stdout.readline()
            if soak.rng.random() < 0.5:
                opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
                opener.open(address.strip(), timeout=60).read()
        time.sleep(soak.rng.uniform(0, 5))
        run.kill()
        row.tried += 1
        row.failures += [f"kill {row.tried}: process {pid} stayed" for pid in run.orphans()]
        if row.tried % 10 == 0 or row.tried >= row.wanted:
            last = faults.Run("app", "--no-browser", soak.small, environment=here)
            last.process.stdout.readline()
            last.process.send_signal(signal.SIGINT)
            last.process.wait(60)
            stayed = [f"process {pid}" for pid in last.orphans()] + [f"file {p.name}" for p in room.iterdir()]
            row.failures += [f"after kill {row.tried} and a whole run: {what} stayed" for what in stayed]
    row.note = "server and worker with a check running; key, uploads and session folders cleared by the next start"


def sessions(soak: Soak) -> None:
    """Fifty readers: open the page and an image, hover with a tool, every tenth analyzes; the server's memory."""
    from browser import Reader, RunningApp, chromiumPath

    row = soak.row("sequential browser sessions", 50, 3)
    if chromiumPath() is None:
        row.note = "SKIPPED: no Chromium"
        return
    row.tried, row.failures = 0, []  # one server: it cannot go on from a former run
    app, used = RunningApp(), []
    try:
        while soak.more(row):
            try:
                _one_session(app, soak.image, row.tried % 10 == 9, Reader)
            except Exception as error:  # noqa: BLE001 (whatever a page says goes into the table)
                row.failures.append(f"session {row.tried}: {error}"[:300])
            row.tried += 1
            used.append(megabytes(app.process.pid))
        row.failures += app.faults()[:5]
    finally:
        app.stop()
        if row.failures and not soak.quick:
            (OUTPUT / "server.log").write_text("".join(app.lines), "utf-8")
    if len(used) > 2 * _SETTLING:
        first, last = (statistics.median(part) for part in (used[_SETTLING : _SETTLING + 5], used[-5:]))
        row.note = f"server {first:.0f} MB after {_SETTLING}, {last:.0f} MB at the end ({last / first - 1:+.1%})"
        if last > first * (1 + _GROWTH):
            row.failures.append(f"memory grew by {last / first - 1:.0%}: {[round(u) for u in used]}")
    else:
        row.note = f"server {[round(u) for u in used]} MB"


def _one_session(app, image: Path, analyze: bool, reader_of) -> None:
    from browser import openPage

    with openPage(app.address) as page:
        reader = reader_of(page)
        reader.openImage(image)
        page.click("#tool-csf")
        page.wait_for_selector("#slider-value")
        box = reader.axialBox()
        page.mouse.move(box["x"] + 0.47 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.move(box["x"] + 0.48 * box["width"], box["y"] + 0.5 * box["height"])
        if analyze:
            page.click("#button-analyze")
            page.wait_for_selector("#probability", timeout=300_000)


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024
