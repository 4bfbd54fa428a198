"""A region file whose labels are not all named as the protocol names them: which label is which region is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnsifusion.errors import BadInput
from cnsifusion.mrml.volumes import volumeFromNode
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SEGMENTS, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.region_io import PART_SEGMENTS, stored_segments

LABELS_QUESTION = "Which label is which region?"
LABELS_REASON = "The file's labels are not all named as the protocol names its regions."
LEAVE_OUT = "leave out"
#: What a label may become; several labels with one name are joined.
CHOICES = (LEAVE_OUT, *SEGMENTS, *PART_SEGMENTS.values())
_SIDED = (
    (re.compile(r"pvs|perivascular|virchow"), {"left": PVS_LEFT, "right": PVS_RIGHT}),
    (re.compile(r"lentiform"), {"left": SUBLENTIFORM_LEFT, "right": SUBLENTIFORM_RIGHT}),
)
_VENTRICLES = (
    (re.compile(r"lateral.*ventri[ck]"), PART_SEGMENTS[1]),
    (re.compile(r"(third|3rd).*ventri[ck]"), PART_SEGMENTS[2]),
    (re.compile(r"(fourth|4th).*ventri[ck]"), PART_SEGMENTS[3]),
    (re.compile(r"ventri[ck]|csf"), VENTRICLES),
)
_LEFT, _RIGHT = re.compile(r"left|(^|[^a-z])l([^a-z]|$)"), re.compile(r"right|(^|[^a-z])r([^a-z]|$)")


@dataclass(frozen=True)
class FileLabel:
    """One label of a region file: its name there, how many voxels it has, and what it probably is (of CHOICES)."""

    name: str
    voxels: int
    region: str


def labelsToAssign(path: str | Path, volumeNode) -> list[FileLabel]:
    """The file's labels with a guess each, where one of them has neither a name nor a code of the protocol.

    Empty where nothing need be asked. Raises BadInput for a file that cannot be read.
    """
    stored = stored_segments(path, volumeFromNode(volumeNode))
    if all(label.sure for label in stored):
        return []
    return [FileLabel(s.name, s.voxels, s.region or _guess(s.name)) for s in stored]


def assignment(labels: Sequence[FileLabel], chosen: Sequence[str]) -> dict[str, str | None]:
    """The reader's choices, one of CHOICES for each label, as ``read_regions`` takes them.

    Raises BadInput where all are left out, or two labels of one name are to become different things.
    """
    if len(chosen) != len(labels) or not set(chosen) <= set(CHOICES):
        raise BadInput("The choices do not fit the file's labels; choose the file again.")
    names: dict[str, str | None] = {}
    for label, choice in zip(labels, chosen):
        name = None if choice == LEAVE_OUT else choice
        if names.setdefault(label.name, name) != name:
            raise BadInput(f"The file has several labels “{label.name}”; give them the same region.")
    if not any(names.values()):
        raise BadInput("Every label is left out; choose a region for one of them at least.")
    return names


def _guess(name: str) -> str:
    text = name.lower()
    for pattern, sides in _SIDED:
        if pattern.search(text):
            left, right = bool(_LEFT.search(text)), bool(_RIGHT.search(text))
            return LEAVE_OUT if left == right else sides["left" if left else "right"]
    return next((region for pattern, region in _VENTRICLES if pattern.search(text)), LEAVE_OUT)
