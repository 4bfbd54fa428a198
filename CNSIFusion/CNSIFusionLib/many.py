"""Many patients, below step 4: a folder or the DICOM database in, one table out."""

from pathlib import Path

import qt
from slicer.i18n import tr as _

from cnsifusion.mrml.panel import Line
from CNSIFusionLib import database
from CNSIFusionLib.drawing import linesText
from CNSIFusionLib.sections import Section, askFolder


class ManySection(Section):
    """Starts, shows and cancels the batch; nothing of it enters the scene."""

    def __init__(self, panel):
        super().__init__(panel)
        self.bind(self.ui.batchButton, self._folder)
        self.bind(self.ui.batchDatabaseButton, self._database)
        self.bind(self.ui.batchCancelButton, self.session.batch.cancel)
        self.bind(self.ui.batchTableButton, self._table)

    def draw(self, view) -> None:
        """Show the view's batch."""
        action, batch = view.actions["batch"], view.batch
        self.panel.drawButton(self.ui.batchButton, action)
        self.ui.batchDatabaseButton.enabled = action.enabled and database.isOpen()
        self.ui.batchDatabaseButton.toolTip = (
            _("Every MR series of Slicer's DICOM database, one after the other, into one table.")
            if self.ui.batchDatabaseButton.enabled
            else action.tooltip if not action.enabled else _("This Slicer has no open DICOM database.")
        )
        self.ui.batchBar.visible = self.ui.batchCancelButton.visible = batch.running
        self.ui.batchCancelButton.toolTip = _("What is analyzed already is kept; a later run goes on from there.")
        self.ui.batchBar.value = round(1000 * batch.progress.get("fraction", 0.0))
        self.ui.batchLabel.text = linesText([Line(batch.text, batch.level)])
        self.ui.batchLabel.visible = bool(batch.text)
        self.ui.batchTableButton.visible = bool(batch.table)
        self.ui.batchTableButton.toolTip = _("Open the table in this computer's program for it.")

    def _folder(self) -> None:
        source = askFolder(_("Folder of images or of DICOM series"))
        if source:
            self._start(Path(source))

    def _database(self) -> None:
        self._start(database.patients())

    def _start(self, source) -> None:
        out = askFolder(_("Folder for the results and the table"))
        if out:
            self.session.batch.start(source, Path(out), self.session.bundleFolder())

    def _table(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self.session.batch.view.table))
