"""The state of one patient's case: a plain script node with typed parameters and references, saved with the scene."""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar, overload

from cnsifusion.errors import BadInput

MODULE_NAME = "CNSIFusion"
SCHEMA_VERSION = 1
NEWER = "The scene was saved by a newer CNSIFusion; update the extension to open its case."

_SCHEMA_PARAMETER, _ACTIVE_PARAMETER = "schemaVersion", "active"
T = TypeVar("T")


class Parameter(Generic[T]):
    """A typed value kept as JSON in the case's node. ``None`` is allowed where the default is None."""

    def __init__(self, default: T, *types: type):
        self._default = default
        self._types = types or (type(default),)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, case: None, owner: type) -> Parameter[T]: ...
    @overload
    def __get__(self, case: CaseState, owner: type) -> T: ...
    def __get__(self, case, owner):
        if case is None:
            return self
        text = case.node.GetParameter(self._name)
        if not text:
            return json.loads(json.dumps(self._default))
        value = json.loads(text)
        return self._checked(value)

    def __set__(self, case: CaseState, value: T) -> None:
        text = json.dumps(self._checked(value), sort_keys=True)
        if case.node.GetParameter(self._name) != text:
            case.node.SetParameter(self._name, text)

    def _checked(self, value: Any) -> Any:
        if value is None and self._default is None:
            return value
        if float in self._types and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, self._types) or (isinstance(value, bool) and bool not in self._types):
            raise BadInput(f"The scene's CNSIFusion setting “{self._name}” has a value of the wrong kind.")
        return value


class Reference:
    """A node reference of the case; None where the node is not (or no longer) in the scene."""

    def __init__(self, role: str):
        self._role = role

    def __get__(self, case: CaseState | None, owner: type):
        return self if case is None else case.node.GetNodeReference(self._role)

    def __set__(self, case: CaseState, node) -> None:
        case.node.SetNodeReferenceID(self._role, node.GetID() if node is not None else None)


