"""The model bundles a session looks at: read and checked in a thread, once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from cnsifusion.bundles import Bundle, BundleSettings, load_bundle
from cnsifusion.bundles.card import card_text
from cnsifusion.errors import CNSIFusionError, raise_unexpected

#: Figures a panel has room for, of the patient score; the card has all.
_FIGURES = {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"}


@dataclass(frozen=True)
class ModelCard:
    """What a panel shows of a usable bundle: one-line figures, its limits, its hash, and the whole card (Markdown)."""

    figures: str
    limits: list[str]
    sha256: str
    text: str


class Models:
    """Bundles by folder. ``later(work, then)`` runs in a thread and comes back to the face's."""

    def __init__(self, later: Callable[[Callable, Callable[[Future], None]], None], onChange: Callable[[], None]):
        self._later, self._onChange = later, onChange
        self._known: dict[str, Bundle | CNSIFusionError | None] = {}

    def get(self, folder: Path) -> BundleSettings | CNSIFusionError | None:
        """Settings of the bundle in ``folder``, why it cannot be used, or None while it is being read."""
        key = str(folder)
        if key not in self._known:
            self._known[key] = None
            self._later(lambda: load_bundle(folder), lambda ready: self._onRead(key, ready))
        known = self._known[key]
        return known.settings if isinstance(known, Bundle) else known

    def card(self, folder: Path) -> ModelCard | None:
        """The card of the bundle in ``folder``; None where it is not (or not yet) usable."""
        known = self._known.get(str(folder))
        if not isinstance(known, Bundle):
            return None
        settings = known.settings
        figures = {f.metric: f for f in settings.figures if f.strategy == "mean"}
        words = [
            f"{word} {hundredths(figures[name].value)}" + _interval(figures[name].low, figures[name].high)
            for name, word in _FIGURES.items()
            if name in figures
        ]
        text = card_text(settings, known.sha256)
        return ModelCard("; ".join(words), settings.limits, known.sha256, text)

    def forget(self) -> None:
        """Read all bundles again when next asked for."""
        self._known.clear()

    def dropPending(self) -> None:
        """What was being read will not arrive: ask again."""
        self._known = {key: known for key, known in self._known.items() if known is not None}

    def _onRead(self, key: str, ready: Future) -> None:
        error = ready.exception()
        raise_unexpected(error)
        self._known[key] = error if isinstance(error, CNSIFusionError) else ready.result()
        self._onChange()


def hundredths(value: float) -> str:
    """A figure with two decimals, rounded as readers round the card's: Python makes 0.73 of 0.735, in binary less."""
    return str(Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({hundredths(low)} to {hundredths(high)})"
