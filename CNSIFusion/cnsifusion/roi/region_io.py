"""Region files: written as Slicer's .seg.nrrd, read from that, from NIfTI/NRRD labelmaps and from DICOM SEG.

The .seg.nrrd follows what 3D Slicer 5 writes (SegmentN_* header fields, overlapping segments on layers of a 4-D
"list" array). What a RegionSet knows besides its masks is kept in segment tags, which survive a save in Slicer, and
in one JSON header field, which only our own files have.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid, Volume, atomic_path, check_output
from cnsifusion.roi import region_details
from cnsifusion.roi.morphology import Box, bounds
from cnsifusion.roi.names import NO_CODE, PART_CODES, PARTS, SEGMENTS, VENTRICLES, Code
from cnsifusion.roi.region_files import PART_SEGMENTS, StoredSegment, read_segments
from cnsifusion.roi.region_fit import fit_to_grid
from cnsifusion.roi.regions import RegionSet
from cnsifusion.roi.tools.parts import assign_parts

#: Tags of a segment: how it was made (see RegionSet.origin), and whether a reader changed it since ("1").
ORIGIN_TAG, EDITED_TAG = "CNSIFusion.Origin", "CNSIFusion.Edited"
_PART_COLORS = {1: (0.0, 0.447, 0.698), 2: (0.0, 0.62, 0.451), 3: (0.4, 0.4, 0.4)}
_CATEGORY = SEGMENTS[VENTRICLES].category


def check_region_file(path: str | Path) -> None:
    """Refuse before any work a ``path`` that write_regions could not write. Raises BadInput."""
    if not str(path).lower().endswith(".seg.nrrd"):
        raise BadInput("Regions are written as .seg.nrrd files; give the output a name that ends in .seg.nrrd.")
    check_output(Path(path).parent)


def write_regions(regions: RegionSet, path: str | Path) -> None:
    """Write ``regions`` to ``path`` (.seg.nrrd), atomically; read_regions gives back the same bits.

    Raises BadInput when the path does not end in .seg.nrrd or cannot be written, ValueError for a mask that is no
    protocol name or lies on another grid (a mistake of the caller).
    """
    check_region_file(path)
    entries = _entries(regions)
    boxes = [bounds(mask) for _, mask in entries]
    placed = _place([mask for _, mask in entries], boxes)
    layers = 1 + max((layer for layer, _ in placed), default=0)
    voxels = np.zeros((*regions.grid.shape, layers), np.uint8)  # the list axis runs fastest, as Slicer writes it
    for (_, mask), box, (layer, value) in zip(entries, boxes, placed):
        voxels[..., layer][box][mask[box]] = value
    lines = _header(regions.grid, layers)
    for index, ((fields, _), box, (layer, value)) in enumerate(zip(entries, boxes, placed)):
        values = {**fields, "Layer": str(layer), "LabelValue": str(value), "Extent": _extent(box)}
        lines += [f"Segment{index}_{key}:={text}" for key, text in sorted(values.items())]
    lines.append(f"{region_details.FIELD}:={region_details.to_text(regions)}")
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(("\n".join(lines) + "\n\n").encode("ascii"))
        stream.write(gzip.compress(voxels.tobytes(), compresslevel=3, mtime=0))


def read_regions(
    path: str | Path, volume: Volume, names: Mapping[str, str | None] | Mapping[int, str] | None = None
) -> RegionSet:
    """The regions in the file at ``path`` on the grid of ``volume``.

    ``path``: .seg.nrrd (ours or Slicer's), a NIfTI/NRRD/MetaImage labelmap, or a DICOM SEG file or its folder.
    ``names`` maps the file's segment names, or the labelmap's values, to the protocol's names (or to
    ``Lateral ventricles`` | ``Third ventricle`` | ``Fourth ventricle``), or to None to leave it out. What it does not
    mention is matched by name without regard to case, spaces and punctuation, by code in a DICOM SEG, and in a plain
    labelmap by the order of names.SEGMENTS (1 to 5) unless a mapping is given. Several segments may map to one name;
    they are joined.

    ``notes`` says which region was taken from which value of a plain labelmap, since nothing but the order tells it.
    Segments on another grid are cropped, padded or resampled (nearest voxel), and ``notes`` says so. Raises BadInput
    for a file that is unreadable, empty, of another head's geometry, or without any of the protocol's regions.
    """
    segments, header = read_segments(Path(path), volume.grid)
    wanted = _match(segments, names)
    regions, details = RegionSet(volume.grid), region_details.from_text(header.get(region_details.FIELD))
    guessed = [f"{s.name} = {name}" for s, name in zip(segments, wanted) if name and not names and s.value is not None]
    if guessed:
        order = ", ".join(guessed)
        regions.notes.append(f"The region file has numbers and no names; taken in the protocol's order: {order}.")
    parts: np.ndarray | None = None
    if details and details.get("parts"):
        parts = np.zeros(volume.grid.shape, np.uint8)
    for segment, name in zip(segments, wanted):
        if name is None:
            continue
        mask, remark = fit_to_grid(segment.mask, segment.grid, volume.grid)
        if remark and remark not in regions.notes:
            regions.notes.append(remark)
        if name in SEGMENTS:
            _add_mask(regions, name, mask, segment)
        else:
            parts = np.zeros(volume.grid.shape, np.uint8) if parts is None else parts
            parts[mask] = next(value for value, part in PART_SEGMENTS.items() if part == name)
    if parts is not None and VENTRICLES not in regions.masks and parts.any():
        regions.masks[VENTRICLES] = parts > 0
        regions.origin[VENTRICLES] = "imported"
    regions.masks = {name: regions.masks[name] for name in SEGMENTS if name in regions.masks}
    if parts is not None and details is None and VENTRICLES in regions.masks:
        parts = assign_parts(regions.masks[VENTRICLES], parts, volume.spacing)
    regions.parts = parts
    if details is None and not any(mask.any() for mask in regions.masks.values()):
        raise BadInput("The region file holds no voxel of any of the protocol's regions; draw or export them again.")
    if details is not None:
        region_details.apply(details, regions, same_grid=all(s.grid.is_close(volume.grid) for s in segments))
    return regions


class StoredLabel(NamedTuple):
    """What a region file holds under one name: the protocol name it gets, and whether by its name or code (``sure``) or
    only by a labelmap's value; None where it has no match."""

    name: str
    voxels: int
    region: str | None
    sure: bool


