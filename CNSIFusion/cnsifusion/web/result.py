"""The result on the page: the number with its range, the slices, the heat map, what drove it, the report."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets.vuetify3 import VBtn, VCheckbox, VSlider, VTextField


def buildResult(app) -> None:
    """Build the result inside its step; ``app`` takes the clicks."""
    # A new result comes into view by itself: on a small screen it starts below the edge.
    with html.Div(
        v_if="panel.result",
        id="result",
        raw_attrs=['@vue:mounted="({ el }) => el.scrollIntoView({ behavior: \'smooth\' })"'],
    ):
        html.Div("Infection probability", classes="line")
        html.Div("{{ panel.result.probability }}", classes="number", id="probability")
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
            VTextField(
                v_model=("pretest",),
                label="Pre-test prob., %",
                density="compact",
                hide_details=True,
                variant="outlined",
                style="flex: none; width: 175px;",
                id="pretest",
                change=(lambda text: app.guarded(app.setPretest, text), "[$event.target.value]"),
            )
            html.Div("{{ panel.result.atPretest }}", classes="line", id="at-pretest")
        html.Div("{{ panel.result.caveat }}", classes="line line-warn")
        html.Div("{{ text }}", v_for="text in panel.result.warnings", key="text", classes="line line-warn")
        _instances(app)
        _heat(app)
        _drivers()
        with html.Span(title=("panel.actions.report.tooltip",)):
            VBtn(
                "{{ panel.actions.report.label }}",
                raw_attrs=['href="/report"', 'target="_blank"'],
                disabled=("!panel.actions.report.enabled",),
                size="small",
                classes="mt-1 text-none",
                id="button-report",
            )


def _scale() -> None:
    with html.Div(classes="scale", title="0 to 100 %: model score (white), range over fold models, threshold (dashed)"):
        html.Div(
            classes="scale-range",
            style=("`left: ${100 * panel.result.low}%; width: ${100 * (panel.result.high - panel.result.low)}%`",),
        )
        html.Div(classes="scale-value", style=("`left: ${100 * panel.result.value}%`",))
        html.Div(classes="scale-threshold", style=("`left: ${100 * panel.result.threshold}%`",))
        html.Div(
            "threshold {{ Math.round(100 * panel.result.threshold) }}%",
            classes="scale-label",
            style=("`left: ${Math.min(88, Math.max(12, 100 * panel.result.threshold))}%`",),
        )


def _instances(app) -> None:
    with html.Div(
        v_for="row in panel.result.instances",
        key="row.key",
        classes=("'row' + (selected == row.key ? ' row-selected' : '')",),
        click=(app.showInstance, "[row.key]"),
        title="Show this slice",
        id=("'instance-' + row.key.replaceAll('|', '-')",),
    ):
        html.Span("{{ row.text }}", style="width: 170px;")
        with html.Div(classes="bar"):
            html.Div(classes="bar-fill", style=("`width: ${100 * row.probability}%`",))
            html.Div(classes="bar-tick", style=("`left: ${100 * panel.result.threshold}%`",))
        html.Span("{{ Math.round(100 * row.probability) }}%", style="width: 36px; text-align: right;")
    html.Div(
        "Not classified: {{ text }}",
        v_for="text in panel.result.notClassified",
        key="text",
        classes="line text-medium-emphasis",
    )


def _drivers() -> None:
    html.Div("What drove it (average over the slices):", classes="line mt-1")
    with html.Div(
        v_for="row in panel.result.drivers.slice(0, 6)", key="row.name", classes="line", id="drivers"
    ):
        html.Span("{{ row.logOdds > 0 ? '▲' : '▼' }} {{ row.name }}: ", style="color: #e8e8e8;")
        html.Span("{{ row.logOdds.toFixed(2) }} log-odds, {{ row.text }}")


def _heat(app) -> None:
    with html.Div(classes="d-flex align-center", style="gap: 8px;", title=("panel.actions.heat.tooltip",)):
        VCheckbox(
            model_value=("heat.shown",),
            update_modelValue=(app.showHeat, "[$event]"),
            label="Heat map",
            density="compact",
            hide_details=True,
            disabled=("!panel.actions.heat.enabled",),
            id="heat-shown",
        )
        VSlider(
            model_value=("heat.opacity",),
            update_modelValue=(app.setHeatOpacity, "[$event]"),
            min=0,
            max=1,
            step=0.05,
            hide_details=True,
            density="compact",
            disabled=("!panel.actions.heat.enabled",),
            id="heat-opacity",
        )
    html.Div("{{ panel.result.heatCaption }}", classes="line text-medium-emphasis")
