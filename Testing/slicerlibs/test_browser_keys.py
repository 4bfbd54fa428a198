"""The page without a mouse, in a real Chromium: slices by keys, the focus after a dialog, and leaving the page."""

import re

import pytest
from browser import LEFT, changed, middle, needsPage, readerAtWork

from cnsifusion.analysis import Analyzer

pytestmark = needsPage()

#: From the bottom edge of a view up to here lies its ruler (pixels).
_RULER = 36


@pytest.fixture(scope="module")
def reader(simulated_image, tmp_path_factory):
    with readerAtWork() as reader:
        reader.file = tmp_path_factory.mktemp("regions") / "regions.seg.nrrd"
        Analyzer().propose(simulated_image, reader.file)
        yield reader


def atTheBottom(reader) -> int:
    """The brightest pixel where the axial view's ruler lies."""
    return int(reader.settledPixels()[-_RULER:].max())


def enter(page, link: str, field: str, path) -> None:
    """Open the field behind a link of the page, type a path and press Enter."""
    page.click(f"#{link}")
    page.fill(f"#{field}", str(path))
    page.press(f"#{field}", "Enter")


def focused(reader) -> str:
    """The id of what has the keyboard, "Axial" for the axial view."""
    return reader.page.evaluate("document.activeElement.id || document.activeElement.ariaLabel || 'nothing'")


def number(reader) -> int:
    """The number of the axial slice that is shown."""
    return int(re.search(r"(\d+)/", reader.text("#slice-Red"))[1])


def test_01_views_without_an_image_have_no_ruler(reader, simulated_image):
    assert atTheBottom(reader) < 40
    reader.openImage(simulated_image)
    assert atTheBottom(reader) > 200


def test_02_the_axial_view_is_reached_with_tab_and_says_its_slice(reader):
    for _ in range(40):
        reader.page.keyboard.press("Tab")
        if focused(reader) == "Axial":
            break
    view = reader.page.locator(":focus")
    assert view.get_attribute("role") == "slider"
    assert view.get_attribute("aria-valuetext") == reader.text("#slice-Red").split()[1]
    assert view.get_attribute("aria-valuenow") == str(number(reader))
    assert view.evaluate("e => getComputedStyle(e, '::after').outlineStyle") == "solid", "where the keys go is not seen"
    assert reader.withoutName() == []


def test_03_keys_step_slice_by_slice(reader):
    page = reader.page
    for key, step in (("ArrowUp", 1), ("PageUp", 1), ("ArrowDown", -1), ("PageDown", -1), ("f", 1), ("b", -1)):
        before = number(reader)
        page.keyboard.press(key)
        assert reader.waitForChange(lambda: number(reader), before) == before + step, key
        page.wait_for_timeout(300)
        assert number(reader) == before + step, key
        assert page.locator(":focus").get_attribute("aria-valuenow") == str(before + step)


def test_04_with_a_tool_in_hand_they_do_too_but_not_in_a_stroke(reader):
    page = reader.page
    page.set_input_files("#upload-regions", reader.file)
    reader.waitFor(f"document.querySelector('#region-{LEFT.replace(' ', '-')}').innerText.includes('ml')")
    reader.chooseRegion(LEFT)
    page.click("#tool-outline")
    reader.settledPixels()
    (x, y), before, shown = middle(reader), reader.milliliters(LEFT), number(reader)
    page.focus("[role=slider][aria-label=Axial]")
    for key, step in (("ArrowUp", 1), ("ArrowDown", 0)):
        now = number(reader)
        page.keyboard.press(key)
        assert reader.waitForChange(lambda now=now: number(reader), now) == shown + step
    page.mouse.move(x, y)
    page.mouse.down()
    for place in ((x + 60, y), (x + 60, y + 60)):
        page.mouse.move(*place, steps=4)
        page.keyboard.press("ArrowUp")
    page.mouse.move(x, y + 60, steps=4)
    page.mouse.up()
    assert changed(reader, LEFT, before) > before
    assert number(reader) == shown


