"""Errors that a user can act on; the command line prints message and hint and exits with `exit_code`."""


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


class OutputError(FlowcliError):
    """An output exists already, cannot be written, or its kind is unknown."""


class FfmpegError(FlowcliError):
    """ffmpeg is missing or ended with an error; the message quotes its last lines."""


class FetchError(FlowcliError):
    """A download failed: no connection, no such file, too large, a wrong hash. A partial file may be kept."""


class WeightsError(FlowcliError):
    """Weights are missing, damaged, unsafe or for another network."""


class DeviceError(FlowcliError):
    """The requested device or precision is not available, or its memory is too small."""


class BatchError(FlowcliError):
    """The batch is finished, but some of its items failed."""

    exit_code = 3
