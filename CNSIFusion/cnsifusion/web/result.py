"""The result on the page: the number with its range, the slices, the heat map, what drove it, the report."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets.vuetify3 import VBtn, VBtnToggle, VCheckbox, VSlider

from cnsifusion.mrml.exporting import CONFIRM_SCORE, PATIENT_LABEL
from cnsifusion.web.toolbox import actionButton, textField

#: What appears comes into view by itself: on a small screen it starts below the edge.
_INTO_VIEW = '@vue:mounted="({ el }) => el.scrollIntoView({ behavior: \'smooth\' })"'


def buildResult(app) -> None:
    """Build the result inside its step; ``app`` takes the clicks."""
    with html.Div(
        v_if="panel.result",
        id="result",
        raw_attrs=[_INTO_VIEW],
    ):
        html.Div("Infection probability", classes="line")
        html.Div(
            "{{ panel.result.probability }}",
            classes=("'number' + (panel.result.stale ? ' stale' : '')",),
            id="probability",
        )
        html.Div(
            "{{ panel.result.verdict }}",
            classes="number",
            id="verdict",
            style=("panel.result.demonstration ? 'color: #f0c36a;' : ''",),
        )
        _scale()
        html.Div("{{ panel.result.range }}. {{ panel.result.slices }}.", classes="line")
        html.Div("{{ panel.result.calibration }}", classes="line")
        with html.Div(classes="d-flex align-center mt-1", style="gap: 8px;"):
            textField(
                "pretest",
                "Pre-test prob., %",
                "pretest",
                style="flex: none; width: 175px;",
                change=(lambda text: app.guarded(app.setPretest, text), "[$event.target.value]"),
            )
            html.Div("{{ panel.result.atPretest }}", classes="line", id="at-pretest")
        html.Div("{{ panel.result.caveat }}", classes="line line-warn")
        html.Div("{{ text }}", v_for="text in panel.result.warnings", key="text", classes="line line-warn")
        _instances(app)
        _heat(app)
        _drivers()
        _out(app)


def _out(app) -> None:
    """What leaves the page: the report, and the DICOM objects after a question where the score is a demonstration's."""
    textField("report_patient", PATIENT_LABEL, "report-patient", classes="mt-2")
    actionButton("report", raw_attrs=['href="/report"', 'target="_blank"'])
    # A download says so in an attribute: leaving the page would end its connection.
    actionButton("pdf", raw_attrs=['href="/report.pdf"', "download"])
    actionButton("dicom", click="dicom_open = !dicom_open")
    shown = "dicom_open && panel.actions.dicom.enabled"
    with html.Div(v_if=shown, classes="line mt-1", id="dicom", raw_attrs=[_INTO_VIEW]):
        html.Div("Regions (SEG), measurements (SR, unverified) and key images, marked RESEARCH USE ONLY.")
        VCheckbox(
            v_if="dicom_demonstration",
            v_model=("dicom_confirm",),
            label=CONFIRM_SCORE,
            density="compact",
            hide_details=True,
            classes="small-check",
            id="dicom-confirm",
        )
        VBtn(
            "Write",
            click=(lambda confirmed: app.guarded(app.writeDicom, confirmed), "[dicom_confirm]"),
            size="small",
            classes="mt-1 text-none",
            id="dicom-write",
        )
    with html.Div(v_if="dicom_ready", classes="line"):
        address = ['href="/dicom.zip"', "download"]
        html.A("Download the DICOM objects (zip)", classes="link", id="dicom-zip", raw_attrs=address)


def _scale() -> None:
    with html.Div(classes="scale", title="0 to 100 %: model score (white), range over fold models, threshold (dashed)"):
        html.Div(
            classes="scale-range",
            style=("`left: ${100 * panel.result.low}%; width: ${100 * (panel.result.high - panel.result.low)}%`",),
        )
        html.Div(classes="scale-value", style=("`left: ${100 * panel.result.value}%`",))
        html.Div(classes="scale-threshold", style=("`left: ${100 * panel.result.threshold}%`",))
        html.Div(
            "threshold {{ panel.result.thresholdPercent }}",
            classes="scale-label",
            style=("`left: ${Math.min(88, Math.max(12, 100 * panel.result.threshold))}%`",),
        )


