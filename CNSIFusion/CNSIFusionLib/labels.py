"""Which label of a region file becomes which region: the question in a dialog of Slicer's."""

from collections.abc import Sequence

import qt
import slicer
from slicer.i18n import tr as _

from cnsifusion.errors import BadInput
from cnsifusion.mrml.importing import CHOICES, LABELS_QUESTION, LABELS_REASON, FileLabel, assignment
from cnsifusion.mrml.panel import Line
from CNSIFusionLib.drawing import linesText

_ROW_PIXELS, _MOST_ROWS = 30, 12


class LabelsDialog:
    """A row per label with its guess; what the reader cannot mean is said in the dialog, which stays open."""

    def __init__(self, labels: Sequence[FileLabel]):
        self._labels = labels
        self._names: dict[str, str | None] | None = None
        self._window = qt.QDialog(slicer.util.mainWindow())
        self._window.windowTitle = _(LABELS_QUESTION)
        rows = qt.QWidget()
        form = qt.QGridLayout(rows)
        form.setColumnStretch(0, 1)
        self._combos = [self._row(form, number, label) for number, label in enumerate(labels)]
        form.setRowStretch(len(labels), 1)
        area = qt.QScrollArea()
        area.widgetResizable = True
        area.setWidget(rows)
        self._fault = qt.QLabel()
        self._fault.wordWrap = True
        self._fault.hide()
        buttons = qt.QDialogButtonBox()
        buttons.addButton(_("Bring in"), qt.QDialogButtonBox.AcceptRole)
        buttons.addButton(_("Cancel"), qt.QDialogButtonBox.RejectRole)
        buttons.connect("accepted()", self._accept)
        buttons.connect("rejected()", self._window.reject)
        layout = qt.QVBoxLayout(self._window)
        for part in (qt.QLabel(_(LABELS_REASON)), area, self._fault, buttons):
            layout.addWidget(part)
        self._window.resize(580, 120 + _ROW_PIXELS * min(len(labels), _MOST_ROWS))

    def ask(self) -> dict[str, str | None] | None:
        """What each of the file's names becomes, as ``importRegions`` takes it; None when the reader goes back."""
        self._window.exec_()
        self._window.deleteLater()
        return self._names

    def _row(self, form, number: int, label: FileLabel):
        name = qt.QLabel(label.name)
        name.textFormat = qt.Qt.PlainText  # a file's words are no markup
        name.wordWrap = True
        combo = qt.QComboBox()
        combo.addItems(list(CHOICES))
        combo.currentText = label.region
        combo.accessibleName = label.name
        voxels = qt.QLabel(_("{voxels:,} voxels").format(voxels=label.voxels))
        for column, part in enumerate((name, voxels, combo)):
            form.addWidget(part, number, column)
        return combo

    def _accept(self) -> None:
        try:
            self._names = assignment(self._labels, [combo.currentText for combo in self._combos])
        except BadInput as error:
            self._fault.text = linesText([Line(str(error), "warn")])
            self._fault.show()
        else:
            self._window.accept()