def stored_segments(path: str | Path, volume: Volume) -> list[StoredLabel]:
    """What a region file holds, for a list to choose from. Raises BadInput for an unreadable file."""
    segments = read_segments(Path(path), volume.grid)[0]
    ordered = _in_order(segments)
    return [
        StoredLabel(s.name, int(s.mask.sum()), _known(s) or ordered.get(s.value), _known(s) is not None)
        for s in segments
    ]


def match_name(text: str) -> str | None:
    """The protocol's segment or part name that ``text`` stands for, ignoring case, spaces and punctuation."""
    return _KNOWN.get(_plain(text))


def check_names(names: Iterable[str | None]) -> None:
    """Refuse what match_name does not know (None leaves a segment out). Raises BadInput."""
    for name in names:
        if name is not None and match_name(name) is None:
            raise BadInput(f"“{name}” is not one of the protocol's regions ({', '.join(SEGMENTS)}).")


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


_KNOWN = {_plain(name): name for name in (*SEGMENTS, *PART_SEGMENTS.values())}
_KNOWN |= {_plain(code.meaning): PART_SEGMENTS[value] for value, part in PARTS.items() for code in [PART_CODES[part]]}
_KNOWN |= {_plain(f"{VENTRICLES} {part}"): PART_SEGMENTS[value] for value, part in PARTS.items()}


def _known(segment: StoredSegment) -> str | None:
    return match_name(segment.name) or segment.code_name


def _in_order(segments: list[StoredSegment]) -> dict[int | None, str]:
    """Protocol names of a labelmap's values: 1 to 5 in the order of names.SEGMENTS.

    None where it has other values too: they are another program's, and so are these (FreeSurfer's 4 is a ventricle).
    """
    ordered: dict[int | None, str] = dict(enumerate(SEGMENTS, start=1))
    return ordered if all(_known(s) or s.value in ordered for s in segments) else {}


def _match(segments: list[StoredSegment], names: Mapping | None) -> list[str | None]:
    """The protocol name of each segment, None for those that are left out."""
    given = {str(key): name for key, name in (names or {}).items()}
    check_names(given.values())
    present = {s.name for s in segments} | {str(s.value) for s in segments if s.value is not None}
    absent = [key for key in given if key not in present]
    if absent:
        raise BadInput(f"The region file has no segment or value “{absent[0]}”; it holds {_listed(segments)}.")
    ordered = {} if given else _in_order(segments)
    matched: list[str | None] = []
    for s in segments:
        key = next((key for key in (s.name, str(s.value)) if key in given), None)
        chosen = given[key] if key is not None else _known(s) or ordered.get(s.value)
        matched.append(match_name(chosen) if chosen else None)
    if segments and not any(matched):
        raise BadInput(
            f"None of the file's segments ({_listed(segments)}) has a name of the protocol; "
            f"say which is which of {', '.join(SEGMENTS)}."
        )
    return matched


