"""Independent tasks on one process, several processes of one machine (joblib), or several machines (dask.distributed).

A task is a function of the module level and one small argument (paths and numbers, never arrays); it writes its result
to a file and returns little. So a lost worker costs its own tasks only, and the results do not depend on who ran them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any, TypeVar

from cnsifusion.errors import BadInput
from cnsifusion.processes import end_with

T = TypeVar("T")

#: Workers of this machine that may be killed before a run is given up: more is no accident.
_LOST_WORKERS = 3

#: Called with (done, total, name of the step).
Progress = Callable[[int, int, str], None]


def no_progress(done: int, total: int, name: str) -> None:
    """Say nothing."""


def run_tasks(
    function: Callable[[Any], T],
    arguments: Sequence[Any],
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Progress = no_progress,
    name: str = "",
) -> list[T]:
    """``[function(a) for a in arguments]``, in order of the arguments.

    ``jobs`` processes on this machine, or all workers of the dask ``scheduler`` (address such as tcp://host:8786).
    Raises what a task raises, and BadInput where the scheduler cannot be reached.
    """
    progress(0, len(arguments), name)
    if scheduler is not None:
        results = _on_cluster(function, arguments, scheduler, progress, name)
    elif jobs > 1 and len(arguments) > 1:
        results = _on_processes(function, arguments, jobs, progress, name)
    else:
        results = []
        for done, argument in enumerate(arguments, start=1):
            results.append(_single_threaded(function, argument))
            progress(done, len(arguments), name)
    return results


def _single_threaded(function: Callable[[Any], T], argument: Any) -> T:
    """One thread per task: the same bits whatever the number of processes, and no fight over cores."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    with threadpool_limits(1):
        return function(argument)


def _in_pool(function: Callable[[Any], T], argument: Any, parent: int) -> T:
    end_with(parent)
    return _single_threaded(function, argument)


def _on_processes(
    function: Callable[[Any], T], arguments: Sequence[Any], jobs: int, progress: Progress, name: str
) -> list[T]:
    from joblib import Parallel, delayed

    results: list[T] = []
    lost = 0
    with warnings.catch_warnings():
        # loky replaces a worker whose memory has grown and says so; its tasks go on in the new one.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")
        while len(results) < len(arguments):
            left = [delayed(_in_pool)(function, a, os.getpid()) for a in arguments[len(results) :]]
            workers = max(2, min(jobs, len(left)))  # one alone would be this process, which must not end like a worker
            parallel = Parallel(n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch="all")
            try:
                for result in parallel(left):
                    results.append(result)
                    progress(len(results), len(arguments), name)
            except BrokenExecutor:  # a worker was killed, and with it the pool: what was finished lies in files
                lost += 1
                if lost > _LOST_WORKERS:
                    raise
    return results


def _on_cluster(
    function: Callable[[Any], T], arguments: Sequence[Any], scheduler: str, progress: Progress, name: str
) -> list[T]:
    from dask.distributed import Client, as_completed

    try:
        client = Client(scheduler, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise BadInput(f"The dask scheduler at {scheduler} does not answer; start it, or use --jobs.") from error
    with client:
        futures = [client.submit(_single_threaded, function, a, pure=False, retries=2) for a in arguments]
        for done, _ in enumerate(as_completed(futures), start=1):
            progress(done, len(arguments), name)
        return client.gather(futures)


def default_jobs() -> int:
    """Processes that make sense on this machine."""
    return os.cpu_count() or 1


