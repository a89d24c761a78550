"""Errors that a user can act on; the command line prints message and hint and exits with `exit_code`."""

import difflib
import errno
from collections.abc import Iterable

MEMORY_HINT = "pass --max-side or --tile, or close other programs"
_CLOSE = 0.7
"""How alike two words have to be, as difflib measures it: at 0.6, "cpu" is close to "gpu"."""
_NO_MEMORY = ("allocate memory", "failed to map segment", "can't start new thread", "Insufficient memory")
"""What torch, the loader of libraries, threads and OpenCV say."""


class FlowcliError(Exception):
    """Something outside the program is wrong: `message` says what, with the value; `hint` says what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FlowcliError):
    """The command line contradicts itself."""

    exit_code = 2


class InputError(FlowcliError):
    """An input is missing, unreadable, empty or not what it claims to be."""


class OneFrameError(InputError):
    """An input is whole, but has one frame only, where flow needs two."""


class NoMasksError(InputError):
    """There are no masks for an input, of which only some may have them."""


class OutputError(FlowcliError):
    """An output exists already, cannot be written, or its kind is unknown."""


class LimitError(OutputError):
    """One output cannot hold what is to be written: a size, a time. Others can go on."""


class FfmpegError(FlowcliError):
    """ffmpeg is missing or ended with an error; the message quotes its last lines."""


class FetchError(FlowcliError):
    """A download failed: no connection, no such file, too large, a wrong hash. A partial file may be kept."""


class WeightsError(FlowcliError):
    """Weights are missing, damaged, unsafe or for another network."""


class NotFetchedError(WeightsError):
    """The model `name` is listed, but its weights have to be downloaded first."""

    def __init__(self, name: str, licence: str) -> None:
        hint = f"add --fetch, or run: flowcli models fetch {name} (licence: {licence})"
        super().__init__(f"model {name} is listed, but its weights are not fetched yet", hint)
        self.name = name


class DeviceError(FlowcliError):
    """The requested device or precision is not available, or its memory is too small."""


class BatchError(FlowcliError):
    """The batch is finished, but some of its items failed."""

    exit_code = 3


def closest(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """A hint that names the known word that comes closest, or else `otherwise`, or all that are known."""
    words = list(known)
    close = difflib.get_close_matches(word, words, 1, _CLOSE)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are: {', '.join(words)}" if otherwise is None else otherwise


def is_memory_error(error: BaseException) -> bool:
    """Whether the memory of this machine, not that of a GPU, ran out; libraries say so in many ways."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(words in str(error) for words in _NO_MEMORY)


def first_line(error: BaseException) -> str:
    """What it says first, or the name of its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