def _listed(segments: list[StoredSegment]) -> str:
    return ", ".join(f"“{s.name}”" for s in segments[:8]) + (" ..." if len(segments) > 8 else "") or "nothing"


def _add_mask(regions: RegionSet, name: str, mask: np.ndarray, segment: StoredSegment) -> None:
    regions.masks[name] = regions.masks[name] | mask if name in regions.masks else mask
    stored = segment.tags.get(ORIGIN_TAG, "")
    regions.origin[name] = stored if stored in region_details.ORIGINS else segment.origin
    if segment.tags.get(EDITED_TAG):
        regions.edited.add(name)


# --- writing ---------------------------------------------------------------------------------------------------------


def _entries(regions: RegionSet) -> list[tuple[dict[str, str], np.ndarray]]:
    """(header fields, mask) of every segment to write, masks first and parts last."""
    entries = []
    for name in [*SEGMENTS, *(n for n in regions.masks if n not in SEGMENTS)]:
        if name in regions.masks:
            segment, mask = SEGMENTS.get(name), regions.masks[name]
            if segment is None or mask.shape != regions.grid.shape:
                raise ValueError(f"{name!r} is no protocol segment or its mask is not on the regions' grid")
            tags = {ORIGIN_TAG: regions.origin.get(name, ""), EDITED_TAG: "1" if name in regions.edited else ""}
            fields = _fields(name, segment.category, segment.type, segment.side_code, segment.color, tags)
            entries.append((fields, mask.astype(bool, copy=False)))
    if regions.parts is not None:
        for value, name in PART_SEGMENTS.items():
            code = PART_CODES[PARTS[value]]
            fields = _fields(name, _CATEGORY, code, None, _PART_COLORS[value], {"CNSIFusion.Part": PARTS[value]})
            entries.append((fields, regions.parts == value))
    return entries


def _fields(name: str, category: Code, kind: Code, side: Code | None, color: tuple, tags: dict[str, str]) -> dict:
    """Slicer's header fields of one segment; the terminology has the seven parts of Slicer's TerminologyEntry."""
    context = "Segmentation category and type - DICOM master list"
    modifier = side.text if side else NO_CODE
    terminology = "~".join((context, category.text, kind.text, modifier, "", NO_CODE, NO_CODE))
    every = {"TerminologyEntry": terminology, **{key: value for key, value in tags.items() if value}}
    return {
        "ID": name.replace(" ", "_"),
        "Name": name,
        "NameAutoGenerated": "0",
        "Color": " ".join(f"{c:.6g}" for c in color),
        "ColorAutoGenerated": "0",
        "Tags": "".join(f"{key}:{value}|" for key, value in every.items()),
    }


def _place(masks: list[np.ndarray], boxes: list[Box]) -> list[tuple[int, int]]:
    """Layer and label value of each mask: the first layer on which it overlaps nothing."""
    layers: list[np.ndarray] = []
    values: list[int] = []
    placed = []
    for mask, box in zip(masks, boxes):
        layer = next((n for n, taken in enumerate(layers) if not (taken[box] & mask[box]).any()), len(layers))
        if layer == len(layers):
            layers.append(np.zeros(mask.shape, bool))
            values.append(0)
        layers[layer][box] |= mask[box]
        values[layer] += 1
        placed.append((layer, values[layer]))
    return placed


def _extent(box: Box) -> str:
    """Slicer's extent "i0 i1 j0 j1 k0 k1" of a box; an empty one is "0 -1 0 -1 0 -1"."""
    return " ".join(f"{span.start} {span.stop - 1}" for span in reversed(box))


def _header(grid: Grid, layers: int) -> list[str]:
    def vector(values: np.ndarray | tuple) -> str:
        return "(" + ",".join(repr(float(v)) for v in values) + ")"

    axes = [vector(grid.matrix[:, axis] * grid.spacing[axis]) for axis in range(3)]
    sizes = [str(n) for n in grid.size]
    kinds = ["domain"] * 3
    if layers > 1:
        axes, sizes, kinds = ["none", *axes], [str(layers), *sizes], ["list", *kinds]
    return [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(sizes)}",
        f"space directions: {' '.join(axes)}",
        f"kinds: {' '.join(kinds)}",
        "encoding: gzip",
        f"space origin: {vector(grid.origin)}",
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_ConversionParameters:=",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ]
