"""Errors that a user can act on: the command line prints them as two lines and exits with `exit_code`."""


class FlowcliError(Exception):
    """Something about the world is wrong: `message` says what and the value, `hint` says what to do."""

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
    """A download failed: no connection, no such file, too large, of another hash; what there is of it may be kept."""


class WeightsError(FlowcliError):
    """Weights are missing, damaged, unsafe or of another network."""


class DeviceError(FlowcliError):
    """The device or precision that was asked for is not there, or its memory is too small."""


class BatchError(FlowcliError):
    """A batch came to its end, but some of its items failed."""

    exit_code = 3
