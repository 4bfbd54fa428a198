#!/usr/bin/env python3
"""Pictures of every step of the browser face, from the running program: ``screenshots_browser.py IMAGE FOLDER``."""

from __future__ import annotations

import io
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "Testing" / "slicerlibs"))

from browser import Reader, readerAtWork  # noqa: E402
from PIL import Image  # noqa: E402

#: Pixels of the view's share where the tool hovers: a lateral ventricle in the middle slice of the picture's patient.
HOVER = (0.487, 0.38)


def main(words: list[str]) -> int:
    """Take all pictures; returns the exit code."""
    image, out = Path(words[0]).resolve(), Path(words[1])
    out.mkdir(parents=True, exist_ok=True)
    with readerAtWork() as reader:
        _click(reader, image, out)
    return 0


def _click(reader: Reader, image: Path, out: Path) -> None:
    page = reader.page
    _take(page, out, "1_start")
    reader.openImage(image)
    reader.waitFor("!document.querySelector('#step-image').innerText.includes('Checking')", 300)
    _take(page, out, "2_image")
    page.click("#region-CSF-ventricles")
    page.click("#tool-csf")
    page.wait_for_timeout(600)  # the first regions are shown in the views, and an outline that was there before goes
    box = reader.axialBox()
    x, y = box["x"] + HOVER[0] * box["width"], box["y"] + HOVER[1] * box["height"]
    page.mouse.move(x, y)
    page.mouse.move(x + 2, y, steps=2)
    _take(page, out, "4_correct")
    page.click("#tool-none")
    page.click("#button-propose")
    reader.waitFor("document.querySelector('#region-Sub-lentiform-left').innerText.includes('automatic')", 300)
    _take(page, out, "3_regions")
    page.click("#model-card")
    _take(page, out, "3_card", settle=800)
    page.keyboard.press("Escape")
    page.click("#button-analyze")
    reader.waitFor("document.querySelector('#progress-analyze')?.innerText.includes('left')", 60)
    _take(page, out, "5_analyze", settle=0)
    page.wait_for_selector("#probability", timeout=300_000)
    page.locator("[id^=instance-]").last.click()
    page.evaluate("document.querySelector('#result').scrollIntoView()")  # the click may have scrolled
    page.mouse.move(5, 5)
    _take(page, out, "6_result")


def _take(page, out: Path, name: str, settle: int = 3000) -> None:
    page.wait_for_timeout(settle)
    path = out / f"browser_{name}.png"
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
