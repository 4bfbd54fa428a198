"""The errors a user can meet: each has the command line's documented exit code and says what to do."""

import traceback
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


def sentence(error: BaseException) -> str:
    """What a reader is told of an error."""
    return str(error) if isinstance(error, CNSIFusionError) else f"Unexpected error ({fault(error)})."


def raise_unexpected(error: BaseException | None) -> None:
    """Raise ``error`` as a Fault where nobody expected it: what catches it next writes it into a log."""
    if error is not None and not isinstance(error, CNSIFusionError):
        raise Fault(fault(error)) from None
