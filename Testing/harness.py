"""A headless Slicer for tests and scripts: a scene with its application logic on slicer-core, no Qt, no display.

``HeadlessSlicer`` takes the place of the desktop application: scene, colour, volume and segmentation logic, scene
files. See Resources/Docs/harness.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from zipfile import ZipFile

import slicer


class HeadlessSlicer:
    """One scene with Slicer's application logic. Several can live in one process, one after the other."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.appLogic = slicer.vtkSlicerApplicationLogic()
        self.appLogic.SetMRMLScene(self.scene)
        self.appLogic.GetColorLogic().SetMRMLScene(self.scene)
        self.appLogic.GetColorLogic().AddDefaultColorNodes()
        self.logics = {
            name: self._moduleLogic(name, logic)
            for name, logic in {
                "Colors": slicer.vtkMRMLColorLogic(),
                "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic(),
                "Volumes": slicer.vtkSlicerVolumesLogic(),
                "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
            }.items()
        }

    def _moduleLogic(self, name: str, logic):
        logic.SetMRMLScene(self.scene)
        logic.SetMRMLApplicationLogic(self.appLogic)
        self.appLogic.SetModuleLogic(name, logic)
        return logic

    def loadVolume(self, path: Path):
        """A volume node read by Slicer itself (not by the engine)."""
        node = self.logics["Volumes"].AddArchetypeVolume(str(path), path.name.split(".")[0])
        if node is None:
            raise RuntimeError(f"Slicer cannot read {path.name}")
        return node

    def saveScene(self, path: Path) -> None:
        """Write the scene with all its data to one .mrb file."""
        self.scene.SetURL(str(path))
        self.scene.SetRootDirectory(str(path.parent))
        if not self.scene.WriteToMRB(str(path)):
            raise RuntimeError(f"the scene could not be written to {path.name}")

    def openScene(self, path: Path) -> None:
        """Replace the scene's content by a .mrb file's."""
        with TemporaryDirectory() as folder:
            with ZipFile(path) as archive:
                archive.extractall(folder)
            self.scene.Clear(False)
            self.scene.SetURL(str(next(Path(folder).rglob("*.mrml"))))
            if not self.scene.Import():
                raise RuntimeError(f"{path.name} could not be opened")


def waitFor(condition: Callable[[], object], poll: Callable[[], None], seconds: float = 120.0) -> None:
    """Call ``poll`` 50 times a second, as a face's timer does, until ``condition()``; TimeoutError after that."""
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        poll()
        sleep(0.02)
