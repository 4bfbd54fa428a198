"""Phantoms and their proposals, made once for all tests of this folder."""

from __future__ import annotations

import pytest
from roi_phantom import Proposal, make_phantom, propose_for


@pytest.fixture(scope="session")
def whole_head() -> Proposal:
    """A whole head, turned, with two dots planted on the left only (template LPS: left is positive x)."""
    return propose_for(make_phantom(dots=((20.0, -4.0, -11.0), (26.0, 0.0, -9.0))))


@pytest.fixture(scope="session")
def stripped() -> Proposal:
    """A skull-stripped head in thick slices, turned the other way."""
    return propose_for(make_phantom((-8.0, 5.0, -6.0), (-10.0, 15.0, -30.0), (1.0, 1.0, 5.0), skull=False, seed=2))
