"""A PatientResult in the scene: its JSON in a text node, tables people can copy, and its maps as overlays."""

from __future__ import annotations

from functools import lru_cache

from vtk import vtkDoubleArray, vtkIntArray, vtkStringArray

from cnsifusion.analysis.result import PatientResult, parse_result
from cnsifusion.imaging import Volume
from cnsifusion.mrml.case import CaseState
from cnsifusion.mrml.volumes import addVolumeNode

#: Slicer's built-in black-red-yellow-white map: brightness alone carries the order, so colour-blind readers see it too.
HEAT_COLORS = "vtkMRMLColorTableNodeIron"
#: Values below are not drawn over the image.
_HEAT_FLOOR = 0.1


def showResult(case: CaseState, resultText: str, heat: Volume | None, log: Volume | None = None) -> None:
    """Put a result (the text of result.json) and its maps into the scene, replacing the case's former result.

    ``heat`` is the network's map, ``log`` that of the chosen LoG features.

    Raises BadInput when the text is not a result.
    """
    result = _parsed(resultText)
    case.removeResult()
    scene, name = case.scene, case.volume.GetName()
    textNode = scene.AddNewNodeByClass("vtkMRMLTextNode", f"{name} result")
    textNode.SetText(resultText)
    textNode.SetAttribute("CNSIFusion.Demonstration", str(result.demonstration))
    case.resultText = textNode
    case.instanceTable = _instanceTable(scene, f"{name} slices", result)
    case.contributionTable = _contributionTable(scene, f"{name} contributions", result)
    if heat is not None:
        case.heatMap = _heatNode(scene, f"{name} heat map", heat)
    if log is not None:
        case.logMap = _heatNode(scene, f"{name} LoG map", log)


def resultOf(case: CaseState) -> PatientResult | None:
    """The case's result, None while there is none."""
    node = case.resultText
    return None if node is None else _parsed(node.GetText())


@lru_cache(maxsize=4)
def _parsed(text: str) -> PatientResult:
    """Asked for at every redraw."""
    return parse_result(text)


def _heatNode(scene, name: str, heat: Volume):
    node = addVolumeNode(scene, heat, name, (0.0, 1.0))
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(HEAT_COLORS)
    display.SetThreshold(_HEAT_FLOOR, 1.0)
    display.ApplyThresholdOn()
    return node


def _instanceTable(scene, name: str, result: PatientResult):
    rows = result.instances
    missing = result.not_classified
    return _table(
        scene,
        name,
        {
            "part": (vtkStringArray, [r.part for r in rows] + [str(m["part"]) for m in missing]),
            "side": (vtkStringArray, [r.side for r in rows] + [str(m["side"]) for m in missing]),
            "slice": (vtkStringArray, [str(r.slice_index) for r in rows] + [_text(m["slice_index"]) for m in missing]),
            "probability": (vtkDoubleArray, [r.probability for r in rows] + [float("nan")] * len(missing)),
            "above threshold": (vtkStringArray, [_yes(r.above_threshold) for r in rows] + [""] * len(missing)),
            "pixels": (vtkIntArray, [r.pixels for r in rows] + [0] * len(missing)),
            "not classified because": (vtkStringArray, [""] * len(rows) + [str(m["reason"]) for m in missing]),
        },
    )


def _contributionTable(scene, name: str, result: PatientResult):
    rows = result.contributions
    nothing = float("nan")
    return _table(
        scene,
        name,
        {
            "feature": (vtkStringArray, [c.name for c in rows]),
            "log-odds": (vtkDoubleArray, [c.log_odds for c in rows]),
            "value": (vtkDoubleArray, [nothing if c.value is None else c.value for c in rows]),
            "place in training (0-1)": (
                vtkDoubleArray,
                [nothing if c.training_quantile is None else c.training_quantile for c in rows],
            ),
        },
    )


def _table(scene, name: str, columns: dict):
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    for title, (arrayType, values) in columns.items():
        array = arrayType()
        array.SetName(title)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)
    node.SetUseColumnTitleAsColumnHeader(True)
    return node


def _text(value) -> str:
    return "" if value is None else str(value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
