"""The words and numbers that both faces show, where they come from."""

import pytest

from cnsifusion.mrml.models import hundredths


@pytest.mark.parametrize(
    ("value", "shown"), [(0.735, "0.74"), (0.625, "0.63"), (0.7349, "0.73"), (0.005, "0.01"), (1.0, "1.00")]
)
def test_a_models_figures_are_rounded_as_readers_round_the_cards(value, shown):
    """The card says 0.735; the panel said 0.73."""
    assert hundredths(value) == shown
