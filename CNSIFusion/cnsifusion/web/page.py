"""The page: five steps on the left, the slice views on the right. Draws the panel's view, decides nothing."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from markdown_it import MarkdownIt
from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets.vuetify3 import (
    VAlert,
    VAppBar,
    VBtn,
    VCard,
    VCardText,
    VDialog,
    VIcon,
    VMain,
    VNavigationDrawer,
    VProgressLinear,
)
from trame_slicer.views.view_layout import ViewLayout

from cnsifusion.mrml.importing import CHOICES, LABELS_QUESTION, LABELS_REASON
from cnsifusion.mrml.panel import TITLES
from cnsifusion.mrml.resultview import RESEARCH_USE
from cnsifusion.web.result import buildResult
from cnsifusion.web.toolbox import actionButton, buildToolbox, fileInput, textField
from cnsifusion.web.viewer import AXIAL, BESIDE, CORONAL, SAGITTAL

_ICONS = (
    "{done: 'mdi-check-circle', problem: 'mdi-alert-circle', running: 'mdi-progress-clock', "
    "next: 'mdi-arrow-right-circle', todo: 'mdi-circle-outline'}"
)
#: What is open or ticked for the patient in front; another one begins without.
OF_PATIENT = ("opening", "comparing", "limiting", "beside_open", "labels_open", "dicom_open", "dicom_confirm")
_DIALOGS = ("batch_open", "card_open", "leave_open")
#: Instead of the page, whose style is gone with it.
_CLOSED = (
    '<div role="alert" style="background: #121212; color: #eee; font-size: 18px; height: 100vh; padding: 20vh 15vw">'
    "The page has lost its program. If <b>cnsifusion app</b> still runs in its window, reload this page: all is as it "
    "was. If it ended, start it again; regions that were not saved are gone.</div>"
)
_VIEW_NAMES = {AXIAL: "Axial", CORONAL: "Coronal", SAGITTAL: "Sagittal", BESIDE: "{{ panel.beside }}"}
#: A view and its picture are trame's own and have no names: they get the words that stand over them, "Axial 14/36".
#: To those who hear the page it is a slider over the slices, which it is for those who press keys.
_NAMED = (
    "({el}) => { const view = el.parentElement.querySelector('.remote-controlled-area'); "
    "const words = el.innerText.split(' '), [now, count] = words.at(-1).split('/'); "
    "Object.assign(view, count ? {role: 'slider', ariaLabel: words[0], ariaValueText: words[1], "
    "ariaValueNow: now, ariaValueMin: 1, ariaValueMax: count} : {role: 'group', ariaLabel: el.innerText}); "
    "const picture = view.querySelector('img'); if (picture) picture.alt = el.innerText; }"
)


def fillView(server, viewId: str, _view) -> None:
    """What stands over a slice view: which plane and slice, and in the axial one what the tool says."""
    server.state.setdefault(f"slice_{viewId}", "")
    server.state.setdefault(f"edges_{viewId}", {})
    edges = f"edges_{AXIAL if viewId == BESIDE else viewId}"  # the other series lies in the axial view's plane
    for edge in ("left", "right", "top", "bottom"):
        html.Div(f"{{{{ {edges}.{edge} }}}}", classes=f"edge edge-{edge}", id=f"edge-{viewId}-{edge}")
    html.Div(
        f"{_VIEW_NAMES[viewId]} {{{{ slice_{viewId} }}}}", classes="view-text", id=f"slice-{viewId}",
        raw_attrs=[f'@vue:mounted="{_NAMED}"', f'@vue:updated="{_NAMED}"'],
    )  # fmt: skip
    if viewId == AXIAL:
        html.Div(v_html=("outline",), classes="outline", id="outline")
        html.Div("{{ tools.hint }}", classes="view-hint", id="tool-hint")


def buildPage(server, app, viewer) -> None:
    """Build the page for ``app`` (its clicks) and ``viewer`` (its layout)."""
    for name in ("path", "bundle_path", "beside_path", "batch_path", "batch_out", "labels_fault"):
        server.state.setdefault(name, "")
    for name in ("choosing", *OF_PATIENT, *_DIALOGS):
        server.state.setdefault(name, False)
    server.state.setdefault("opened", 0)
    server.state.setdefault("image_name", "")
    server.state.trame__template_error = _CLOSED
    server.state.setdefault("labels", [])
    server.state.setdefault("label_choices", list(CHOICES))
    server.state.trame__title = "CNSIFusion"
    # A template of their own: else another series beside the image would make the whole page anew, scrolled elsewhere.
    with ViewLayout(server, template_name="views") as views:
        viewer.layout.initialize_layout_grid(views)
    with VAppLayout(server) as layout:
        layout.root.theme = "dark"
        resources = files("cnsifusion.resources") / "web"
        client.Style((resources / "page.css").read_text("utf-8"))
        client.Script((resources / "page.js").read_text("utf-8"))
        with VAppBar(density="compact", height=40):
            html.H1("CNSIFusion", classes="text-subtitle-1 font-weight-bold ml-4")
            html.Div(RESEARCH_USE, classes="text-caption ml-6 research-use")
            _bar("Working", indeterminate=True, active=("trame__busy",), absolute=True, location="bottom", id="busy")
        with VNavigationDrawer(permanent=True, location="left", width=400, id="steps"):
            _imageStep(app)
            _regionsStep(app)
            _modelStep(app)
            _analyzeStep(app)
            with _step("result"):
                _lines("result")
                buildResult(app)
        with VMain(style="height: 100vh;"), html.Div(style="height: 100%; width: 100%; display: flex;"):
            client.ServerTemplate(name="views")


@cache
def cardPage(text: str) -> str:
    """A model card (Markdown from a bundle that may be a stranger's) as HTML; tags and scripts in it stay text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text)


def _step(key: str) -> html.Div:
    step = html.Div(classes=(f"'step step-' + panel.steps.{key}.state",), id=f"step-{key}")
    with step, html.Div(classes="step-title"):
        VIcon(icon=(f"({_ICONS})[panel.steps.{key}.state]",), size="small")
        html.H2(TITLES[key], raw_attrs=[f""":aria-label="'{TITLES[key]}, ' + panel.steps.{key}.state" """])
    return step


def _lines(key: str) -> None:
    html.Div(
        "{{ line.text }}",
        v_for=f"(line, index) in panel.steps.{key}.lines",
        key="index",
        classes=("'line line-' + line.level",),
    )


def _button(app, key: str, click, typed: str = "", **words) -> None:
    """A button of the view; ``typed`` names the fields whose text goes with the click (comma-separated).

    The click carries them itself: what was typed just before it may reach the server's state only after it.
    """
    actionButton(key, click=(lambda *texts: app.guarded(click, *texts), f"[{typed}]"), **words)


def _imageStep(app) -> None:
    with _step("image"):
        html.Div("{{ image_name }}", v_if="image_name", classes="line font-weight-bold", id="image-name")
        _lines("image")
        html.Button(
            "Another image…",
            v_if="panel.steps.image.state != 'next' && !opening",
            click="opening = true",
            classes="link",
            id="another-image",
        )
        with html.Div(v_if="panel.steps.image.state == 'next' || opening"):
            _openControls(app)
        _beside(app)
        _leaveDialog(app)


def _leaveDialog(app) -> None:
    """Regions that were drawn and not saved go with their image: never without a question."""
    question = "Give up the regions?"
    with _dialog("leave_open", question, 480), VCard(title=question), VCardText():
        html.Div("You corrected regions of this image and have not saved them. Another image takes their place.")
        with html.Div(classes="mt-4 d-flex align-center", style="gap: 8px;"):
            _saveLink("leave-save")
            small = {"size": "small", "classes": "text-none"}
            VBtn("Stay", click="leave_open = false", color="primary", id="leave-stay", **small)
            VBtn(
                "Open without saving",
                click=lambda: app.guarded(app.openWaiting),
                id="leave-open",
                **small,
            )


def _dialog(state: str, name: str, width: int) -> VDialog:
    """A dialog, open while the page's ``state`` of that name says so."""
    attributes = [f'aria-label="{name}"', '@after-leave="utils.cnsifusion.giveKeyboardBack()"']
    return VDialog(v_model=(state,), max_width=width, raw_attrs=attributes)


def _saveLink(identity: str) -> None:
    html.A(
        "Save regions…",
        v_if="panel.regions.some(row => row.milliliters)",
        classes="link",
        id=identity,
        title="As .seg.nrrd: this page, Slicer and the command line read it",
        raw_attrs=['href="/regions.seg.nrrd"', "download"],
    )


def _beside(app) -> None:
    """Another series of the patient in a view of its own."""
    with html.Span(v_if="panel.beside", classes="line ml-2"):
        html.Span("Beside it: {{ panel.beside }}", id="beside-name")
        hide = lambda: app.guarded(app.session.beside.choose, None)  # noqa: E731
        html.Button("Hide", click=hide, classes="link ml-2", id="beside-hide")
    html.Button(
        "{{ panel.actions.beside.label }}",
        v_if="panel.actions.beside.enabled && !panel.beside && !beside_open",
        title=("panel.actions.beside.tooltip",),
        click="beside_open = true",
        classes="link ml-3",
        id="beside-open",
    )
    with html.Div(v_if="beside_open", classes="d-flex align-center mt-1", style="gap: 6px;"):
        textField("beside_path", "Path: another series of this patient", "beside-path", enter="beside")
        _button(app, "beside", app.openBeside, "beside_path")


def _openControls(app) -> None:
    with html.Div(classes="d-flex align-center mt-1", style="gap: 6px;"):
        textField("path", "Path: image or DICOM folder", "path", enter="open")
        _button(app, "open", app.openPath, "path", color=("panel.steps.image.state == 'next' ? 'primary' : undefined",))
    label = "or choose the file (DICOM: all files, or a zip)"
    fileInput(app, label, app.openUpload, "upload-image", "open")


def _regionsStep(app) -> None:
    with _step("regions"):
        _lines("regions")
        with html.Div(classes="mt-1 mb-2"):
            _button(
                app,
                "propose",
                app.session.propose,
                color=("panel.steps.regions.state == 'next' ? 'primary' : undefined",),
            )
            html.Button(
                "Cancel",
                v_if="panel.steps.regions.state == 'running'",
                click=app.session.cancel,
                classes="link ml-2",
                id="cancel-propose",
            )
        _progress("regions")
        with html.Button(
            v_for="row in panel.regions",
            key="row.name",
            classes=("'row' + (tools.segmentName == row.name ? ' row-selected' : '')",),
            click=(app.tools.chooseSegment, "[row.name]"),
            id=("'region-' + row.name.replaceAll(' ', '-')",),
            raw_attrs=[':aria-pressed="tools.segmentName == row.name"'],
        ):
            html.Span(
                classes="swatch",
                style=("`background: rgb(${row.color.map(c => Math.round(255 * c)).join(',')})`",),
            )
            html.Span("{{ row.name }}", style="flex: 1;")
            html.Span(
                "{{ row.amount && row.amount + ', ' }}{{ row.state }}",
                classes="text-medium-emphasis",
            )
        buildToolbox(app)
        _saveLink("save-regions")
        fileInput(app, "Bring in regions from a file", app.importUpload, "upload-regions", "import")
        _labelsDialog(app)


def _labelsDialog(app) -> None:
    """Which label of a region file becomes which region."""
    with _dialog("labels_open", LABELS_QUESTION, 640), VCard(title=LABELS_QUESTION), VCardText():
        html.Div(LABELS_REASON, classes="line mb-2")
        rows = html.Div(id="labels", classes="labels")
        with rows, html.Div(v_for="(label, n) in labels", key="n", classes="label-row"):
            html.Span("{{ label.name }}", classes="label-name", title=("label.name",))
            html.Span("{{ label.voxels.toLocaleString() }} voxels", classes="text-medium-emphasis")
            with html.Select(raw_attrs=['v-model="label.region"', ':aria-label="label.name"']):
                html.Option("{{ choice }}", v_for="choice in label_choices", key="choice", value=("choice",))
        html.Div("{{ labels_fault }}", v_if="labels_fault", classes="line line-warn mt-2", id="labels-fault")
        with html.Div(classes="mt-3 d-flex", style="gap: 8px;"):
            VBtn(
                "Bring in",
                click=(lambda chosen: app.guarded(app.importAssigned, chosen), "[labels.map(l => l.region)]"),
                size="small",
                color="primary",
                id="labels-bring-in",
            )
            VBtn("Cancel", click="labels_open = false", size="small", variant="text", id="labels-cancel")


def _modelStep(app) -> None:
    with _step("model"):
        _lines("model")
        html.Button("Another model…", v_if="!choosing", click="choosing = true", classes="link", id="another-model")
        html.Button("Model card", v_if="panel.card", click="card_open = true", classes="link ml-4", id="model-card")
        card = _dialog("card_open", "Model card", 760)
        with card, VCard(raw_attrs=['tabindex="0"']), VCardText(id="card"):  # scrolled by keys too
            html.Div(v_html=("card",), classes="card-text")
        with html.Div(v_if="choosing", classes="d-flex align-center mt-1", style="gap: 6px;"):
            textField("bundle_path", "Bundle folder (empty: the demonstration)", "bundle-path", enter="bundle")
            _button(app, "bundle", app.openBundle, "bundle_path")


def _analyzeStep(app) -> None:
    with _step("analyze"):
        _lines("analyze")
        _button(
            app,
            "analyze",
            app.session.analyze,
            color=("panel.steps.analyze.state == 'next' ? 'primary' : undefined",),
        )
        _button(app, "cancel", app.session.cancel)
        _progress("analyze")
        VAlert(
            "{{ panel.message?.text }}",
            v_if="panel.message",
            density="compact",
            type=("{info: 'info', warn: 'warning', error: 'error'}[panel.message?.level]",),
            variant="tonal",
            classes="mt-2 text-body-2",
            closable=True,
            click_close=app.closeMessage,
            id="message",
        )
        _batch(app)


def _batch(app) -> None:
    """Many patients: a folder in, a table out."""
    html.Button(
        "Many patients…",
        v_if="!panel.batch.running",
        click="batch_open = !batch_open",
        classes="link d-block mt-1",
        id="batch-open",
        raw_attrs=[':aria-expanded="batch_open"'],
    )
    with html.Div(v_if="batch_open && !panel.batch.running", classes="mt-1", style="display: grid; gap: 6px;"):
        textField("batch_path", "Folder of images or of DICOM series", "batch-path")
        textField("batch_out", "Folder for the results and the table", "batch-out", enter="batch")
        _button(app, "batch", app.startBatch, "batch_path, batch_out")
    with html.Div(v_if="panel.batch.running", classes="mt-1", id="batch-progress"):
        _bar("Progress", model_value=("100 * (panel.batch.progress.fraction || 0)",), height=6, color="primary")
        html.Span("{{ panel.batch.text }}", classes="line")
        html.Button("Cancel", click=app.session.batch.cancel, classes="link ml-2", id="batch-cancel")
    html.Div(
        "{{ panel.batch.text }}",
        v_if="panel.batch.text && !panel.batch.running",
        classes=("'line line-' + panel.batch.level",),
        id="batch-text",
    )


def _bar(name: str, **words) -> None:
    VProgressLinear(raw_attrs=[f'aria-label="{name}"'], **words)


def _progress(key: str) -> None:
    with html.Div(
        v_if=f"panel.steps.{key}.state == 'running' && panel.progress.name", classes="mt-1", id=f"progress-{key}"
    ):
        _bar("Progress", model_value=("100 * (panel.progress.fraction || 0)",), height=6, color="primary")
        html.Div("{{ panel.progressText }}", classes="line")
