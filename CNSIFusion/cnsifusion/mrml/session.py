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
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from slicer import vtkMRMLScene

from cnsifusion.bundles import BundleSettings, default_bundle_dir, load_bundle
from cnsifusion.errors import BadInput, CNSIFusionError, failure, raise_unexpected
from cnsifusion.imaging import check_image, temporary_folder
from cnsifusion.imaging.read import read_written
from cnsifusion.mrml import child
from cnsifusion.mrml.background import Background
from cnsifusion.mrml.batch import Batch
from cnsifusion.mrml.beside import Beside
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.exporting import Exports
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
from cnsifusion.mrml.volumes import SceneImage, loadVolume, sceneImage, volumeFromNode
from cnsifusion.roi.region_io import read_regions
from cnsifusion.roi.regions import RegionSet

CHECK, PROPOSE, ANALYZE = "check", "propose", "analyze"
_TIME_LIMIT_SECONDS = 1800.0


@dataclass
class Job:
    """A running job of one case: its kind, its folder and the last progress event of the engine."""

    kind: str
    case: CaseState
    folder: Path
    progress: dict = field(default_factory=dict)
    cancelled: bool = False
    analyzedRegions: str = ""


class Session:
    """The clicks of one reader on one scene. ``case`` is the patient in front, None before an image is chosen."""

    def __init__(self, scene, onChange: Callable[[], None] = lambda: None):
        self.scene, self.onChange = scene, onChange
        #: How the face makes one undo step of a change of the case's regions as a whole, and lets a job's outcome in.
        self.asUndoStep: Callable[[Callable[[], None]], None] = lambda change: change()
        self.showing: Callable[[Callable[[], None]], None] = lambda change: change()
        self.engine = child.Engine()
        self.case = CaseState.active(scene)
        self.job: Job | None = None
        self._afterCheck: Callable[[], None] | None = None
        self._next: Callable[[], None] | None = None
        #: The report of each case (by its node), in a folder with the result's other files.
        self.reports: dict[str, Path] = {}
        self._root = temporary_folder()
        self.background = Background()
        self.sources = Sources()
        self.batch = Batch(self.newFolder, lambda: self.onChange())
        self.exports = Exports(self)
        self.beside = Beside(self)
        self.models = Models(self.background.later, lambda: self.onChange())
        self._observers = [
            scene.AddObserver(vtkMRMLScene.StartCloseEvent, self._onSceneClose),
            scene.AddObserver(vtkMRMLScene.EndImportEvent, self._onSceneImport),
        ]

    # Step 1: image

    def openImage(self, path: str | Path):
        """Load an image file or DICOM folder and make it the case in front; returns the volume node."""
        node = loadVolume(self.scene, Path(path))
        self.sources.remember(node, Path(path))
        self.chooseVolume(node)
        return node

    def chooseVolume(self, volumeNode) -> None:
        """Make the volume's case the one in front, checking the image when it is new; None shows no case."""
        self._next = None
        if self.job is not None and (volumeNode is None or self.job.case.volume is not volumeNode):
            self.cancel()
            self._afterCheck = None
        if volumeNode is None:
            self.case = None
        else:
            volume = volumeFromNode(volumeNode)
            self.case = CaseState.forVolume(self.scene, volumeNode)
            self.case.activate()
            if not self.case.check:
                self.case.check = check_image(volume).to_dict()
                if self.case.check["verdict"] != "refuse":
                    self._checkWhenFree()
            self.engine.warm()
        self.onChange()

    def _checkWhenFree(self) -> None:
        """Check the image in front; where the cancelled job of the former image has not ended yet, right after it."""
        if self.job is not None:
            self._next = self._checkWhenFree
        elif self.front is not None:
            self.start(CHECK, self.sources.request(self.case.volume, "check"), self._onChecked)

    def discard(self, case: CaseState) -> None:
        """Take a case that is not in front out of the scene, with the files of its analysis."""
        if case.scene is None or (self.case is not None and case.node is self.case.node):
            return
        report = self.reports.pop(case.node.GetID(), None)
        if report is not None:
            shutil.rmtree(report.parents[1], ignore_errors=True)
        self.sources.forget(case.volume, case.beside)
        case.remove()

    # Step 2: regions

    def propose(self) -> None:
        """Propose regions in the child process; they arrive in the case's segmentation."""
        if self._waitForCheck(self.propose):
            return
        request = self.sources.request(self._required().volume, "propose", out="rois.seg.nrrd")
        self.start(PROPOSE, request, self._onProposed)

    def regions(self) -> RegionSet:
        """The case's regions as the engine sees them."""
        case = self._required()
        if case.segmentation is None:
            raise BadInput("There are no regions yet; propose them, draw them or bring in a file.")
        return regionsFromNode(case.segmentation, case.volume)

    def segmentation(self):
        """The case's segmentation node, made when there is none."""
        case = self._required()
        if case.segmentation is None:
            case.segmentation = addSegmentationNode(self.scene, case.volume)
        return case.segmentation

    def importRegions(self, path: str | Path, names: dict | None = None) -> None:
        """Bring in a region file; ``names`` maps its names or values to the protocol's (None: left out)."""
        case = self._required()
        regions = read_regions(Path(path), volumeFromNode(case.volume), names=names)
        former = self._replace(regions)
        self.say(case, "info", f"Brought in: {', '.join(regions.masks) or 'no region'}. {former}".strip())

    def assignSegment(self, segmentId: str, name: str) -> None:
        """Give an existing segment of the case's segmentation a protocol name."""
        assignSegment(self.segmentation(), segmentId, name)
        self.onChange()

    # Step 3: model

    def bundleFolder(self) -> Path:
        """The chosen bundle's folder; the demonstration bundle when none was chosen."""
        chosen = self.case.bundle if self.case else ""
        return Path(chosen) if chosen else default_bundle_dir()

    def chooseBundle(self, folder: str | Path | None) -> None:
        """Choose a bundle folder (None: the demonstration bundle). Raises BundleError when it cannot be used."""
        if folder:
            load_bundle(folder)
        self._required().bundle = str(folder) if folder else ""
        self.models.forget()
        self.onChange()

    def bundle(self) -> BundleSettings | CNSIFusionError | None:
        """Settings of the chosen bundle, why it cannot be used, or None while it is being read (in a thread)."""
        return self.models.get(self.bundleFolder())

    # Step 4: analyze

    def analyze(self) -> None:
        """Run the analysis in the child process; the result arrives in the case's nodes."""
        if self._waitForCheck(self.analyze):
            return
        case = self._required()
        mark = fingerprint(case.segmentation) if case.segmentation is not None else ""
        regions = regionsReader(case.segmentation, case.volume) if mark else None  # nothing drawn: the engine proposes
        request = self.sources.request(case.volume, "analyze", regions, "analysis", self.bundleFolder())
        self.start(ANALYZE, request, self._onAnalyzed)
        self.job.analyzedRegions = mark

    def cancel(self) -> None:
        """Stop the running job; it ends as "cancelled" with a later poll."""
        if self.job is not None:
            self.job.cancelled = True
            self.engine.cancel()

    @property
    def busy(self) -> bool:
        """Whether a job runs that the reader asked for (the check of a new image runs by itself)."""
        return self.job is not None and (self.job.kind != CHECK or self._afterCheck is not None)

    # Step 5: result

    def reportFile(self) -> Path | None:
        """The report of the case's result, None where there is none (yet)."""
        path = self.reports.get(self.case.node.GetID()) if self.case and self.case.scene else None
        return path if path and path.exists() else None

    def poll(self) -> None:
        """Deliver what arrived since the last call."""
        if self.job is not None or self.background.busy:
            time.sleep(0.001)  # inside Slicer the other threads run only while this one lets go of the interpreter
        self.engine.poll()
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

    @property
    def front(self) -> CaseState | None:
        """The case in front while it is in the scene with its image, else None."""
        case = self.case
        return case if case is not None and case.scene is not None and case.volume is not None else None

    # Inside

    def _required(self) -> CaseState:
        if (case := self.front) is None:
            raise BadInput("Choose the axial T2 image first.")
        return case

    def _waitForCheck(self, action: Callable[[], None]) -> bool:
        """Put an action off until the running check of a new image has ended; False when there is none."""
        if self.job is None or self.job.kind != CHECK or self._afterCheck is not None:
            return False
        self._afterCheck = action
        self.onChange()
        return True

    def start(self, kind: str, prepare: Callable[[Path], dict], onDone: Callable[[child.End], None]) -> None:
        """Run a job on the case in front: ``prepare`` makes its request in a thread, given the job's own folder.

        ``onDone`` gets the end and calls :meth:`end`. Raises BadInput when a job is running.
        """
        case = self._required()
        if self.job is not None:
            raise BadInput("Another job is running; wait for it or cancel it.")
        folder = self.newFolder()
        job = self.job = Job(kind, case, folder, {"name": "Hand over the image", "fraction": 0.0})
        case.message = {}

        def submit(ready: Future) -> None:
            if self.job is not job:
                return
            if job.cancelled:
                self.end(child.End(child.CANCELLED, "Cancelled."))
            elif error := ready.exception():
                self._endWithError(error)
            else:
                self.engine.submit(ready.result(), self._onProgress, onDone, _TIME_LIMIT_SECONDS)

        self.background.later(lambda: prepare(folder), submit)
        self.onChange()

    def _onProgress(self, event: dict) -> None:
        self.job.progress = event
        self.onChange()

    def _onChecked(self, end: child.End) -> None:
        if end.state == child.DONE and self.job.case.scene is not None:
            self.job.case.check = end.event["check"]
        self.end(end)

    def _onProposed(self, end: child.End) -> None:
        job = self.job
        if end.state != child.DONE:
            return self.end(end)
        if job.case.volume is None:
            return self.end(child.End(child.FAILED, "The volume was deleted while its regions were being proposed."))
        volume = volumeFromNode(job.case.volume)
        return self._readThen(end, lambda: read_regions(job.folder / "rois.seg.nrrd", volume), self._showProposal)

    def _onAnalyzed(self, end: child.End) -> None:
        if end.state != child.DONE:
            return self.end(end)
        folder = Path(end.event["result"]).parent
        job = self.job
        proposed = not job.analyzedRegions and job.case.volume is not None
        volume = volumeFromNode(job.case.volume) if proposed else None

        def read() -> tuple[str, list[SceneImage | None], RegionSet | None]:
            files = [folder / name for name in ("heatmap.nii.gz", "logmap.nii.gz")]
            text = (folder / "result.json").read_text("utf-8")
            regions = read_regions(folder / "rois.seg.nrrd", volume) if volume is not None else None
            return text, [sceneImage(read_written(f)) if f.exists() else None for f in files], regions

        return self._readThen(end, read, self._showAnalysis)

    def _readThen(self, end: child.End, read: Callable, show: Callable) -> None:
        job = self.job

        def then(ready: Future) -> None:
            if self.job is not job:
                return
            if job.cancelled:
                self.end(child.End(child.CANCELLED, "Cancelled."))
            elif job.case.scene is None or job.case.volume is None:
                self.end(child.End(child.FAILED, "The image was removed while the job ran; its result was dropped."))
            elif error := ready.exception():
                self._endWithError(error)
            else:
                self.showing(lambda: show(job, ready.result()))
                self.end(end)

        self.background.later(read, then)

    def _showProposal(self, job: Job, regions: RegionSet) -> None:
        if former := self._replace(regions):
            self.say(job.case, "info", former)

    def _replace(self, regions: RegionSet) -> str:
        """Show the regions instead of those of the same names; says how these come back, "" where there were none."""
        case, node = self._required(), self.segmentation()
        drawn = fingerprint(node)
        self.asUndoStep(lambda: showRegions(regions, node, case.volume))
        return "Undo, among the tools, brings the former regions back." if drawn else ""

    def _showAnalysis(self, job: Job, files: tuple[str, list[SceneImage | None], RegionSet | None]) -> None:
        text, maps, regions = files
        if regions is not None:
            self._replace(regions)
        showResult(job.case, text, *maps)
        self.reports[job.case.node.GetID()] = job.folder / "analysis" / "report.html"
        job.case.analyzedRegions = job.analyzedRegions or fingerprint(job.case.segmentation)

    def _endWithError(self, error: BaseException) -> None:
        self.end(child.End(child.FAILED, str(failure(error))))
        raise_unexpected(error)

    def end(self, end: child.End, words: str = "") -> None:
        """Close the running job; ``words`` are for the reader when all went well."""
        job, self.job = self.job, None
        waiting, self._next = self._next, None
        following = self._afterCheck
        if waiting is None:
            self._afterCheck = None
        if job.case.scene is not None and end.state != child.DONE:
            level = "info" if end.state == child.CANCELLED else "error"
            job.case.message = {"level": level, "text": end.message, "state": end.state}
        elif job.case.scene is not None and words:
            job.case.message = {"level": "info", "text": words}
        if job.folder not in [report.parents[1] for report in self.reports.values()]:
            shutil.rmtree(job.folder, ignore_errors=True)
        self.engine.warm()
        if waiting is not None:
            waiting()
        elif following is not None and end.state == child.DONE and not job.cancelled:
            following()
        self.onChange()

    def say(self, case: CaseState | None, level: str, text: str) -> None:
        """Tell the reader something about a case."""
        if case is not None and case.scene is not None:
            case.message = {"level": level, "text": text}
        self.onChange()

    def _abandon(self) -> None:
        self.engine.close()
        self.job = self._afterCheck = self._next = None
        self.background.drop()
        self.models.dropPending()

    def _onSceneClose(self, *_) -> None:
        self._abandon()
        self.case = None
        self.sources.forgetAll()  # the next scene uses the same node ids for other patients
        self.reports.clear()
        self.exports.forget()
        self.onChange()

    def _onSceneImport(self, *_) -> None:
        self.case = CaseState.active(self.scene)
        self.onChange()