def test_04b_the_mouse_over_a_view_is_enough_for_keys_but_takes_none_from_who_types(reader):
    page, erasing = reader.page, "document.querySelector('#erase').checked"
    page.mouse.move(5, 5)
    page.click("#tool-outline")
    page.mouse.move(*middle(reader), steps=3)
    page.keyboard.press("e")
    reader.waitFor(erasing)
    page.keyboard.press("e")
    reader.waitFor("!" + erasing)
    page.click("#another-model")
    page.click("#bundle-path")
    page.mouse.move(*middle(reader), steps=3)
    page.keyboard.type("/e")
    assert page.input_value("#bundle-path") == "/e" and not page.evaluate(erasing)
    page.fill("#bundle-path", "")
    page.press("#bundle-path", "Enter")
    page.wait_for_selector("#bundle-path", state="detached")


def test_05_what_was_not_saved_is_not_left_without_a_question(reader):
    """The work of the test before is not saved."""
    page, asked = reader.page, []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    reader.waitFor(f"document.querySelector('#region-{LEFT.replace(' ', '-')}')?.innerText.includes('edited')")
    assert asked == ["beforeunload"]
    with page.expect_download():
        page.click("#save-regions")
    reader.waitFor("!window.trame.state.get('unsaved')")
    page.reload()
    page.wait_for_selector("#step-result")
    assert asked == ["beforeunload"], "saved, and asked all the same"


@pytest.mark.parametrize("ends", ["Escape", "a click beside it"])
def test_06_after_a_dialog_the_keyboard_is_where_it_was(reader, ends):
    page = reader.page
    page.focus("#model-card")
    page.keyboard.press("Enter")
    page.wait_for_selector("#card")
    page.wait_for_timeout(500)  # it comes in slowly
    if ends == "Escape":
        page.keyboard.press("Escape")
    else:
        page.mouse.click(5, 400)
    page.wait_for_selector("#card", state="hidden")
    reader.waitForChange(lambda: focused(reader) == "model-card", False)


def test_07_after_a_question_too(reader, simulated_image):
    page = reader.page
    page.click("#act-mirror")
    reader.waitFor("window.trame.state.get('unsaved')")
    enter(page, "another-image", "path", simulated_image)
    page.wait_for_selector("#leave-open")
    page.wait_for_timeout(500)
    page.keyboard.press("Escape")
    page.wait_for_selector("#leave-open", state="hidden")
    reader.waitForChange(lambda: focused(reader) == "path", False)


def test_08_another_series_beside_the_image_leaves_the_steps_as_they_are(reader, simulated_image):
    """All of the page was made anew, and scrolled to the result."""
    page = reader.page
    page.evaluate("document.querySelector('#steps').dataset.here = 'yes'")
    enter(page, "beside-open", "beside-path", simulated_image)
    page.wait_for_selector("#slice-Beside")
    page.wait_for_selector("#beside-path", state="detached")
    reader.waitForChange(lambda: bool(reader.besidePixels().std() > 20), False)
    assert page.locator("#steps").get_attribute("data-here") == "yes"
    name, hide = (page.locator(f"#beside-{part}").bounding_box() for part in ("name", "hide"))
    assert hide["x"] - name["x"] - name["width"] >= 4, "the link sticks to the name"
    page.click("#beside-hide")
    page.wait_for_selector("#slice-Beside", state="detached")
    reader.settledPixels()
    assert page.locator("#steps").get_attribute("data-here") == "yes"


def test_09_what_an_action_said_goes_with_the_slice_it_was_said_on(reader):
    """With no tool in hand it stood there through the analysis and after."""
    page, box = reader.page, reader.axialBox()
    page.click("#tool-none")
    reader.chooseRegion("CSF ventricles")
    page.click("#act-mirror")
    reader.waitFor("document.querySelector('#tool-hint').innerText.includes('nothing to mirror')")
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.wheel(0, -100)
    reader.waitFor("document.querySelector('#tool-hint').innerText == ''", 20)


def test_10_many_patients_can_be_put_away_again(reader):
    """In a low window its fields hide the regions."""
    page = reader.page
    page.click("#batch-open")
    page.wait_for_selector("#batch-path")
    page.click("#batch-open")
    page.wait_for_selector("#batch-path", state="detached")
    reader.assertNoFault()
