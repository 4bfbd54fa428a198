"""The seconds left: typical ones at first, then those of the last run of the same kind."""

from __future__ import annotations

import pytest

from cnsifusion.analysis import progress as module
from cnsifusion.analysis.progress import ANALYSIS_STEPS, LOCATE, PREPARE, READ, Pace, StepProgress

TYPICAL = sum(seconds for _, seconds in ANALYSIS_STEPS)
COLD = {name: 2 * seconds for name, seconds in ANALYSIS_STEPS}  # a machine of half the speed
WARM = {name: 0.1 for name, _ in ANALYSIS_STEPS if name not in (LOCATE[0], PREPARE[0])}


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "head.nii.gz"
    path.write_bytes(b"x" * 100)
    return path


def run(pace: Pace, image, clock: Clock, taking: dict[str, float], kind: str = "model") -> list[dict]:
    """One run whose steps take these seconds; its events."""
    events: list[dict] = []
    progress = StepProgress(ANALYSIS_STEPS, events.append, pace.expected(kind, image))
    for name, seconds in taking.items():
        progress(name)
        clock.now += seconds
    progress.done()
    pace.remember(kind, image, progress.seconds)
    return events


def left(events: list[dict]) -> list[float]:
    return [event["seconds_left"] for event in events]


def test_the_first_run_expects_what_is_typical_and_learns_on_its_way(clock, image):
    seconds = left(run(Pace(), image, clock, COLD))
    assert seconds[0] == pytest.approx(TYPICAL, abs=0.1)
    assert seconds[3] == pytest.approx(sum(list(COLD.values())[3:]), rel=0.2), "by then the machine's speed shows"


def test_a_second_run_of_the_same_head_expects_what_the_last_one_took(clock, image):
    pace = Pace()
    run(pace, image, clock, COLD)
    remaining = 2 * (TYPICAL - LOCATE[1] - PREPARE[1])  # not located and prepared again
    assert left(run(pace, image, clock, WARM))[0] == pytest.approx(remaining, abs=0.1)
    third = left(run(pace, image, clock, WARM))
    assert third == pytest.approx([0.1 * n for n in range(len(WARM), 0, -1)], abs=0.1)


def test_another_head_takes_as_long_as_the_last_new_one(clock, image, tmp_path):
    pace, other = Pace(), tmp_path / "other.nii.gz"
    other.write_bytes(b"x" * 101)
    run(pace, image, clock, COLD)
    run(pace, image, clock, WARM)
    assert left(run(pace, other, clock, COLD))[0] == pytest.approx(2 * TYPICAL, abs=0.1)


def test_what_a_check_did_need_not_be_done_again_but_the_rest_must(clock, image):
    pace = Pace()
    run(pace, image, clock, {READ[0]: READ[1], LOCATE[0]: LOCATE[1]}, kind="check")
    assert left(run(pace, image, clock, COLD))[0] == pytest.approx(TYPICAL - LOCATE[1], abs=0.1)


def test_another_model_is_not_judged_by_this_one(clock, image):
    pace = Pace()
    slow = {**WARM, "Run the network": 9.0}
    run(pace, image, clock, COLD)
    run(pace, image, clock, slow, kind="dense")
    assert left(run(pace, image, clock, slow, kind="dense"))[0] > 9
    assert left(run(pace, image, clock, WARM))[0] < 9


def test_a_head_that_was_let_go_is_expected_again_once_that_shows(clock, image):
    pace = Pace()
    run(pace, image, clock, COLD)
    events = run(pace, image, clock, COLD)
    assert left(events)[0] + LOCATE[1] < left(events)[1]
    fractions = [event["fraction"] for event in events]
    assert fractions == sorted(fractions)


def test_a_missing_file_is_no_matter_for_the_estimate(clock, tmp_path):
    assert Pace().expected("model", tmp_path / "missing.nii") == {}
    assert Pace().expected("model", tmp_path) == {}