def _instances(app) -> None:
    """A line per slice, the patient's right on the left as in the axial view; a click brings the views there."""
    html.Div("{{ panel.result.sides }}", v_if="panel.result.sides", classes="line", id="sides")
    with html.Div(classes="chart-line chart-head", v_if="panel.result.sides"):
        html.Span("right", classes="chart-side", style="text-align: right;")
        html.Span("", classes="chart-text")
        html.Span("left", classes="chart-side")
    with html.Div(v_for="line in panel.result.chart", key="line.text", classes="chart-line"):
        _chartBar(app, "right", "right")
        html.Span("{{ line.text }}", classes="chart-text")
        _chartBar(app, "left", "left")
        _chartBar(app, "middle", "left")
    html.Div(
        "Not classified: {{ text }}",
        v_for="text in panel.result.notClassified",
        key="text",
        classes="line text-medium-emphasis",
    )


def _chartBar(app, side: str, edge: str) -> None:
    """A bar that grows away from the chart's middle; ``edge`` is the side it grows to."""
    start = "right" if edge == "right" else "left"
    row = f"line.{side}"
    # A part without sides has one bar, in the place of the left one.
    shown = row if side == "middle" else f"{row} || !line.middle" if side == "left" else "true"
    with html.Button(
        v_if=shown,
        disabled=(f"!{row}",),
        classes=(f"['chart-side', {{'row-selected': {row} && selected == {row}.key, 'chart-click': {row}}}]",),
        click=(app.showInstance, f"[{row}.key]"),
        title=(f"{row} ? {row}.text + ': show this slice' : 'not classified'",),
        id=(f"{row} ? 'instance-' + {row}.key.replaceAll('|', '-') : undefined",),
    ):
        with html.Div(classes="bar", v_if=row):
            html.Div(
                classes=(f"'bar-fill' + ({row}.aboveThreshold ? ' bar-above' : '')",),
                style=(f"`{start}: 0; width: ${{100 * {row}.probability}}%`",),
            )
            html.Div(classes="bar-tick", style=(f"`{start}: ${{100 * panel.result.threshold}}%`",))
        html.Span(
            f"{{{{ {row} ? {row}.percent : '–' }}}}",
            style=f"width: 40px; white-space: nowrap; text-align: {start}; order: {-1 if start == 'right' else 1};",
        )


def _drivers() -> None:
    """What raised or lowered the score, and where the patient lies in the training distribution (a dot on a strip)."""
    html.Div("What drove it (average over the slices):", classes="line mt-1")
    with html.Div(id="drivers"), html.Div(
        v_for="row in panel.result.drivers.slice(0, 6)",
        key="row.name",
        classes="driver",
        title=("`${row.name} ${row.text}`",),
    ):
        html.Span("{{ row.logOdds > 0 ? '▲' : '▼' }} {{ row.name }}", classes="driver-name")
        html.Span("{{ (row.logOdds > 0 ? '+' : '') + row.logOdds.toFixed(2) }}", classes="driver-number")
        with html.Span(classes="strip", style=("row.place === null ? 'visibility: hidden' : ''",)):
            html.Span(classes="strip-dot", style=("`left: ${100 * row.place}%`",))
    html.Div(
        "▲ raises, ▼ lowers the log-odds; the dot: lowest to highest in the training, the middle half shaded.",
        classes="line text-medium-emphasis",
    )


def _heat(app) -> None:
    with html.Div(classes="d-flex align-center", style="gap: 8px;", title=("panel.actions.heat.tooltip",)):
        VCheckbox(
            model_value=("heat.shown",),
            update_modelValue=(lambda shown: app.set("heatMapShown", bool(shown)), "[$event]"),
            label="Heat map",
            density="compact",
            hide_details=True,
            disabled=("!panel.actions.heat.enabled",),
            id="heat-shown",
        )
        VSlider(
            model_value=("heat.opacity",),
            update_modelValue=(lambda opacity: app.set("heatMapOpacity", float(opacity)), "[$event]"),
            min=0,
            max=1,
            step=0.05,
            hide_details=True,
            density="compact",
            disabled=("!panel.actions.heat.enabled",),
            name="Opacity of the heat map",
            id="heat-opacity",
        )
    with VBtnToggle(
        v_if="panel.result.maps.length > 1",
        model_value=("panel.result.shownMap.key",),
        update_modelValue=(lambda key: app.set("chosenMap", str(key)), "[$event]"),
        mandatory=True,
        density="compact",
        variant="outlined",
        divided=True,
    ):
        VBtn(
            "{{ map.name }}",
            v_for="map in panel.result.maps",
            key="map.key",
            value=("map.key",),
            size="small",
            classes="text-none",
            id=("'map-' + map.key",),
        )
    html.Div("{{ panel.result.shownMap?.caption }}", classes="line text-medium-emphasis", id="map-caption")
