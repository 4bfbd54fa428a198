"""The protocol's names, codes and colours of regions: the one place where they are written down."""

from __future__ import annotations

from dataclasses import dataclass

VENTRICLES = "CSF ventricles"
SUBLENTIFORM_LEFT = "Sub-lentiform left"
SUBLENTIFORM_RIGHT = "Sub-lentiform right"
PVS_LEFT = "PVS left"
PVS_RIGHT = "PVS right"

#: The same region on the patient's other side.
OTHER_SIDE = {
    SUBLENTIFORM_LEFT: SUBLENTIFORM_RIGHT,
    SUBLENTIFORM_RIGHT: SUBLENTIFORM_LEFT,
    PVS_LEFT: PVS_RIGHT,
    PVS_RIGHT: PVS_LEFT,
}

#: Parts of the ventricular system, by their value in a part labelmap.
PARTS = {1: "lateral", 2: "third", 3: "fourth"}

#: The two regions of the published study, as the command line names them, and the segments each is made of.
REGIONS = {"ventricles": (VENTRICLES,), "sublentiform": (SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT)}


@dataclass(frozen=True)
class Code:
    """A coded term: value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str

    @property
    def text(self) -> str:
        """As it stands in Slicer's terminology entries."""
        return f"{self.scheme}^{self.value}^{self.meaning}"


#: In the place of a code's text where there is no code.
NO_CODE = "^^"
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
_SPACE = Code("123037004", "SCT", "Anatomical Structure")


@dataclass(frozen=True)
class SegmentName:
    """A segment of the protocol: name, side (``left`` | ``right`` | ``none``), codes and display colour (RGB 0-1)."""

    name: str
    side: str
    category: Code
    type: Code
    color: tuple[float, float, float]

    @property
    def side_code(self) -> Code | None:
        """The laterality code, or None for a midline structure."""
        return {"left": LEFT, "right": RIGHT}.get(self.side)


_SUBLENT = Code("SUBLENT", "99CNSIFUSION", "Sub-lentiform parenchyma")
_PVS = Code("PVS", "99CNSIFUSION", "PVS-like foci")

#: Colours from Okabe and Ito's palette, distinguishable for colour-blind readers.
SEGMENTS = {
    s.name: s
    for s in (
        SegmentName(VENTRICLES, "none", _SPACE, Code("35764002", "SCT", "Brain ventricle"), (0.337, 0.706, 0.914)),
        SegmentName(SUBLENTIFORM_LEFT, "left", _SPACE, _SUBLENT, (0.902, 0.624, 0.0)),
        SegmentName(SUBLENTIFORM_RIGHT, "right", _SPACE, _SUBLENT, (0.941, 0.894, 0.259)),
        SegmentName(PVS_LEFT, "left", _SPACE, _PVS, (0.8, 0.475, 0.655)),
        SegmentName(PVS_RIGHT, "right", _SPACE, _PVS, (0.835, 0.369, 0.0)),
    )
}
#: Codes of the ventricular parts.
PART_CODES = {
    "lateral": Code("66720007", "SCT", "Lateral ventricle"),
    "third": Code("49841001", "SCT", "Third ventricle"),
    "fourth": Code("35918002", "SCT", "Fourth ventricle"),
}
