"""Reading and writing files beside the face, one by one; what comes of it is delivered in the face's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """One thread for a session's files. Call :meth:`poll` from the face's timer."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "cnsifusion-files")
        self._pending: list[tuple[Future, Callable[[Future], None]]] = []

    @property
    def busy(self) -> bool:
        """Whether an answer is still to be delivered."""
        return bool(self._pending)

    def start(self, work: Callable) -> Future:
        """Run ``work`` beside the face, after what was asked before."""
        return self._pool.submit(work)

    def later(self, work: Callable, then: Callable[[Future], None]) -> None:
        """Run ``work`` in the thread and ``then`` with its future in the face's thread, from a later poll."""
        self._pending.append((self.start(work), then))

    def poll(self) -> None:
        """Deliver what is ready."""
        for entry in [e for e in self._pending if e[0].done()]:
            self._pending.remove(entry)
            entry[1](entry[0])

    def drop(self) -> None:
        """Deliver nothing of what was asked so far."""
        self._pending.clear()

    def close(self) -> None:
        """Wait for what runs and begin nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
