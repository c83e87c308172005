"""Every error a user can see, with its exit code. Raised where the cause is known, printed once.

A message is one sentence: where, what was found; the remedy says what to do about it.
"""

from __future__ import annotations

# What each exit code of the program means, as help and README have it
EXIT_CODES = {
    0: "everything asked for is done, or Ctrl-C ended a live stream",
    1: "`inspect-shapes` found mistakes in a model; else an unexpected failure, please report it",
    2: "wrong usage or a wrong setting",
    3: "input frames missing, unreadable, inconsistent or too few",
    4: "not a framecast model, or it does not fit the frames",
    5: "output cannot be written, or would overwrite something",
    6: "training diverged; the best model until then is kept",
    7: "some of several sources failed; the others are done",
    8: "the exported model's frames differ from PyTorch's",
    9: "out of memory or disk, or no such device",
    130: "interrupted; training says how to resume",
}


class FramecastError(Exception):
    """Something framecast can explain; `str()` is one line: message, then remedy."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class InputError(FramecastError, ValueError):
    """Something given that cannot be used: to Python a ValueError, as with any other function."""


class UsageError(InputError):
    """A flag, an argument or a combination of them that means nothing."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting that is unknown, of the wrong type or out of range; names where it was set."""


class SourceError(InputError):
    """Input frames that are missing, unreadable, inconsistent or too few."""

    exit_code = 3


class CorruptSourceError(SourceError):
    """A file that stops being readable part of the way; names the file and the frame."""


class CheckpointError(InputError):
    """A model file that is no framecast checkpoint, or does not fit the frames it is given."""

    exit_code = 4


class OutputError(InputError):
    """A result that cannot be written, or would overwrite something."""

    exit_code = 5


class DivergedError(FramecastError):
    """A training loss that stopped being finite; the last good checkpoint is kept."""

    exit_code = 6


class PartialFailureError(FramecastError):
    """Some of several sources failed; the others were done."""

    exit_code = 7


class ExportMismatchError(FramecastError):
    """An exported model whose frames differ from PyTorch's; nothing is left on disk."""

    exit_code = 8


class ResourceError(FramecastError):
    """Too little memory, disk space, or a device that is not there."""

    exit_code = 9


class InterruptedRunError(FramecastError):
    """Ctrl-C; what was done so far is saved and the remedy is the command that resumes."""

    exit_code = 130
