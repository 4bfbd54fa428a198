"""The cohort of numbers most tests of this folder train on."""

import pytest
from planted_cohort import make_cohort


@pytest.fixture
def cohort(tmp_path):
    return make_cohort(tmp_path / "cases")
