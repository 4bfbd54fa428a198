"""Heads that were worked on a moment ago: read, examined and prepared once, so that the next analysis is quick."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cnsifusion.analysis.progress import LOCATE
from cnsifusion.imaging import CheckReport, PreparationSettings, Volume, read_image
from cnsifusion.imaging.read import self_contained
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.case import Case, Progress, examine, prepare_head

_KEPT = 2  # a head with its prepared arrays takes about 150 MB
_Value = TypeVar("_Value")


class Head:
    """One image as it was read; what it is known by is its voxels, grid and acquisition, whatever file it came in."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume

    @cached_property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for the same image."""
        return hashlib.sha256(self.volume.array.data).hexdigest(), self.volume.grid, self.volume.acquisition


class Heads:
    """The last few heads. Everything raises BadInput as the functions whose answers it keeps."""

    def __init__(self) -> None:
        self._read: OrderedDict[Hashable, Head] = OrderedDict()
        self._examined: OrderedDict[Hashable, tuple[CheckReport, Anatomy | None]] = OrderedDict()
        self._prepared: OrderedDict[Hashable, Case] = OrderedDict()

    def read(self, path: str | Path) -> Head:
        """The image at ``path``; a file with the same bytes as one of the last is not decoded again."""
        content = self_contained(path)
        if content is None:
            return Head(read_image(path))
        return _kept(self._read, content, lambda: Head(read_image(path)))

    def examined(self, head: Head, progress: Progress) -> tuple[CheckReport, Anatomy | None]:
        """The whole input check, and the anatomy where it was found."""

        def anew() -> tuple[CheckReport, Anatomy | None]:
            progress(LOCATE[0])
            return examine(head.volume)

        return _kept(self._examined, head.key, anew)

    def prepared(self, head: Head, preparation: PreparationSettings, progress: Progress) -> Case:
        """The prepared head, without regions."""
        examined = self.examined(head, progress)
        key = (head.key, preparation)
        case = _kept(self._prepared, key, lambda: prepare_head(head.volume, preparation, progress, examined))
        return replace(case, volume=head.volume)  # the same image may have come in another file


def _kept(cache: OrderedDict[Hashable, _Value], key: Hashable, make: Callable[[], _Value]) -> _Value:
    """The entry of ``key``, made where there is none; the one that was asked for longest ago goes."""
    if key not in cache:
        cache[key] = make()
    cache.move_to_end(key)
    while len(cache) > _KEPT:
        cache.popitem(last=False)
    return cache[key]
