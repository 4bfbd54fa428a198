"""The files of a result that came with a saved scene: report, key images and regions, made anew from what it holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnsifusion.analysis.result import parse_result
from cnsifusion.errors import BadInput, CNSIFusionError, failure, raise_unexpected
from cnsifusion.imaging import write_volume
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.segmentation import fingerprint, regionsReader
from cnsifusion.mrml.volumes import volumeFromNode
from cnsifusion.reporting import draw_report
from cnsifusion.roi.region_io import write_regions
from cnsifusion.roi.statistics import region_statistics

if TYPE_CHECKING:
    from cnsifusion.mrml.session import Session

_COMPARED = ("volume_ml", "mean", "sd")
_RUNNING = "The report is being made from the saved scene."
#: A case's node, and the states of its result and regions for which the files were tried to be made.
_Key = tuple[str, int, int]


class Restoring:
    """Makes the files of the case in front once it has a result and no files; call :meth:`poll` often."""

    def __init__(self, session: Session):
        self._session = session
        self._problems: dict[_Key, str] = {}

    def problem(self) -> str:
        """Why there is no report of the case in front, or not yet; "" when there is one."""
        if self._session.reportFile():
            return ""
        return self._problems.get(_key(self._session.case), "") or _RUNNING

    def poll(self) -> None:
        """Begin where something is to be made and has not been tried yet."""
        session, case = self._session, self._session.case
        if session.job is not None or _key(case) in self._problems:
            return
        if case is None or case.scene is None or case.resultText is None or session.reportFile():
            return
        key = _key(case)
        self._problems[key] = _RUNNING
        folder = session.newFolder() / "analysis"
        try:
            work = _writer(case, folder)
        except CNSIFusionError as error:
            self._problems[key] = str(error)
            session.onChange()
            return
        session.background.later(work, lambda ready: self._onWritten(ready, key, case, folder))

    def forget(self) -> None:
        """The scene was closed: its node ids will name other cases."""
        self._problems.clear()

    def _onWritten(self, ready: Future, key: _Key, case: CaseState, folder: Path) -> None:
        error = ready.exception()
        if error is not None:
            self._problems[key] = str(failure(error))
        elif case.scene is not None and _key(case)[:2] == key[:2] and key[0] not in self._session.reports:
            self._session.reports[key[0]] = folder / "report.html"
        self._session.onChange()
        raise_unexpected(error)


def _key(case: CaseState | None) -> _Key:
    if case is None or case.scene is None or case.resultText is None:
        return ("", 0, 0)
    drawn = case.segmentation.GetSegmentation().GetMTime() if case.segmentation is not None else 0
    return (case.node.GetID(), case.resultText.GetMTime(), drawn)


def _writer(case: CaseState, folder: Path) -> Callable[[], None]:
    """Takes what is needed out of the scene; what it returns writes the files and may run in another thread.

    Raises BadInput where the scene no longer holds what the result was made from; so does what it returns.
    """
    result = parse_result(case.resultText.GetText())
    if case.volume is None:
        raise BadInput("The image of the result is gone from the scene: open it and analyze again.")
    if case.segmentation is None or fingerprint(case.segmentation) != case.analyzedRegions:
        raise BadInput("The regions are not those of the saved result any more: analyze again for a report.")
    nodes = {"logmap": case.logMap, "heatmap": case.heatMap}
    if any(nodes[key] is None for key, _, _ in result.maps):
        raise BadInput("A map of the saved result is gone from the scene: analyze again for a report.")
    volume, regions = volumeFromNode(case.volume), regionsReader(case.segmentation, case.volume)
    maps = {key: volumeFromNode(nodes[key]) for key, _, _ in result.maps}

    def write() -> None:
        drawn, names = regions(), {"regions": "rois.seg.nrrd"}
        if not _same(region_statistics(volume, drawn), result.statistics):
            raise BadInput("The image is not the one the saved result was made from: analyze again for a report.")
        folder.mkdir(parents=True)
        write_regions(drawn, folder / names["regions"])
        for key, heat in maps.items():
            names[key] = f"{key}.nii.gz"
            write_volume(heat, folder / names[key])
        names |= draw_report(result, volume, drawn, maps, folder)
        replace(result, files=names).write(folder / "result.json")

    return write


def _same(found: dict, stored: dict) -> bool:
    """Whether volume and brightness of every segment are those of the result: the image itself is not in it."""
    pairs = [(found["segments"].get(name), row) for name, row in stored.get("segments", {}).items()]
    return bool(pairs) and all(
        one is not None and all(math.isclose(one[key], row[key], rel_tol=1e-4, abs_tol=0.002) for key in _COMPARED)
        for one, row in pairs
    )
