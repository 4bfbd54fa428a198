"""Two pieces of work at once: both results, and what either raises."""

from __future__ import annotations

import threading

import pytest

from cnsifusion.threads import both


def test_both_at_the_same_time_each_with_its_result() -> None:
    meeting = threading.Barrier(2, timeout=10)

    def work(name: str) -> str:
        meeting.wait()  # passes only when the other is there
        return name

    assert both(lambda: work("one"), lambda: work("other")) == ("one", "other")


@pytest.mark.parametrize("place", [0, 1])
def test_what_either_raises_is_raised_after_the_other_has_ended(place: int) -> None:
    ended = []

    def fails() -> None:
        raise ValueError("no voxel")

    calls = [lambda: ended.append(1), lambda: ended.append(1)]
    calls[place] = fails
    with pytest.raises(ValueError, match="no voxel"):
        both(*calls)
    assert ended == [1]
