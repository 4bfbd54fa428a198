"""Step 5 of the panel: the result at a glance, where it came from, and what speaks against it."""

import math
from html import escape

import qt
import slicer
from slicer.i18n import tr as _

from cnsifusion.mrml.apart import showMap
from cnsifusion.mrml.exporting import CONFIRM_SCORE, PATIENT_LABEL
from cnsifusion.mrml.panel import RESULT, Line
from cnsifusion.mrml.results import Outlines
from CNSIFusionLib import compat, views
from CNSIFusionLib.drawing import appearance, levelColor, linesText, placeStrip, scale, sideBar, signedBar
from CNSIFusionLib.sections import Section, askFolder, silently

_SHOWN_CONTRIBUTIONS = 12
#: The number and the verdict are drawn in one size: neither may outshine the other.
_HEADLINE = "15pt"
_SCALE_WIDTH = 340
_CHART_HEIGHT = 132
#: More letters of a feature's name do not fit into the panel's width at the usual size.
_LONGEST_LINE = 42


class ResultSection(Section):
    """5 Result, in the protocol's words."""

    def __init__(self, panel):
        super().__init__(panel)
        self._drawn = None
        self._rows = {}
        self._outlines = Outlines()
        _columns(self.ui.instanceTable, [_("Patient's right"), _("Slice"), _("Patient's left")], stretched=1)
        _columns(self.ui.contributionTable, [_("away ◂ ▸ towards"), _("Log-odds"), _("In training")], stretched=0)
        self.ui.instanceTable.toolTip = _(
            "A bar per slice and side, its tick the threshold. Click: the views go there. Slice 1 is the lowest; "
            "Slicer's Data Probe counts from 0, in the file's own order."
        )
        self.ui.instanceTable.connect("cellClicked(int,int)", self.choose)
        self.ui.instanceTable.connect("cellActivated(int,int)", self.choose)  # the Enter key
        self.ui.pretestBox.connect("valueChanged(double)", self._onPretest)
        self.ui.heatCheck.connect("toggled(bool)", self._onHeat)
        self.ui.mapCombo.connect("activated(int)", self._onMap)
        self.ui.heatSlider.connect("valueChanged(double)", self._onHeat)
        self.ui.patientEdit.placeholderText = _(PATIENT_LABEL)
        self.ui.patientEdit.connect("textEdited(QString)", self._onPatient)
        self.bind(self.ui.reportButton, self._report)
        self.bind(self.ui.pdfButton, self._pdf)
        self.bind(self.ui.dicomOutButton, self._dicom)

    def draw(self, view) -> None:
        """Show the view's result, if there is one."""
        elsewhere = [Line(self.panel.elsewhere, "warn")] if self.panel.elsewhere and view.result else []
        lines = [*elsewhere, *view.steps[RESULT].lines]
        self.ui.resultLines.text = linesText(lines)
        self.ui.resultLines.visible = bool(lines)
        self.ui.resultFrame.visible = view.result is not None
        self.panel.drawButton(self.ui.reportButton, view.actions["report"])
        self.panel.drawButton(self.ui.pdfButton, view.actions["pdf"])
        self.panel.drawButton(self.ui.dicomOutButton, view.actions["dicom"])
        case = self.session.case
        if self.panel.volume():
            self._outlines.follow(case, view.mapInView)
        if view.result is None:
            self._drawn, self._rows = None, {}
            return
        if self.ui.patientEdit.text != self.session.exports.patient:
            self.ui.patientEdit.text = self.session.exports.patient
        silently(self.ui.pretestBox, lambda box: box.setValue(100 * (case.pretest or 0.0)))
        if (view.result, appearance()) != self._drawn:
            self.panel.turns.take(lambda: self._drawHeat(case, view))
            self._drawResult(view.result)
            self._drawn = view.result, appearance()
        else:
            self._drawHeat(case, view)
        self._select(case.selectedInstance)

    def _drawResult(self, result) -> None:
        color = levelColor("warn") if result.demonstration else ""
        style = f"font-size:{_HEADLINE}; font-weight:bold"
        title = escape(_("Infection probability"))
        self.ui.headlineLabel.text = (
            f'<div style="{style}">{title} {escape(result.probability)}</div>'
            f'<div style="{style}; color:{color}">{escape(result.verdict)}</div>'
        )
        self.ui.scaleLabel.setPixmap(scale(result, _SCALE_WIDTH))
        self.ui.scaleLabel.toolTip = _("Circle: the score. Band: range over fold models. Upright line: the threshold.")
        threshold = _("Upright line: threshold {value}.").format(value=result.thresholdPercent)
        self.ui.scoreLabel.text = "<br>".join(escape(t) for t in (f"{result.range}. {threshold}", result.calibration))
        self.ui.pretestLabel.text = escape(result.atPretest)
        self.ui.slicesLabel.text = f"<b>{escape(result.slices)}</b>"
        self._drawMaps(result)
        self.ui.warningLabel.text = linesText([Line(text, "warn") for text in result.warnings])
        self.ui.warningLabel.visible = bool(result.warnings)
        self.ui.leftOutGroup.visible = bool(result.notClassified)
        self.ui.leftOutLabel.text = "<br>".join(escape(text) for text in result.notClassified)
        self.ui.sidesLabel.text = escape(result.sides)
        self.ui.sidesLabel.visible = bool(result.sides)
        self._fillInstances(result)
        self._fillContributions(result)

    def _drawMaps(self, result) -> None:
        combo, shown = self.ui.mapCombo, result.shownMap
        combo.clear()
        for row in result.maps:
            combo.addItem(row.name, row.key)
        combo.visible = len(result.maps) > 1
        combo.setCurrentIndex(result.maps.index(shown) if shown else -1)
        self.ui.heatLabel.text = escape(shown.caption) if shown else ""
        self.ui.heatLabel.visible = shown is not None

    def _fillInstances(self, result) -> None:
        """A line per slice, the patient's right on the left as in the axial view."""
        table, self._rows = self.ui.instanceTable, {}
        table.clearContents()
        table.setRowCount(len(result.chart))
        for number, line in enumerate(result.chart):
            title = qt.QTableWidgetItem(line.text)
            title.setTextAlignment(qt.Qt.AlignCenter)
            table.setItem(number, 1, title)
            for column, row in ((0, line.right), (2, line.left or line.middle)):
                item = qt.QTableWidgetItem()
                if row is not None:
                    self._rows[number, column] = row
                    item.setData(qt.Qt.DecorationRole, sideBar(row, result.threshold, column == 0))
                    item.setToolTip(row.text)
                table.setItem(number, column, item)
        table.resizeRowsToContents()
        needed = table.horizontalHeader().sizeHint.height() + table.verticalHeader().length() + 2 * table.frameWidth
        table.setFixedHeight(min(needed, _CHART_HEIGHT))

    def _fillContributions(self, result) -> None:
        parts = [(name, value) for name, value in result.contributions if math.isfinite(value)]
        places = {row.name: row.place for row in result.drivers}
        shown = parts[:_SHOWN_CONTRIBUTIONS]
        largest = max((abs(value) for _name, value in shown), default=0.0)
        self.ui.contributionLabel.text = _(
            "Averaged over the patient's slices; the parts sum to the score's log-odds before calibration. "
            "The {shown} largest of {count}:"
        ).format(shown=len(shown), count=len(parts))
        table = self.ui.contributionTable
        table.setRowCount(2 * len(shown))  # a line of words and one of pictures: beside each other names are cut off
        for number, (name, value) in enumerate(shown):
            bar = qt.QTableWidgetItem()
            bar.setData(qt.Qt.DecorationRole, signedBar(value, largest))
            place = qt.QTableWidgetItem()
            if places.get(name) is not None:
                place.setData(qt.Qt.DecorationRole, placeStrip(places[name]))
                place.setToolTip(_("Higher than in {share:.0f} % of the training").format(share=100 * places[name]))
            amount = qt.QTableWidgetItem(f"{value:+.2f}")
            amount.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(2 * number, 0, qt.QTableWidgetItem(_inLines(name)))
            table.item(2 * number, 0).setToolTip(name)
            table.setSpan(2 * number, 0, 1, table.columnCount)
            for column, item in enumerate((bar, amount, place)):
                table.setItem(2 * number + 1, column, item)

    def _drawHeat(self, case, view) -> None:
        self.panel.drawButton(self.ui.heatCheck, view.actions["heat"])
        self.ui.heatSlider.enabled = view.actions["heat"].enabled
        self.ui.heatSlider.toolTip = (
            _("Opacity of the heat map") if view.actions["heat"].enabled else view.actions["heat"].tooltip
        )
        silently(self.ui.heatCheck, lambda check: check.setChecked(case.heatMapShown))
        silently(self.ui.heatSlider, lambda slider: slider.setValue(case.heatMapOpacity))
        showMap(case, view.mapInView and not self.panel.elsewhere)

    def _select(self, key: str) -> None:
        for (number, column), row in self._rows.items():
            if row.key == key:
                silently(self.ui.instanceTable, lambda table, at=(number, column): table.setCurrentCell(*at))

    def choose(self, number: int, column: int) -> None:
        """Bring the views to the slice (and side) of a cell of the chart."""
        row = self._rows.get((number, column))
        if row is not None:
            self.session.case.selectedInstance = row.key
            views.jumpTo(row.position)

    def _onPretest(self, percent: float) -> None:
        self.session.case.pretest = percent / 100 if percent > 0 else None
        self.panel.markDirty()

    def _onPatient(self, name: str) -> None:
        self.session.exports.patient = name

    def _onMap(self, index: int) -> None:
        self.session.case.chosenMap = self.ui.mapCombo.itemData(index)
        self.panel.markDirty()

    def _onHeat(self, _value) -> None:
        case = self.session.case
        case.heatMapShown, case.heatMapOpacity = self.ui.heatCheck.checked, float(self.ui.heatSlider.value)
        self.panel.markDirty()

    def _report(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.session.reportFile())))

    def _pdf(self) -> None:
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save the report"), "cnsifusion-report.pdf", "PDF (*.pdf)"
        )
        if path:
            self.session.exports.saveReport(path)

    def _dicom(self) -> None:
        wanted = compat.missing(compat.DICOM_REQUIREMENTS_FILE)
        problem = compat.install(wanted=wanted) if wanted else ""
        if problem:
            slicer.util.warningDisplay(problem, _("DICOM"))
            return
        confirmed = self.session.exports.needsConfirmation() and slicer.util.confirmYesNoDisplay(
            _(CONFIRM_SCORE) + "?", _("Demonstration score")
        )
        folder = askFolder(_("Folder for the DICOM objects"))
        if folder:
            self.session.exports.dicom(folder, confirmed)


def _inLines(name: str) -> str:
    """``name`` of a feature; the longest ones in two lines, their own word on the second."""
    return name if len(name) <= _LONGEST_LINE else "\n".join(name.rsplit(" ", 1))


def _columns(table, titles: list, stretched: int) -> None:
    """Titles of a table; columns and rows are as large as what is in them, the ``stretched`` one takes what is left."""
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(titles)
    table.verticalHeader().setMinimumSectionSize(1)
    for header in (table.horizontalHeader(), table.verticalHeader()):
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    table.horizontalHeader().setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
    table.setWordWrap(False)
    table.setTextElideMode(qt.Qt.ElideMiddle)
    table.verticalHeader().hide()
