"""Random readers on both undo machineries: every action is one step, undoing everything is bit-equal to the start."""

import pytest
import toolwalk

_READERS = 20


@pytest.mark.parametrize("machinery", sorted(toolwalk.MACHINERIES))
def test_random_readers(machinery):
    pytest.importorskip("trame_slicer.core", reason="needs the extra 'web'")
    tally = toolwalk.walks(machinery, _READERS)
    assert tally.actions > 20 * _READERS
    assert min(tally.changes, tally.undone) > 2 * _READERS, tally
