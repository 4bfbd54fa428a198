"""Steps 1 to 4 of the panel. Each draws its part of the panel's view and hands the reader's clicks to the session."""

from html import escape
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from cnsifusion.mrml.importing import labelsToAssign
from cnsifusion.mrml.panel import ANALYZE_STEP, IMAGE, MODEL, REGIONS_STEP
from cnsifusion.mrml.segmentation import regionCentre
from cnsifusion.roi.names import SEGMENTS
from CNSIFusionLib import views
from CNSIFusionLib.correcting import Corrector
from CNSIFusionLib.drawing import linesText, scrollTo, swatch
from CNSIFusionLib.labels import LabelsDialog

_IMAGE_FILES = "(*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd)"
_REGION_FILES = "(*.seg.nrrd *.nrrd *.nii *.nii.gz *.dcm)"


class Section:
    """One step: ``panel.ui`` has its widgets, ``panel.guarded`` runs what a button says."""

    def __init__(self, panel):
        self.panel, self.ui, self.session = panel, panel.ui, panel.session

    def bind(self, button, action) -> None:
        """Run ``action`` when the button is clicked; an expected error becomes the panel's message."""
        button.connect("clicked()", lambda: self.panel.guarded(action))

    def cleanup(self) -> None:
        """Release what the widgets themselves do not own."""


def silently(widget, change) -> None:
    """Change what a widget shows without the widget telling of it."""
    blocked = widget.blockSignals(True)
    change(widget)
    widget.blockSignals(blocked)


def askFolder(title: str) -> str:
    """The folder that the reader chooses, "" for none."""
    return qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title)


class ImageSection(Section):
    """1 Image: which volume, and whether it is what the model may look at."""

    def __init__(self, panel):
        super().__init__(panel)
        self._formerLayout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
        #: The volume that the views were made to show; None: whatever they show, to be shown anew.
        self._shown = ""
        # What the reader picks; not what Slicer falls back to when the chosen volume is deleted.
        self.ui.volumeSelector.connect("nodeActivated(vtkMRMLNode*)", self._onVolume)
        self.ui.besideSelector.connect("nodeActivated(vtkMRMLNode*)", self._onBeside)
        self._beside = views.Beside()
        self.bind(self.ui.openButton, self._open)
        self.bind(self.ui.dicomButton, self._openDicom)
        self.bind(self.ui.alignButton, lambda: views.alignWith(self.session.case.volume))
        self.ui.largeViewCheck.connect("toggled(bool)", self._onLarge)

    def draw(self, view) -> None:
        """Show the view's image step."""
        volume = self.panel.volume()
        silently(self.ui.volumeSelector, lambda selector: selector.setCurrentNode(volume))
        self.panel.drawButton(self.ui.openButton, view.actions["open"])
        self.ui.dicomButton.enabled = view.actions["open"].enabled
        self.ui.dicomButton.toolTip = (
            _("Open the DICOM database, or a folder where this Slicer has none.")
            if view.actions["open"].enabled
            else view.actions["open"].tooltip
        )
        self.ui.imageLines.text = linesText(view.steps[IMAGE].lines)
        self.ui.alignButton.enabled = volume is not None
        self.ui.alignButton.toolTip = (
            _("Turn the slice views along the image's own slices.") if volume else _("Choose the axial T2 image first.")
        )
        views.offerNoMaps(self.ui.volumeSelector, self.ui.besideSelector)
        shown = volume.GetID() if volume else ""
        if shown and shown != self._shown and (self._shown is None or not views.showsAlready(volume)):
            self.panel.showImage()
        self._shown = shown
        beside = self.session.beside.shown() if volume else None
        silently(self.ui.besideSelector, lambda selector: selector.setCurrentNode(beside))
        self.ui.besideSelector.enabled = view.actions["beside"].enabled
        self.ui.besideSelector.toolTip = view.actions["beside"].tooltip
        self._beside.show(beside, volume)

    def cleanup(self) -> None:
        """Give the reader's layout back."""
        self._beside.show(None, None)
        views.setLargeAxial(False, self._formerLayout)

    def _onVolume(self, node) -> None:
        self._shown = None  # the same one chosen again comes back into views that show another
        self.panel.guarded(lambda: self.session.chooseVolume(node))

    def _onBeside(self, node) -> None:
        self.panel.guarded(lambda: self.session.beside.choose(node))

    def _open(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Open the axial T2"), "", _("Images") + f" {_IMAGE_FILES}"
        )
        if path:
            self.session.openImage(Path(path))

    def _openDicom(self) -> None:
        if hasattr(slicer.modules, "dicom"):
            slicer.util.selectModule("DICOM")
            return
        folder = askFolder(_("Folder of one DICOM series"))
        if folder:
            self.session.openImage(Path(folder))

    def _onLarge(self, large: bool) -> None:
        self._formerLayout = views.setLargeAxial(large, self._formerLayout)


