"""What may come between the start and the end of a stroke of the outline tool, in a real Chromium."""

import os
import signal

import numpy as np
import pytest
from browser import LEFT, changed, middle, needsPage, readerWithRegions

pytestmark = needsPage()


@pytest.fixture(scope="module")
def reader(simulated_image, tmp_path_factory):
    with readerWithRegions(simulated_image, tmp_path_factory.mktemp("other") / "other.seg.nrrd") as reader:
        reader.page.click("#tool-outline")
        reader.waitFor("document.querySelector('#tool-outline').className.includes('active')")
        yield reader


def begin(reader):
    """Begin a stroke above the region's edge; the place of the region's middle."""
    x, y = middle(reader)
    reader.page.mouse.move(x + 60, y - 60)
    reader.page.mouse.down()
    reader.page.mouse.move(x + 100, y - 60, steps=3)
    return x, y


def test_01_the_wheel_does_not_end_a_stroke_and_zooms_where_the_tool_has_no_slider(reader):
    page = reader.page
    before, shown = reader.milliliters(LEFT), reader.text("#slice-Red")
    x, y = begin(reader)
    for modifier in (None, "Shift"):
        if modifier:
            page.keyboard.down(modifier)
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(200)
        if modifier:
            page.keyboard.up(modifier)
    page.keyboard.press("Control+z")
    page.mouse.move(x + 100, y - 20, steps=3)
    page.mouse.up()
    after = changed(reader, LEFT, before)
    assert after > before and reader.text("#slice-Red") == shown
    page.click("#undo")
    assert changed(reader, LEFT, after) == before
    page.mouse.move(x, y)
    picture = reader.settledPixels()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    reader.waitForChange(lambda: bool((abs(reader.axialPixels() - picture) > 40).mean() > 0.05), False)
    page.mouse.wheel(0, 100)
    page.keyboard.up("Control")
    assert reader.text("#slice-Red") == shown


def test_02_a_proposal_that_arrives_in_mid_stroke_waits_for_its_end(reader):
    page = reader.page
    before = reader.milliliters(LEFT)
    page.click("#button-propose")
    reader.waitFor("document.querySelector('#button-propose').disabled")
    x, y = begin(reader)
    page.wait_for_timeout(8000)  # the proposal takes some 4 s
    page.mouse.move(x + 100, y - 20, steps=3)
    page.mouse.up()
    reader.waitFor("!document.querySelector('#button-propose').disabled")
    proposed = reader.milliliters(LEFT)
    page.click("#undo")
    drawn = changed(reader, LEFT, proposed)
    assert drawn > before, "the stroke counts"
    page.click("#undo")
    assert changed(reader, LEFT, drawn) == before


def test_03_a_stroke_that_ends_outside_the_view_counts(reader):
    page = reader.page
    before = reader.milliliters(LEFT)
    x, y = begin(reader)
    for place in ((x + 100, y - 20), (200, 30)):
        page.mouse.move(*place, steps=3)
    page.mouse.up()
    after = changed(reader, LEFT, before)
    assert after > before
    page.click("#undo")
    assert changed(reader, LEFT, after) == before


def test_04_a_page_that_is_reloaded_in_a_stroke_drops_it(reader):
    """Its end would never come, and what arrives would wait for it."""
    page = reader.page
    before = reader.milliliters(LEFT)
    page.click("#button-propose")
    reader.waitFor("document.querySelector('#button-propose').disabled")
    begin(reader)
    page.reload()
    page.mouse.up()
    page.wait_for_selector("#button-propose[disabled]")
    reader.waitFor("!document.querySelector('#button-propose').disabled")
    page.click("#undo")
    reader.waitForChange(lambda: reader.milliliters(LEFT) == before, False)


def test_05_a_stroke_goes_where_the_mouse_is_beside_a_tab_of_another_size(reader):
    """The views had the size of the tab opened last: what was circled in the first was drawn beside the mouse."""
    page, state = reader.page, reader.page.context.storage_state()
    other = page.context.browser.new_context(storage_state=state, viewport={"width": 900, "height": 768}).new_page()
    other.goto(f"http://127.0.0.1:{reader.app.port}/")
    width = "document.querySelector('#slice-Red').parentElement.querySelector('img').naturalWidth"
    reader.waitFor(f"{width} < 400")
    box, before = reader.axialBox(), reader.milliliters(LEFT)
    left, top = round(box["width"] * 0.3), round(box["height"] * 0.3)
    corners = [(left + 60, top), (left + 60, top + 40), (left, top + 40)]
    page.mouse.move(box["x"] + left, box["y"] + top)
    reader.waitFor(f"{width} > 700")
    picture = reader.settledPixels()
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
        page.wait_for_timeout(200)
    page.mouse.up()
    after = changed(reader, LEFT, before)
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    rows, columns = np.nonzero(np.abs(reader.settledPixels() - picture)[50:-50].sum(2) > 60)
    drawn = (columns.min(), columns.max(), rows.min() + 50, rows.max() + 50)
    assert drawn == pytest.approx((left, left + 60, top, top + 40), abs=6)
    other.close()
    page.click("#undo")
    assert changed(reader, LEFT, after) == before
    reader.assertNoFault()


def test_06_a_quick_stroke_keeps_its_corners_while_the_program_is_busy(reader):
    """Of what the mouse did before the program answered, only where it was last arrived: a square became a line."""
    page, before = reader.page, reader.milliliters(LEFT)
    x, y = middle(reader)
    areas = []
    for pause in (300, 0):
        page.mouse.move(x + 60, y - 60)
        page.wait_for_timeout(300)
        page.mouse.down()
        os.kill(reader.app.process.pid, signal.SIGSTOP if not pause else signal.SIGCONT)
        for corner in ((x + 120, y - 60), (x + 120, y), (x + 60, y), (x + 60, y - 57)):
            page.mouse.move(*corner, steps=6)
            page.wait_for_timeout(pause)
        page.mouse.up()
        os.kill(reader.app.process.pid, signal.SIGCONT)
        after = changed(reader, LEFT, before)
        areas.append(after - before)
        page.click("#undo")
        assert changed(reader, LEFT, after) == before
    assert areas[1] == pytest.approx(areas[0], rel=0.05), areas
    reader.assertNoFault()
