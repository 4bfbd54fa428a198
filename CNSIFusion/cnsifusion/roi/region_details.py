"""What a RegionSet knows besides its masks, as one JSON text: a header field of our region files, a tag in a scene.

Either may come from a stranger: every value is checked before anything is built from it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid
from cnsifusion.roi.names import PARTS, SEGMENTS
from cnsifusion.roi.regions import Focus, Plane, RegionSet

#: Name of the header field.
FIELD = "CNSIFusion_Regions"
ORIGINS = ("automatic", "semiautomatic", "manual", "imported")
_WITHHELD = (*SEGMENTS, *PARTS.values())
#: Kept as they are; "|" parts the tags of segments in Slicer's files.
_PRINTABLE = "".join(chr(c) for c in range(32, 127) if chr(c) not in "%\\|")
_DAMAGED = "The region file's own header field is damaged; write the regions again."


def to_text(regions: RegionSet) -> str:
    """The text (printable ASCII)."""
    details = {
        "version": 1,
        "parts": regions.parts is not None,
        "midplane": asdict(regions.midplane) if regions.midplane else None,
        "foci": [{**vars(f), "voxels": np.asarray(f.voxels).tolist()} for f in regions.foci],
        "origin": regions.origin,
        "edited": sorted(regions.edited),
        "withheld": regions.withheld,
        "notes": regions.notes,
    }
    return quote(json.dumps(details, ensure_ascii=False), safe=_PRINTABLE)


def from_text(text: str | None) -> dict[str, Any] | None:
    """The field's values, None where there is none or it is of another version. Raises BadInput for a damaged one."""
    if not text:
        return None
    try:
        details = json.loads(unquote(text))
        return details if details["version"] == 1 else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(_DAMAGED) from error


def apply(details: dict[str, Any], regions: RegionSet, same_grid: bool) -> None:
    """Put what the field says into ``regions``. Foci are voxels of the file's grid: kept only on that same grid.

    Raises BadInput for values of the wrong kind, or outside the grid.
    """
    try:
        if details["midplane"] is not None:
            plane = details["midplane"]
            regions.midplane = Plane(_point(plane["point"]), _point(plane["normal"]))
            _require(0.9 < math.dist(regions.midplane.normal, (0, 0, 0)) < 1.1)
        if same_grid:
            regions.foci = [_focus(f, regions.grid) for f in _list(details["foci"])]
        regions.origin = {_segment(k): _sentence(v) for k, v in details["origin"].items()}
        regions.edited = {_segment(name) for name in _list(details["edited"])}
        regions.withheld, notes = sentences(details)
        regions.notes = notes + regions.notes
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInput(_DAMAGED) from error


def sentences(details: dict[str, Any] | None) -> tuple[dict[str, str], list[str]]:
    """Why regions were withheld (by name) and the notes. Raises BadInput for values of the wrong kind."""
    if details is None:
        return {}, []
    try:
        withheld = {_one_of(_WITHHELD, k): _sentence(v) for k, v in details["withheld"].items()}
        return withheld, [_sentence(v) for v in _list(details["notes"])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(_DAMAGED) from error


def _focus(stored: dict[str, Any], grid: Grid) -> Focus:
    i, j, k = stored["ijk"]
    voxels = np.array(stored["voxels"], np.int64).reshape(-1, 3)
    ijk = np.array([[i, j, k]], np.int64)
    for places, size in ((ijk, grid.size), (voxels, grid.shape)):
        _require(bool(len(places) > 0 and places.min() >= 0 and np.all(places < np.array(size))))
    _require(isinstance(stored["large"], bool))
    return Focus(
        side=_one_of(("left", "right"), stored["side"]),
        ijk=(int(i), int(j), int(k)),
        lps=_point(stored["lps"]),
        diameter_mm=_number(stored["diameter_mm"]),
        contrast_to_noise=_number(stored["contrast_to_noise"]),
        confidence=_number(stored["confidence"]),
        large=stored["large"],
        voxels=voxels,
    )


def _require(fits: bool) -> None:
    if not fits:
        raise ValueError("a value does not fit")


def _list(value: Any) -> list:
    _require(isinstance(value, list))
    return value


def _number(value: Any) -> float:
    _require(isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value))
    return float(value)


def _point(values: Any) -> tuple[float, float, float]:
    x, y, z = (_number(v) for v in _list(values))
    return (x, y, z)


def _one_of(allowed: tuple[str, ...], value: Any) -> str:
    _require(value in allowed)
    return value


def _segment(name: Any) -> str:
    return _one_of(tuple(SEGMENTS), name)


def _sentence(value: Any) -> str:
    _require(isinstance(value, str) and len(value) < 10_000)
    return value