class RegionsSection(Section):
    """2 Regions: propose, correct, bring in, and what is still missing."""

    def __init__(self, panel):
        super().__init__(panel)
        self.corrector = Corrector(self.ui.editorFrame, self.session)
        self.session.asUndoStep = self._asUndoStep
        self._rows = []
        self._segments = []
        table = self.ui.regionTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Region"), _("Volume"), _("Origin")])
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column, width in ((1, 78), (2, 92)):
            table.setColumnWidth(column, width)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(22)
        table.toolTip = _("Click a region to bring the slice views there.")
        table.connect("cellClicked(int,int)", self._onRow)
        self.ui.nameCombo.addItems(list(SEGMENTS))
        self.bind(self.ui.proposeButton, self._propose)
        self.bind(self.ui.editButton, self._edit)
        self.bind(self.ui.importButton, self._import)
        self.bind(self.ui.assignButton, self._assign)

    def draw(self, view) -> None:
        """Show the view's region step."""
        self.panel.drawButton(self.ui.proposeButton, view.actions["propose"])
        self.ui.proposeButton.default = view.steps[REGIONS_STEP].state == "next"
        self.panel.drawButton(self.ui.editButton, view.actions["edit"])
        if self.corrector.isOpen:
            self.ui.editButton.text = _("Done correcting")
        self.ui.regionTable.visible = self.ui.assignGroup.visible = not self.corrector.isOpen
        self.panel.drawButton(self.ui.importButton, view.actions["import"])
        self.ui.regionLines.text = linesText(view.steps[REGIONS_STEP].lines)
        drawn = any(row.segmentId for row in view.regions)  # the tools themselves say the rest
        self.ui.regionLines.visible = bool(view.steps[REGIONS_STEP].lines) and not (self.corrector.isOpen and drawn)
        if view.regions != self._rows:
            self._fill(view.regions)
        volume = self.panel.volume()
        if self.corrector.isOpen and (volume is None or self.session.case.segmentation is None):
            self.closeCorrector()
        elif self.corrector.isOpen:
            self.corrector.follow(self.session.case)
        self.panel.keepApart()
        self._drawAssign(volume)

    def closeCorrector(self) -> None:
        """Put the tools away."""
        self.corrector.close()
        self.ui.editButton.checked = False
        self.panel.markDirty()

    def expectRegions(self) -> None:
        """A job may bring regions: put the tools away, but have them ready for that undo step."""
        self.closeCorrector()
        self.corrector.prepare()

    def cleanup(self) -> None:
        """Release the embedded editor."""
        self.corrector.cleanup()

    def _asUndoStep(self, change) -> None:
        """Change the regions as a whole, show them, and bring the views to what the reader wants to see first."""
        self.corrector.asUndoStep(change)
        regions = self.session.case.segmentation
        if regions.GetDisplayNode() is not None:
            regions.GetDisplayNode().SetVisibility(True)
        centre = regionCentre(regions, self.session.case.volume)
        if centre is not None:
            views.jumpTo(centre)

    def _fill(self, rows: list) -> None:
        self._rows = rows
        table = self.ui.regionTable
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            name = qt.QTableWidgetItem(row.name)
            name.setData(qt.Qt.DecorationRole, swatch(row.color))
            amount = qt.QTableWidgetItem(row.amount)
            for column, item in enumerate((name, amount, qt.QTableWidgetItem(_(row.state)))):
                table.setItem(number, column, item)

    def _onRow(self, number: int, _column: int) -> None:
        row = self._rows[number]
        if row.milliliters > 0:
            x, y, z = self.session.case.segmentation.GetSegmentCenterRAS(row.segmentId)
            views.jumpTo((-x, -y, z))

    def _propose(self) -> None:
        self.expectRegions()
        self.session.propose()

    def _edit(self) -> None:
        if self.corrector.isOpen:
            self.closeCorrector()
        else:
            self.session.segmentation()
            if self.panel.elsewhere:
                self.panel.showImage()
            self.corrector.open(self.session.case)
            self.ui.editButton.checked = True
            qt.QTimer.singleShot(0, lambda: scrollTo(self.ui.editButton))  # when the tools have their place

    def _import(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Bring in regions"), "", _("Regions") + f" {_REGION_FILES}"
        )
        if path:
            self._bringIn(Path(path))

    def _bringIn(self, path: Path) -> None:
        """Bring in a region file; where its labels tell too little, ask about them first."""
        labels = labelsToAssign(path, self.panel.volume())
        names = LabelsDialog(labels).ask() if labels else None
        if names or not labels:
            self.session.importRegions(path, names)

    def listSegments(self) -> None:
        """List the segments of the segmentation chosen under “drawn elsewhere”, as they are now."""
        node = self.ui.segmentationSelector.currentNode()
        segmentation = node.GetSegmentation() if node else None
        ids = segmentation.GetSegmentIDs() if segmentation else ()
        segments = [(segmentId, segmentation.GetSegment(segmentId).GetName()) for segmentId in ids]
        if segments != self._segments:
            self._segments = segments
            self.ui.segmentCombo.clear()
            self.ui.segmentCombo.addItems([name for _id, name in segments])
            self.panel.markDirty()

    def _drawAssign(self, volume) -> None:
        reason = "" if volume else _("Choose the axial T2 image first.")
        if not reason and not self._segments:
            reason = _("Choose a segmentation that has segments.")
        self.ui.assignButton.enabled = not reason
        self.ui.assignButton.toolTip = reason or _("Take a copy of this segment for the protocol's region.")

    def _assign(self) -> None:
        segmentId, _old = self._segments[self.ui.segmentCombo.currentIndex]
        node = self.ui.segmentationSelector.currentNode()
        self.session.assignSegment(node, segmentId, self.ui.nameCombo.currentText)


