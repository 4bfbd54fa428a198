"""What happens when a reader clicks: the five steps on the scene's cases, the same for every face.

A face makes one Session, calls ``poll()`` from its timer some 20 times a second, binds its buttons to the methods here
and redraws from :func:`cnsifusion.mrml.panel.panelView` when ``onChange`` is called. Nothing here waits: files are read
and written in a thread, the engine runs in a child process. Methods raise CNSIFusionError with a sentence for the user.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from slicer import vtkMRMLScene

from cnsifusion.bundles import BundleSettings, default_bundle_dir, load_bundle
from cnsifusion.errors import BadInput, CNSIFusionError
from cnsifusion.imaging import check_image, temporary_folder
from cnsifusion.imaging.read import read_written
from cnsifusion.mrml import child
from cnsifusion.mrml.background import Background
from cnsifusion.mrml.batch import Batch
from cnsifusion.mrml.beside import Beside
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.drawn import segmentMask
from cnsifusion.mrml.exporting import Exports
from cnsifusion.mrml.jobs import ANALYZE, CHECK, PROPOSE, Job, Jobs
from cnsifusion.mrml.models import Models
from cnsifusion.mrml.results import showResult
from cnsifusion.mrml.segmentation import (
    addSegmentationNode,
    assignSegment,
    fingerprint,
    regionsFromNode,
    regionsReader,
    showRegions,
)
from cnsifusion.mrml.sources import Sources
from cnsifusion.mrml.staleness import imageMark, markAndPlace
from cnsifusion.mrml.volumes import (
    NodeGeometry,
    SceneImage,
    checkMovedAlike,
    loadVolume,
    sceneImage,
    volumeFromNode,
)
from cnsifusion.roi.region_io import read_regions
from cnsifusion.roi.regions import RegionSet


class Session:
    """The clicks of one reader on one scene. ``case`` is the patient in front, None before an image is chosen."""

    def __init__(self, scene, onChange: Callable[[], None] = lambda: None):
        self.scene, self.onChange = scene, onChange
        #: How the face makes one undo step of a change of the case's regions as a whole, and lets a job's outcome in.
        self.asUndoStep: Callable[[Callable[[], None]], None] = lambda change: change()
        self.showing: Callable[[Callable[[], None]], None] = lambda change: change()
        #: Whether the reader's button is down: what arrives would cut a stroke short, so it waits.
        self.held: Callable[[], bool] = lambda: False
        self.case = CaseState.active(scene)
        self.jobs = Jobs(self)
        #: The report of each case (by its node), in a folder with the result's other files.
        self.reports: dict[str, Path] = {}
        self._root = temporary_folder()
        self._seen: tuple | None = None
        self.background = Background()
        self.sources = Sources()
        self.batch = Batch(self.newFolder, lambda: self.onChange())
        self.exports = Exports(self)
        self.beside = Beside(self)
        self.models = Models(self.background.later, lambda: self.onChange())
        self._observers = [
            scene.AddObserver(vtkMRMLScene.StartCloseEvent, self._onSceneClose),
            scene.AddObserver(vtkMRMLScene.EndImportEvent, self._onSceneImport),
            scene.AddObserver(vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved),
        ]

    # Step 1: image

    def openImage(self, path: str | Path):
        """Load an image file or DICOM folder and make it the case in front; returns the volume node."""
        node = loadVolume(self.scene, Path(path))
        self.sources.remember(node, Path(path))
        self.chooseVolume(node)
        return node

    def chooseVolume(self, volumeNode) -> None:
        """Make the volume's case the one in front, checking an image that is new or changed; None shows no case."""
        self.jobs.leave(volumeNode)
        if volumeNode is None:
            self.case = None
        else:
            volume = volumeFromNode(volumeNode)
            self.case = CaseState.forVolume(self.scene, volumeNode)
            self.case.activate()
            if not self.case.check or self.case.checkedImage not in ("", imageMark(volumeNode)):
                self.case.check, self.case.checkedImage = check_image(volume).to_dict(), imageMark(volumeNode)
                if self.case.check["verdict"] != "refuse":
                    self.jobs.whenFree(self._check)
            self.jobs.engine.warm()
        self.onChange()

    def discard(self, case: CaseState) -> None:
        """Take a case that is not in front out of the scene, with the files of its analysis."""
        if case.scene is None or (self.case is not None and case.node is self.case.node):
            return
        report = self.reports.pop(case.node.GetID(), None)
        if report is not None:
            shutil.rmtree(report.parents[1], ignore_errors=True)
        self.exports.patients.pop(case.node.GetID(), None)
        self.sources.forget(case.volume, case.beside)
        case.remove()

    # Step 2: regions

    def propose(self) -> None:
        """Propose regions in the child process; they arrive in the case's segmentation."""
        if self.jobs.runs(PROPOSE) or self.jobs.putOff(self.propose):
            return
        request = self.sources.request(self.required().volume, "propose", out="rois.seg.nrrd")
        self.jobs.start(PROPOSE, request, self._onProposed)

    def regions(self) -> RegionSet:
        """The case's regions as the engine sees them."""
        case = self.required()
        if case.segmentation is None:
            raise BadInput("There are no regions yet; propose them, draw them or bring in a file.")
        return regionsFromNode(case.segmentation, case.volume)

    def segmentation(self):
        """The case's segmentation node, made when there is none."""
        case = self.required()
        if case.segmentation is None:
            case.segmentation = addSegmentationNode(self.scene, case.volume)
        return case.segmentation

    def importRegions(self, path: str | Path, names: dict | None = None) -> None:
        """Bring in a region file; ``names`` maps its names or values to the protocol's (None: left out)."""
        case = self.required()
        regions = read_regions(Path(path), volumeFromNode(case.volume), names=names)
        former = self._replace(regions)
        self.say(case, "info", f"Brought in: {', '.join(regions.masks) or 'no region'}. {former}".strip())

    def assignSegment(self, segmentationNode, segmentId: str, name: str) -> None:
        """Give a segment of the case's own a protocol name, or bring in a copy of one that was drawn elsewhere."""
        case = self.required()
        if segmentationNode is case.segmentation:
            assignSegment(segmentationNode, segmentId, name)
            return self.onChange()
        theirs = [other.volume for other in CaseState.all(self.scene) if other.segmentation is segmentationNode]
        for volume in filter(None, theirs):  # regions whose image was deleted are anybody's
            if not self.beside.isOfThisPatient(volume):
                raise BadInput(f"These regions are of {volume.GetName()}, not known to be an image of this patient.")
        geometry = NodeGeometry(case.volume)
        mask = segmentMask(segmentationNode, segmentId, case.volume, geometry)
        if not mask.any():
            raise BadInput("Nothing of this segment lies in the image.")
        former = self._replace(RegionSet(geometry.grid, {name: mask}, origin={name: "imported"}))
        if segmentationNode.GetDisplayNode() is not None:
            segmentationNode.GetDisplayNode().SetVisibility(False)  # what is seen is what is analyzed
        return self.say(case, "info", f"Brought in: {name}. {former}".strip())

    # Step 3: model

    def bundleFolder(self) -> Path:
        """The chosen bundle's folder; the demonstration bundle when none was chosen."""
        chosen = self.case.bundle if self.case else ""
        return Path(chosen) if chosen else default_bundle_dir()

    def chooseBundle(self, folder: str | Path | None) -> None:
        """Choose a bundle folder (None: the demonstration bundle). Raises BundleError when it cannot be used."""
        if folder:
            load_bundle(folder)
        self.required().bundle = str(folder) if folder else ""
        self.models.forget()
        self.onChange()

    def bundle(self) -> BundleSettings | CNSIFusionError | None:
        """Settings of the chosen bundle, why it cannot be used, or None while it is being read (in a thread)."""
        return self.models.get(self.bundleFolder())

    # Step 4: analyze

    def analyze(self) -> None:
        """Run the analysis in the child process; the result arrives in the case's nodes."""
        if self.jobs.runs(ANALYZE) or self.jobs.putOff(self.analyze):
            return
        case = self.required()
        mark = fingerprint(case.segmentation) if case.segmentation is not None else ""
        if mark:
            checkMovedAlike(case.segmentation, case.volume)
        regions = regionsReader(case.segmentation, case.volume) if mark else None  # nothing drawn: the engine proposes
        request = self.sources.request(case.volume, "analyze", regions, "analysis", self.bundleFolder())
        self.jobs.start(ANALYZE, request, self._onAnalyzed)
        self.job.analyzedRegions, self.job.analyzedImage = mark, imageMark(case.volume)

    def cancel(self) -> None:
        """Stop the running job; it ends as "cancelled" with a later poll."""
        self.jobs.cancel()

    @property
    def job(self) -> Job | None:
        """What runs now."""
        return self.jobs.running

    @property
    def busy(self) -> bool:
        """Whether a job runs that the reader asked for (the check of a new image runs by itself)."""
        return self.jobs.busy

    # Step 5: result

    def reportFile(self) -> Path | None:
        """The report of the case's result, None where there is none (yet)."""
        path = self.reports.get(self.case.node.GetID()) if self.case and self.case.scene else None
        return path if path and path.exists() else None

    def poll(self) -> None:
        """Deliver what arrived since the last call; nothing in the middle of a stroke."""
        if self.held():
            return
        self._lookAtImage()
        if self.job is not None or self.background.busy:
            time.sleep(0.001)  # inside Slicer the other threads run only while this one lets go of the interpreter
        self.jobs.engine.poll()
        self.batch.poll()
        self.background.poll()
        self.exports.restoring.poll()

    def close(self) -> None:
        """Kill what runs and remove the temporary files; the session is unusable afterwards."""
        for tag in self._observers:
            self.scene.RemoveObserver(tag)
        self._abandon()
        self.batch.close()
        self.background.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def newFolder(self) -> Path:
        """A new folder for files of this session; it goes with the session, or with the next one after a crash."""
        return Path(tempfile.mkdtemp(dir=self._root))

    def required(self) -> CaseState:
        """The case in front. Raises BadInput where there is none."""
        if (case := self.front) is None:
            raise BadInput("Choose the axial T2 image first.")
        return case

    @property
    def front(self) -> CaseState | None:
        """The case in front while it is in the scene with its image, else None."""
        case = self.case
        return case if case is not None and case.scene is not None and case.volume is not None else None

    # Inside

    def _lookAtImage(self) -> None:
        """Notice that another module changed or moved the image (or its regions): check and result are of the former.

        Slicer's events for it are many, and some come while a scene is loaded; asking costs less than 0.1 ms.
        """
        case = self.front
        seen = None if case is None else (case.node.GetID(), *markAndPlace(case))
        if seen == self._seen:
            return
        self._seen = seen
        if case is not None and case.checkedImage not in ("", imageMark(case.volume)):
            try:
                self.chooseVolume(case.volume)
            except BadInput as error:
                self.say(case, "error", str(error))
        self.onChange()

    def _check(self) -> None:
        if self.front is not None:
            self.jobs.start(CHECK, self.sources.request(self.case.volume, "check"), self._onChecked)

    def _onChecked(self, end: child.End) -> None:
        if end.state == child.DONE and self.job.case.scene is not None:
            self.job.case.check = end.event["check"]
        self.jobs.end(end)

    def _onProposed(self, end: child.End) -> None:
        job = self.job
        if end.state != child.DONE:
            return self.jobs.end(end)
        if job.case.volume is None:
            words = "The volume was deleted while its regions were being proposed."
            return self.jobs.end(child.End(child.FAILED, words))
        volume = volumeFromNode(job.case.volume)
        return self.jobs.readThen(end, lambda: read_regions(job.folder / "rois.seg.nrrd", volume), self._showProposal)

    def _onAnalyzed(self, end: child.End) -> None:
        if end.state != child.DONE:
            return self.jobs.end(end)
        folder = Path(end.event["result"]).parent
        job = self.job
        proposed = not job.analyzedRegions and job.case.volume is not None
        volume = volumeFromNode(job.case.volume) if proposed else None

        def read() -> tuple[str, list[SceneImage | None], RegionSet | None]:
            files = [folder / name for name in ("heatmap.nii.gz", "logmap.nii.gz")]
            text = (folder / "result.json").read_text("utf-8")
            regions = read_regions(folder / "rois.seg.nrrd", volume) if volume is not None else None
            return text, [sceneImage(read_written(f)) if f.exists() else None for f in files], regions

        return self.jobs.readThen(end, read, self._showAnalysis)

    def _showProposal(self, job: Job, regions: RegionSet) -> None:
        if former := self._replace(regions):
            self.say(job.case, "info", former)

    def _replace(self, regions: RegionSet) -> str:
        """Show the regions instead of those of the same names; says how these come back, "" where there were none."""
        case, node = self.required(), self.segmentation()
        drawn = fingerprint(node)
        self.asUndoStep(lambda: showRegions(regions, node, case.volume))
        return "Undo, among the tools, brings the former regions back, Redo the new ones." if drawn else ""

    def _showAnalysis(self, job: Job, files: tuple[str, list[SceneImage | None], RegionSet | None]) -> None:
        text, maps, regions = files
        if regions is not None:
            self._replace(regions)
        showResult(job.case, text, *maps)
        self.reports[job.case.node.GetID()] = job.folder / "analysis" / "report.html"
        job.case.analyzedRegions = job.analyzedRegions or fingerprint(job.case.segmentation)
        job.case.analyzedImage = job.analyzedImage

    def say(self, case: CaseState | None, level: str, text: str) -> None:
        """Tell the reader something about a case."""
        if case is not None and case.scene is not None:
            case.message = {"level": level, "text": text}
        self.onChange()

    def _abandon(self) -> None:
        self.jobs.abandon()
        self.background.drop()
        self.models.dropPending()

    def _onSceneClose(self, *_) -> None:
        self._abandon()
        self.case = None
        self.sources.forgetAll()  # the next scene uses the same node ids for other patients
        self.reports.clear()
        self.exports.forget()
        self.onChange()

    def _onNodeRemoved(self, *_) -> None:
        """A deleted image takes its result along: else its maps stay in the views. Regions are the reader's work."""
        for case in [] if self.scene.IsClosing() else CaseState.all(self.scene):
            if case.volume is None:
                case.removeResult()
        self.onChange()

    def _onSceneImport(self, *_) -> None:
        self.case = CaseState.active(self.scene)
        self.jobs.leave(self.case.volume if self.case else None)
        self.onChange()
