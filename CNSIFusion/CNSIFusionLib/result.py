"""Step 5 of the panel: the result at a glance, where it came from, and what speaks against it."""

import math
from html import escape

import qt
from slicer.i18n import tr as _

from cnsifusion.mrml.panel import RESULT, Line
from CNSIFusionLib import views
from CNSIFusionLib.drawing import linesText, probabilityBar, scale, signedBar
from CNSIFusionLib.sections import Section

_SHOWN_CONTRIBUTIONS = 12
#: The number and the verdict are drawn in one size: neither may outshine the other.
_HEADLINE = "15pt"
_SCALE_WIDTH = 340


class ResultSection(Section):
    """5 Result, in the protocol's words."""

    def __init__(self, panel):
        super().__init__(panel)
        self._drawn = None
        self._instances = []
        _columns(self.ui.instanceTable, [_("Slice"), _("Tick: threshold"), _("Score")])
        _columns(self.ui.contributionTable, [_("Feature"), _("away ◂ ▸ towards"), _("Log-odds")])
        self.ui.instanceTable.toolTip = _("Click a slice to bring the views there.")
        self.ui.instanceTable.connect("itemSelectionChanged()", self._onInstance)
        self.ui.pretestBox.connect("valueChanged(double)", self._onPretest)
        self.ui.heatCheck.connect("toggled(bool)", self._onHeat)
        self.ui.heatSlider.connect("valueChanged(double)", self._onHeat)
        self.bind(self.ui.reportButton, self._report)

    def draw(self, view) -> None:
        """Show the view's result, if there is one."""
        self.ui.resultLines.text = linesText(view.steps[RESULT].lines)
        self.ui.resultLines.visible = bool(view.steps[RESULT].lines)
        self.ui.resultFrame.visible = view.result is not None
        self.panel.drawButton(self.ui.reportButton, view.actions["report"])
        case = self.session.case
        if view.result is None:
            self._drawn, self._instances = None, []
            return
        self._drawHeat(case, view)
        _silently(self.ui.pretestBox, lambda box: box.setValue(100 * (case.pretest or 0.0)))
        if view.result != self._drawn:
            self._drawResult(view.result)
            self._drawn = view.result
        self._select(case.selectedInstance)

    def _drawResult(self, result) -> None:
        color = "#9a5b00" if result.demonstration else ""
        style = f"font-size:{_HEADLINE}; font-weight:bold"
        title = escape(_("Infection probability"))
        self.ui.headlineLabel.text = (
            f'<div style="{style}">{title} {escape(result.probability)}</div>'
            f'<div style="{style}; color:{color}">{escape(result.verdict)}</div>'
        )
        self.ui.scaleLabel.setPixmap(scale(result, _SCALE_WIDTH))
        self.ui.scaleLabel.toolTip = _("Circle: the score. Band: range over fold models. Dashed line: the threshold.")
        threshold = _("Dashed line: threshold {value:.0%}.").format(value=result.threshold)
        self.ui.scoreLabel.text = "<br>".join(escape(t) for t in (f"{result.range}. {threshold}", result.calibration))
        self.ui.pretestLabel.text = escape(result.atPretest)
        self.ui.slicesLabel.text = f"<b>{escape(result.slices)}</b>"
        self.ui.heatLabel.text = escape(result.heatCaption)
        self.ui.heatLabel.visible = bool(result.heatCaption)
        self.ui.warningLabel.text = linesText([Line(text, "warn") for text in result.warnings])
        self.ui.warningLabel.visible = bool(result.warnings)
        self.ui.leftOutGroup.visible = bool(result.notClassified)
        self.ui.leftOutLabel.text = "<br>".join(escape(text) for text in result.notClassified)
        self._fillInstances(result)
        self._fillContributions(result.contributions)

    def _fillInstances(self, result) -> None:
        table, self._instances = self.ui.instanceTable, result.instances
        blocked = table.blockSignals(True)
        table.setRowCount(len(result.instances))
        for number, row in enumerate(result.instances):
            bar = qt.QTableWidgetItem()
            bar.setData(qt.Qt.DecorationRole, probabilityBar(row.probability, result.threshold, row.aboveThreshold))
            _fillRow(table, number, row.text, bar, f"{row.probability:.0%}")
        table.blockSignals(blocked)

    def _fillContributions(self, contributions: list) -> None:
        parts = [(name, value) for name, value in contributions if math.isfinite(value)]
        shown = parts[:_SHOWN_CONTRIBUTIONS]
        largest = max((abs(value) for _name, value in shown), default=0.0)
        self.ui.contributionLabel.text = _(
            "Averaged over the patient's slices; the parts sum to the score's log-odds before calibration. "
            "The {shown} largest of {count}:"
        ).format(shown=len(shown), count=len(parts))
        table = self.ui.contributionTable
        table.setRowCount(len(shown))
        for number, (name, value) in enumerate(shown):
            bar = qt.QTableWidgetItem()
            bar.setData(qt.Qt.DecorationRole, signedBar(value, largest))
            _fillRow(table, number, name, bar, f"{value:+.2f}")
            table.item(number, 0).setToolTip(name)

    def _drawHeat(self, case, view) -> None:
        self.panel.drawButton(self.ui.heatCheck, view.actions["heat"])
        self.ui.heatSlider.enabled = view.actions["heat"].enabled
        self.ui.heatSlider.toolTip = (
            _("Opacity of the heat map") if view.actions["heat"].enabled else view.actions["heat"].tooltip
        )
        _silently(self.ui.heatCheck, lambda check: check.setChecked(case.heatMapShown))
        _silently(self.ui.heatSlider, lambda slider: slider.setValue(case.heatMapOpacity))
        views.showHeat(case.heatMap, case.heatMapShown, case.heatMapOpacity)

    def _select(self, key: str) -> None:
        rows = [number for number, row in enumerate(self._instances) if row.key == key]
        if rows:
            _silently(self.ui.instanceTable, lambda table: table.selectRow(rows[0]))

    def _onInstance(self) -> None:
        row = self.ui.instanceTable.currentRow()
        if 0 <= row < len(self._instances):
            self.session.case.selectedInstance = self._instances[row].key
            views.jumpTo(self._instances[row].position)

    def _onPretest(self, percent: float) -> None:
        self.session.case.pretest = percent / 100 if percent > 0 else None
        self.panel.markDirty()

    def _onHeat(self, _value) -> None:
        case = self.session.case
        case.heatMapShown, case.heatMapOpacity = self.ui.heatCheck.checked, float(self.ui.heatSlider.value)
        self.panel.markDirty()

    def _report(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.session.reportFile())))


def _columns(table, titles: list) -> None:
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(titles)
    table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
    for column, width in ((1, 165), (2, 60)):
        table.setColumnWidth(column, width)
    table.setWordWrap(False)
    table.setTextElideMode(qt.Qt.ElideMiddle)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(22)


def _fillRow(table, number: int, text: str, bar, value: str) -> None:
    amount = qt.QTableWidgetItem(value)
    amount.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    for column, item in enumerate((qt.QTableWidgetItem(text), bar, amount)):
        table.setItem(number, column, item)


def _silently(widget, change) -> None:
    blocked = widget.blockSignals(True)
    change(widget)
    widget.blockSignals(blocked)