class ModelSection(Section):
    """3 Model: which bundle, and what it says of itself."""

    def __init__(self, panel):
        super().__init__(panel)
        self.bind(self.ui.bundleButton, self._choose)
        self.bind(self.ui.demonstrationButton, lambda: self.session.chooseBundle(None))
        self.bind(self.ui.cardButton, self._card)

    def draw(self, view) -> None:
        """Show the view's model step."""
        self.ui.modelLines.text = linesText(view.steps[MODEL].lines)
        self.panel.drawButton(self.ui.bundleButton, view.actions["bundle"])
        chosen = bool(self.panel.volume() and self.session.case.bundle)
        self.ui.demonstrationButton.enabled = chosen and view.actions["bundle"].enabled
        self.ui.demonstrationButton.toolTip = (
            _("Go back to the model that ships, trained on simulated patients.")
            if chosen
            else _("The demonstration model is the one in use.")
        )
        self.panel.drawButton(self.ui.cardButton, view.actions["card"])

    def _choose(self) -> None:
        folder = askFolder(_("Folder of a model bundle"))
        if folder:
            self.session.chooseBundle(folder)

    def _card(self) -> None:
        dialog = qt.QDialog(slicer.util.mainWindow())
        dialog.windowTitle = _("Model card")
        text = qt.QTextBrowser(dialog)
        text.setMarkdown(self.session.models.card(self.session.bundleFolder()).text)
        qt.QVBoxLayout(dialog).addWidget(text)
        dialog.resize(640, 560)
        dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
        dialog.show()


class AnalyzeSection(Section):
    """4 Analyze: start, progress, cancel."""

    def __init__(self, panel):
        super().__init__(panel)
        self.bind(self.ui.analyzeButton, self._analyze)
        self.bind(self.ui.cancelButton, self.session.cancel)

    def draw(self, view) -> None:
        """Show the view's analysis step and the running job's progress."""
        self.panel.drawButton(self.ui.analyzeButton, view.actions["analyze"])
        self.panel.drawButton(self.ui.cancelButton, view.actions["cancel"])
        self.ui.analyzeButton.default = view.steps[ANALYZE_STEP].state == "next"
        running = self.session.busy
        self.ui.progressBar.visible = self.ui.progressLabel.visible = running
        self.ui.progressBar.value = round(1000 * view.progress.get("fraction", 0.0)) if running else 0
        self.ui.progressLabel.text = escape(view.progressText)

    def _analyze(self) -> None:
        self.panel.expectRegions()
        self.session.analyze()