class CaseState:
    """One patient: an image, its regions, the chosen model and the result. Two patients are two of these.

    Get one with :meth:`forVolume` or :meth:`active`. Observe ``node`` for changes.
    """

    volume = Reference("volume")
    segmentation = Reference("segmentation")
    #: The network's map, and that of the chosen LoG features.
    heatMap = Reference("heatMap")
    logMap = Reference("logMap")
    resultText = Reference("result")
    instanceTable = Reference("instanceTable")
    contributionTable = Reference("contributionTable")
    #: Another series of the patient, chosen by the reader to stand beside the image.
    beside = Reference("beside")

    #: The input check's findings: {"verdict": ..., "findings": [{"code", "level", "text"}]}; empty before the check.
    check = Parameter[dict]({})
    #: Fingerprint of the image that the check looked at; "" in scenes from before it was kept.
    checkedImage = Parameter[str]("")
    #: Bundle folder; "" is the demonstration bundle that ships.
    bundle = Parameter[str]("")
    #: Fingerprint of the regions that the result was computed from.
    analyzedRegions = Parameter[str]("")
    #: The same of the image; "" in scenes from before it was kept.
    analyzedImage = Parameter[str]("")
    #: The last sentence for the user and its level: {"text", "level": "info" | "warn" | "error"}.
    message = Parameter[dict]({})
    #: Pre-test probability (0-1) of this setting, None while the reader has not given one.
    pretest = Parameter[Any](None, float)
    #: Key of the chosen slice in the result's list, "" for none.
    selectedInstance = Parameter[str]("")
    heatMapOpacity = Parameter[float](0.5)
    heatMapShown = Parameter[bool](True)
    #: Which of the two maps lies over the image: "logMap" | "heatMap".
    chosenMap = Parameter[str]("logMap")
    #: The composite nodes of the views that it was last taken out of: there it comes back.
    mapViews = Parameter[list]([])
    besideHidden = Parameter[bool](False)
    #: The tools: which one, in which segment, its sliders, add or erase, slices beside the clicked one, leak
    #: guard, both sides.
    tool = Parameter[str]("none")
    segmentName = Parameter[str]("CSF ventricles")
    tolerance = Parameter[float](0.5)
    sensitivity = Parameter[float](0.5)
    erase = Parameter[bool](False)
    neighbours = Parameter[int](0)
    leakGuard = Parameter[bool](True)
    bothSides = Parameter[bool](True)

    def __init__(self, node):
        if isNewer(node):
            raise BadInput(NEWER)
        self.node = node

    @classmethod
    def create(cls, scene, volumeNode=None) -> CaseState:
        """A new case in the scene."""
        name = f"CNSIFusion {volumeNode.GetName()}" if volumeNode else "CNSIFusion"
        node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", name)
        node.SetAttribute("ModuleName", MODULE_NAME)
        node.SetHideFromEditors(True)
        node.SetParameter(_SCHEMA_PARAMETER, json.dumps(SCHEMA_VERSION))
        case = cls(node)
        case.volume = volumeNode
        return case

    @classmethod
    def all(cls, scene) -> list[CaseState]:
        """Every case of the scene, in the scene's order; none of a newer version."""
        return [cls(node) for node in caseNodes(scene) if not isNewer(node)]

    @classmethod
    def forVolume(cls, scene, volumeNode) -> CaseState:
        """The volume's case, made when there is none."""
        existing = (case for case in cls.all(scene) if case.volume is volumeNode)
        return next(existing, None) or cls.create(scene, volumeNode)

    @classmethod
    def active(cls, scene) -> CaseState | None:
        """The case the panel last stood on, None when there is none."""
        cases = cls.all(scene)
        return next((case for case in cases if case.node.GetParameter(_ACTIVE_PARAMETER) == "true"), None)

    def activate(self) -> None:
        """Make this the case the panel stands on."""
        for case in CaseState.all(self.node.GetScene()):
            case.node.SetParameter(_ACTIVE_PARAMETER, "true" if case.node is self.node else "false")

    @property
    def scene(self):
        """The scene, None once the case was removed from it."""
        return self.node.GetScene()

    @property
    def shownMap(self):
        """The node of the chosen map, of the other where the result has only that one; None without a result."""
        first, second = (self.logMap, self.heatMap) if self.chosenMap == "logMap" else (self.heatMap, self.logMap)
        return first if first is not None else second

    def remove(self) -> None:
        """Take the whole case out of the scene: image, the series beside it, regions, result and the case itself."""
        scene = self.scene
        self.removeResult()
        inUse = [case.volume for case in CaseState.all(scene)]
        for node in (self.segmentation, self.volume, None if self.beside in inUse else self.beside, self.node):
            removeNode(scene, node)

    def removeResult(self) -> None:
        """Take the result's nodes out of the scene."""
        for name in ("heatMap", "logMap", "resultText", "instanceTable", "contributionTable"):
            removeNode(self.scene, getattr(self, name))
        self.analyzedRegions = self.analyzedImage = self.selectedInstance = ""


def caseNodes(scene) -> list:
    """The nodes of all cases of the scene, those of a newer version too."""
    nodes = nodesByClass(scene, "vtkMRMLScriptedModuleNode")
    return [node for node in nodes if node.GetAttribute("ModuleName") == MODULE_NAME]


def isNewer(node) -> bool:
    """Whether a case's node was made by a newer version, whose parameters may mean something else."""
    return json.loads(node.GetParameter(_SCHEMA_PARAMETER) or "0") > SCHEMA_VERSION


def nodesByClass(scene, className: str) -> list:
    """The scene's nodes of this class, in the scene's order."""
    nodes = scene.GetNodesByClass(className)
    nodes.UnRegister(None)
    return [nodes.GetItemAsObject(i) for i in range(nodes.GetNumberOfItems())]


def removeNode(scene, node) -> None:
    """Remove a node with the display and storage nodes that are its own."""
    if node is None:
        return
    own = []
    if node.IsA("vtkMRMLDisplayableNode"):
        own += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        own += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for other in own:
        if other is not None and other.GetScene() is scene:
            scene.RemoveNode(other)
