"""``cnsifusion app``: the five steps in a browser on this computer."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sys
import tempfile
import webbrowser
from dataclasses import asdict
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from aiohttp import web as aiohttp_web
from trame.app import asynchronous, get_server
from vtkmodules.vtkCommonCore import vtkCommand

from cnsifusion.errors import BadInput, CNSIFusionError, log_unexpected
from cnsifusion.imaging import temporary_folder
from cnsifusion.mrml.importing import FileLabel, assignment, labelsToAssign
from cnsifusion.mrml.panel import panelView
from cnsifusion.mrml.results import Outlines
from cnsifusion.mrml.segmentation import fingerprint, isHandmade, keepPartsHidden, regionsReader
from cnsifusion.mrml.session import Session
from cnsifusion.roi.region_io import write_regions
from cnsifusion.web.locks import HOST, Locks
from cnsifusion.web.page import OF_PATIENT, buildPage, cardPage, fillView
from cnsifusion.web.tools import Tools
from cnsifusion.web.uploads import boundMessages, writeUpload
from cnsifusion.web.viewer import AXIAL, Viewer

_POLL_SECONDS = 0.05


def run(image: Path | None = None, port: int = 0, open_browser: bool = True) -> None:
    """Serve the browser face on 127.0.0.1 until interrupted; prints its address (the first line of stdout).

    Raises BadInput when ``image`` cannot be used or the port is taken.
    """
    boundMessages()
    # All temporary files of this process and its libraries in one folder, which the next start removes after a kill.
    folder = temporary_folder()
    tempfile.tempdir = str(folder)
    try:
        _serve(folder, image, port, open_browser)
    finally:
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)


def _serve(folder: Path, image: Path | None, port: int, open_browser: bool) -> None:
    locks = Locks()
    server = get_server("cnsifusion", client_type="vue3")
    app = BrowserApp(server)
    keyFile = locks.writeKeyFile(folder)
    server.cli.set_defaults(authKeyFile=str(keyFile))

    def ready(**_) -> None:
        keyFile.unlink(missing_ok=True)
        address = locks.opened(server.port)
        print(address, flush=True)
        if open_browser:
            webbrowser.open(locks.ticket())

    server.controller.on_server_ready.add(ready)
    server.controller.on_server_bind.add(locks.install)
    server.controller.on_server_bind.add(app.addRoutes)
    arguments, sys.argv = sys.argv, sys.argv[:1]  # trame reads options of its own from there
    try:
        if image is not None:
            app.session.openImage(image)
        server.start(port=port, host=HOST, open_browser=False, show_connection_info=False, timeout=0)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise BadInput(f"The port {port} cannot be used ({reason}); give another one, or 0.") from error
    finally:
        sys.argv = arguments
        app.session.close()


class BrowserApp:
    """One reader's session behind the page. Tabs of the same browser show the same state."""

    def __init__(self, server):
        self.server, self.state = server, server.state
        self.viewer = Viewer(server, fillView)
        self.session = Session(self.viewer.scene, onChange=self._markDirty)
        self.tools = Tools(self.viewer, self.session, self._markDirty)
        self._dirty = True
        self._shown: tuple = ()
        self._beside = ""
        self._outlines = Outlines()
        self._watched: list[tuple] = []
        self._message: dict = {}
        self._regionFile = Path()
        self._labels: list[FileLabel] = []
        #: Folders with files of the patient in front: what the browser sent and what was written for it.
        self._folders: list[Path] = []
        #: The image that waits for the answer whether unsaved regions may go, and the fingerprint of saved ones.
        self._waiting, self._saved = Path(), ""
        self._refresh()
        buildPage(server, self, self.viewer)
        for tag, view in self.viewer.views.items():
            view.modified.connect(lambda *_, tag=tag: self._onView(tag))
        self.viewer.views[AXIAL].modified.connect(lambda *_: self.tools.onMoved())
        server.controller.on_server_ready.add(lambda **_: asynchronous.create_task(self._work()))
        server.controller.on_client_connected.add(self.tools.onPage)
        self.state.change("report_patient")(self.namePatient)

    # Clicks

    def guarded(self, action, *arguments) -> None:
        """Do what a button says; an expected error becomes the page's message."""
        self._message = {}
        try:
            action(*arguments)
        except CNSIFusionError as error:
            self._say(str(error))
        self._markDirty()

    def closeMessage(self) -> None:
        """The reader has read what was said."""
        self._message = {}
        if self.session.case is not None:
            self.session.case.message = {}
        self._markDirty()

    def openPath(self, path: str) -> None:
        """Open the image whose path was typed."""
        self._ask(_typed(path, "an image file or of a DICOM folder, or choose a file"))

    def openUpload(self, files: list[dict] | None) -> None:
        """Open the image that the browser sent (one file, or the files of one DICOM series)."""
        self._ask(self._received(files))

    def _ask(self, path: Path) -> None:
        """Open the image; where that gives up regions that the reader made and did not save, only when told to."""
        self._waiting = path
        self.state.leave_open = self._isUnsaved()
        if not self.state.leave_open:
            self.openWaiting()

    def _isUnsaved(self) -> bool:
        """Whether the reader made or corrected regions that no file has as they stand."""
        case = self.session.front
        node = case.segmentation if case is not None else None
        return bool(node and isHandmade(node) and fingerprint(node) != self._saved)

    def openWaiting(self) -> None:
        """Open the image that was chosen last. Nothing of the former patient stays, on the page or on the disk."""
        former, path = self.session.case, self._waiting
        self.state.leave_open = False
        self.session.openImage(path)
        self._saved = self.state.beside_path = ""
        for name in OF_PATIENT:
            self.state[name] = False
        self.state.opened += 1
        self._refresh()  # views and tools leave the former image before it goes
        if former is not None:
            self.session.discard(former)
        for folder in [folder for folder in self._folders if folder not in (path, *path.parents)]:
            self._folders.remove(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def importUpload(self, files: list[dict] | None) -> None:
        """Bring in the region file that the browser sent; where its labels tell too little, ask about them first."""
        self._regionFile, case = self._received(files), self.session.case
        self._labels = labelsToAssign(self._regionFile, case.volume) if case and case.volume else []
        if not self._labels:
            self._import(self._regionFile)
        self.state.labels = [asdict(label) for label in self._labels]
        self.state.labels_open, self.state.labels_fault = bool(self._labels), ""

    def importAssigned(self, chosen: list[str]) -> None:
        """Bring in the region file with what was chosen for each of its labels; what is wrong is said in the dialog."""
        try:
            self._import(self._regionFile, assignment(self._labels, chosen))
        except BadInput as error:
            self.state.labels_fault = str(error)
        else:
            self.state.labels_open = False

    def _import(self, path: Path, names: dict | None = None) -> None:
        self.session.importRegions(path, names)
        self._saved = fingerprint(self.session.segmentation())

    def compareUpload(self, files: list[dict] | None) -> None:
        """Compare the case's regions with the file of another reader that the browser sent."""
        self.tools.compare(self._received(files))

    def _received(self, files: list[dict] | None) -> Path:
        """What the browser sent: a file, or the folder of several."""
        paths = writeUpload(files, self._newFolder())
        return paths[0] if len(paths) == 1 else paths[0].parent

    def _newFolder(self) -> Path:
        """A folder for files of the patient in front: it goes with them."""
        self._folders.append(self.session.newFolder())
        return self._folders[-1]

    def openBundle(self, path: str) -> None:
        """Choose the model bundle whose folder was typed; the demonstration where nothing was."""
        self.session.chooseBundle(_typed(path, "a bundle folder") if str(path or "").strip() else None)
        self.state.choosing = False

    def openBeside(self, path: str) -> None:
        """Show another series of this patient, whose path was typed."""
        self.session.beside.open(_typed(path, "the other series"))
        self.state.beside_open = False

    def startBatch(self, folder: str, results: str) -> None:
        """Analyze every image of the folder that was typed."""
        source, out = _typed(folder, "the folder of images"), _typed(results, "the folder for the results")
        self.session.batch.start(source, out, self.session.bundleFolder())

    def writeDicom(self, confirmed: bool) -> None:
        """Write the DICOM objects, for a download; a demonstration's score only when it was ticked."""
        self.session.exports.dicom(self._newFolder(), confirmed is True)
        self.state.dicom_open = self.state.dicom_confirm = False

    def showInstance(self, key: str) -> None:
        """Bring the views to one slice of the result."""
        view = panelView(self.session)
        for row in view.result.instances if view.result else []:
            if row.key == key:
                self.session.case.selectedInstance = key
                self.viewer.jumpTo(row.position)
        self._markDirty()

    def set(self, name: str, value: bool | float | str) -> None:
        """What lies over the image, by its name in the case: heatMapShown, heatMapOpacity (0-1), chosenMap."""
        if self.session.case is not None:
            setattr(self.session.case, name, value)
            self._markDirty()

    def setPretest(self, percent: str) -> None:
        """Take the pre-test probability (in %) that was typed; empty for none."""
        text = str(percent or "").replace(",", ".").replace("%", "").strip()
        try:
            self.session.case.pretest = float(text) / 100 if text else None
        except ValueError as error:
            raise BadInput("The pre-test probability must be a number between 0 and 100.") from error

    def namePatient(self, report_patient: str | None, **_) -> None:
        """Take whom the PDF shall name, with every letter: the link to the PDF does not wait for the field's end."""
        self.session.exports.patient = str(report_patient or "")

    # Server

    def addRoutes(self, wslinkServer) -> None:
        """Regions, report and DICOM objects of the case in front, for a new tab or a download."""
        wslinkServer.app.router.add_get("/regions.seg.nrrd", self._regions)
        wslinkServer.app.router.add_get("/report", self._report)
        wslinkServer.app.router.add_get("/report.pdf", self._reportPdf)
        wslinkServer.app.router.add_get("/dicom.zip", self._dicomZip)

    async def _regions(self, _request) -> aiohttp_web.StreamResponse:
        case, path = self.session.front, self._newFolder() / "regions.seg.nrrd"
        if case is None or case.segmentation is None:
            return aiohttp_web.Response(status=404, text="There are no regions yet: propose or draw them first.")
        try:
            read, mark = regionsReader(case.segmentation, case.volume), fingerprint(case.segmentation)
            await asyncio.to_thread(lambda: write_regions(read(), path))
        except CNSIFusionError as error:
            return aiohttp_web.Response(status=404, text=str(error))
        if case is self.session.front:
            self._saved = mark
            self._markDirty()
        return aiohttp_web.FileResponse(path, headers=_download("cnsifusion-regions.seg.nrrd"))

    async def _report(self, _request) -> aiohttp_web.StreamResponse:
        path = self.session.reportFile()
        if path is None:
            return aiohttp_web.Response(status=404, text="There is no report: analyze first.")
        return aiohttp_web.FileResponse(path)

    async def _reportPdf(self, _request) -> aiohttp_web.StreamResponse:
        path = self._newFolder() / "report.pdf"
        try:
            await asyncio.wrap_future(self.session.exports.report(path))
        except CNSIFusionError as error:
            return aiohttp_web.Response(status=404, text=str(error))
        return aiohttp_web.FileResponse(path, headers=_download("cnsifusion-report.pdf"))

    async def _dicomZip(self, _request) -> aiohttp_web.StreamResponse:
        folder = self.session.exports.dicomFolder()
        if folder is None:
            return aiohttp_web.Response(status=404, text="No DICOM objects were written: press DICOM… first.")
        archive = io.BytesIO()
        with ZipFile(archive, "w", ZIP_DEFLATED) as writer:
            for path in sorted(folder.glob("*.dcm")):
                writer.write(path, path.name)
        return aiohttp_web.Response(body=archive.getvalue(), headers=_download("cnsifusion-dicom.zip"))

    async def _work(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_forgiveClosedTabs)
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                self.session.poll()
                await asyncio.sleep(0)  # others may be answered between taking a result in and drawing it
                if self._dirty:
                    with self.state:
                        self._refresh()
            except Exception as error:  # noqa: BLE001  one fault must not leave the reader with a dead page
                log_unexpected(error, "a turn of the page")

    # Drawing

    def _markDirty(self) -> None:
        self._dirty = True

    def _say(self, text: str) -> None:
        self._message = {"text": text, "level": "warn"}
        self._markDirty()

    def _refresh(self) -> None:
        self._dirty = False
        case = self.session.case
        volume = case.volume if case and case.scene else None
        segmentation = case.segmentation if volume else None
        heat = case.shownMap if volume else None
        nodes = tuple(node.GetID() if node else "" for node in (volume, segmentation))
        if nodes != self._shown:
            if nodes[:1] != self._shown[:1]:
                self.viewer.show(volume)
                self.state.image_name = self._imageName(volume)
            self._shown = nodes
            self._watch(segmentation)
            self.tools.setCase(case if volume else None)
        beside = self.session.beside.shown()
        if (beside.GetID() if beside else "") != self._beside:
            self._beside = beside.GetID() if beside else ""
            self.viewer.showBeside(beside)
        view = panelView(self.session)
        self.viewer.showHeat(heat, view.mapInView, case.heatMapOpacity if case else 0.0)
        if case and volume:
            self._outlines.follow(case, view.mapInView)
        self.state.dicom_ready = self.session.exports.dicomFolder() is not None
        self.state.dicom_demonstration = self.session.exports.needsConfirmation()
        self.state.panel = {**asdict(view), **({"message": self._message} if self._message else {})}
        self.state.unsaved = self._isUnsaved()
        self.state.card = cardPage(view.card.text) if view.card else ""
        self.state.tools = self.tools.stateForPage()
        self.state.heat = {"shown": not case or case.heatMapShown, "opacity": case.heatMapOpacity if case else 0.5}
        self.state.pretest = "" if not case or case.pretest is None else f"{case.pretest * 100:g}"
        self.state.report_patient = self.session.exports.patient
        self.state.selected = case.selectedInstance if case else ""
        for tag in self.viewer.views:
            self._onView(tag)

    def _imageName(self, volume) -> str:
        """Which image is open; of one that the browser sent without the folder that is our own."""
        name = self.session.sources.name(volume) if volume else ""
        ours = [f"{folder.name}/" for folder in self._folders if name.startswith(f"{folder.name}/")]
        return name.removeprefix(ours[0]) if ours else name

    def _watch(self, segmentationNode) -> None:
        for watched, tag in self._watched:
            watched.RemoveObserver(tag)
        self._watched = []
        if segmentationNode is not None:
            changed = segmentationNode.AddObserver(vtkCommand.ModifiedEvent, lambda *_: self._markDirty())
            hidden = keepPartsHidden(segmentationNode)
            self._watched = [(segmentationNode, changed), (segmentationNode.GetSegmentation(), hidden)]

    def _onView(self, tag: str) -> None:
        case = self.session.front
        if case is None:
            self.state[f"slice_{tag}"], self.state[f"edges_{tag}"] = "", {}
            return
        index, count = self.viewer.sliceOf(tag, case.volume)
        with self.state:
            self.state[f"edges_{tag}"] = self.viewer.edgeLetters(tag)
            self.state[f"slice_{tag}"] = f"{index + 1}/{count}"


def _typed(text: object, what: str) -> Path:
    """The path that was typed into a field of the page."""
    path = str(text or "").strip().strip('"')
    if not path:
        raise BadInput(f"Type the path of {what}.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BadInput("The path begins with a user this computer does not know; type it from the root on.") from error


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _forgiveClosedTabs(loop: asyncio.AbstractEventLoop, context: dict) -> None:
    """A tab that was closed while a picture was on its way to it is no error."""
    if not isinstance(context.get("exception"), ConnectionResetError):
        loop.default_exception_handler(context)
