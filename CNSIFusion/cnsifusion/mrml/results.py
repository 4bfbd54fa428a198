"""A PatientResult in the scene: its JSON in a text node, tables people can copy, and its maps as overlays."""

from __future__ import annotations

from functools import lru_cache

from vtk import vtkDoubleArray, vtkIntArray, vtkStringArray

from cnsifusion.analysis.result import PatientResult, parse_result
from cnsifusion.mrml.case import CaseState, removeNode
from cnsifusion.mrml.volumes import SceneImage, addImageNode, setImage

#: Slicer's built-in black-red-yellow-white map: brightness alone carries the order, so colour-blind readers see it too.
HEAT_COLORS = "vtkMRMLColorTableNodeIron"
#: Values below are not drawn over the image.
_HEAT_FLOOR = 0.1


def showResult(case: CaseState, resultText: str, heat: SceneImage | None, log: SceneImage | None = None) -> None:
    """Put a result (the text of result.json) and its maps into the scene, in place of the case's former result.

    ``heat`` is the network's map, ``log`` that of the chosen LoG features. Nodes of the former result are used again:
    taking a map out of the views and putting another one in takes ten times as long as changing its voxels.

    Raises BadInput when the text is not a result.
    """
    result = _parsed(resultText)
    name = case.volume.GetName()
    case.analyzedRegions = case.analyzedImage = case.selectedInstance = ""
    textNode = _node(case, "resultText", "vtkMRMLTextNode", f"{name} result")
    textNode.SetText(resultText)
    textNode.SetAttribute("CNSIFusion.Demonstration", str(result.demonstration))
    _fill(_node(case, "instanceTable", "vtkMRMLTableNode", f"{name} slices"), _instanceColumns(result))
    _fill(_node(case, "contributionTable", "vtkMRMLTableNode", f"{name} contributions"), _contributionColumns(result))
    _showMap(case, "heatMap", f"{name} heat map", heat)
    _showMap(case, "logMap", f"{name} LoG map", log)


def resultOf(case: CaseState) -> PatientResult | None:
    """The case's result, None while there is none."""
    node = case.resultText
    return None if node is None else _parsed(node.GetText())


class Outlines:
    """Has regions drawn as outlines alone while a map lies over the image: their fill would change its colours.

    Only when a map comes or goes, so that a reader's own choice stays in between.
    """

    def __init__(self) -> None:
        self._known: tuple[str, bool] | None = None

    def follow(self, case: CaseState, mapInView: bool) -> None:
        """Take notice of the case as it stands."""
        display = case.segmentation.GetDisplayNode() if case.segmentation else None
        if display is None:
            return
        now = display.GetID(), mapInView
        if now != self._known:
            display.SetVisibility2DFill(not now[1])
        self._known = now


@lru_cache(maxsize=4)
def _parsed(text: str) -> PatientResult:
    """Asked for at every redraw."""
    return parse_result(text)


def _node(case: CaseState, role: str, className: str, name: str):
    """The case's node of this role, made where there is none."""
    if getattr(case, role) is None:
        setattr(case, role, case.scene.AddNewNodeByClass(className, name))
    return getattr(case, role)


def _showMap(case: CaseState, role: str, name: str, heat: SceneImage | None) -> None:
    node = getattr(case, role)
    if heat is None:
        removeNode(case.scene, node)
    elif node is not None:
        setImage(node, heat)
    else:
        node = addImageNode(case.scene, heat, name, (0.0, 1.0))
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(HEAT_COLORS)
        display.SetThreshold(_HEAT_FLOOR, 1.0)
        display.ApplyThresholdOn()
        setattr(case, role, node)


def _instanceColumns(result: PatientResult) -> dict:
    rows = result.instances
    missing = result.not_classified
    return {
        "part": (vtkStringArray, [r.part for r in rows] + [str(m["part"]) for m in missing]),
        "side": (vtkStringArray, [r.side for r in rows] + [str(m["side"]) for m in missing]),
        "slice": (vtkStringArray, [str(r.slice_index) for r in rows] + [_text(m["slice_index"]) for m in missing]),
        "probability": (vtkDoubleArray, [r.probability for r in rows] + [float("nan")] * len(missing)),
        "above threshold": (vtkStringArray, ["yes" if r.above_threshold else "no" for r in rows] + [""] * len(missing)),
        "pixels": (vtkIntArray, [r.pixels for r in rows] + [0] * len(missing)),
        "not classified because": (vtkStringArray, [""] * len(rows) + [str(m["reason"]) for m in missing]),
    }


def _contributionColumns(result: PatientResult) -> dict:
    rows = result.contributions
    nothing = float("nan")
    return {
        "feature": (vtkStringArray, [c.name for c in rows]),
        "log-odds": (vtkDoubleArray, [c.log_odds for c in rows]),
        "value": (vtkDoubleArray, [nothing if c.value is None else c.value for c in rows]),
        "place in training (0-1)": (
            vtkDoubleArray,
            [nothing if c.training_quantile is None else c.training_quantile for c in rows],
        ),
    }


def _fill(node, columns: dict) -> None:
    """Put the columns (title: array type and values) into a table node, in place of its former ones."""
    wasModifying = node.StartModify()
    node.RemoveAllColumns()
    for title, (arrayType, values) in columns.items():
        array = arrayType()
        array.SetName(title)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.EndModify(wasModifying)


def _text(value) -> str:
    return "" if value is None else str(value)
