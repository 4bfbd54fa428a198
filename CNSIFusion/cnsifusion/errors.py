"""The errors a user can meet: each has the command line's documented exit code and says what to do."""

import errno
import logging
import traceback
from concurrent.futures import BrokenExecutor
from pathlib import Path


class CNSIFusionError(Exception):
    """Base of every expected failure; ``str(error)`` is one sentence for the user, without patient identifiers."""

    exit_code = 1


class BadInput(CNSIFusionError):
    """The image, regions, manifest or settings cannot be used (also: the input check's verdict "refuse")."""

    exit_code = 2


class BundleError(CNSIFusionError):
    """The model bundle is missing, damaged or not one this version understands."""

    exit_code = 3


class OutOfMemory(CNSIFusionError):
    """The machine has too little memory for this input."""

    exit_code = 4


class Cancelled(CNSIFusionError):
    """The user cancelled; not a failure."""

    exit_code = 5


class Fault(RuntimeError):
    """An unexpected error as it may be logged (see fault)."""


def fault(error: BaseException) -> str:
    """An unexpected error for a log: its type and our lines on the way to it.

    Not its message, nor the lines' folders: both may hold the name of a patient or of a file.
    """
    if isinstance(error, Fault):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "cnsifusion" in Path(f.filename).parts]
    return f"{type(error).__name__} in {' > '.join(own)}"


def failure(error: BaseException) -> CNSIFusionError:
    """What went wrong as one sentence with its exit code (1 for a fault of the program)."""
    if isinstance(error, CNSIFusionError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemory("The computer has too little free memory for this; close other programs and try again.")
    if isinstance(error, BrokenExecutor):
        return OutOfMemory(
            "A process of this run was ended from outside, most often because memory ran out. Run it again with fewer "
            "--jobs and, where the command has it, --resume: it goes on with what was finished."
        )
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return BadInput("A file or folder was given a longer name than this computer has; choose a shorter one.")
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("Cancelled.")
    return CNSIFusionError(f"This failed unexpectedly ({fault(error)}); please report it with this line.")


def error_event(error: BaseException) -> dict:
    """What a program is told of an error, in place of the last event of a command."""
    return {"event": "error", "exit_code": failure(error).exit_code, "message": str(failure(error))}


def log_unexpected(error: BaseException, what: str) -> None:
    """Write into the log that ``what`` failed, where nobody expected it."""
    if failure(error).exit_code == CNSIFusionError.exit_code:
        logging.getLogger("cnsifusion").error("%s failed: %s", what, fault(error))


def raise_unexpected(error: BaseException | None) -> None:
    """Raise ``error`` as a Fault where nobody expected it: what catches it next writes it into a log."""
    if error is not None and failure(error).exit_code == CNSIFusionError.exit_code:
        raise Fault(fault(error)) from None
