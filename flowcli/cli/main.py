"""The entry point: runs a command, and turns every error into two lines and an exit code."""

from __future__ import annotations

import ctypes
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import click

from flowcli import __version__
from flowcli.cli.help import WIDTH
from flowcli.cli.options import DEBUG
from flowcli.cli.outputs import PARTIAL
from flowcli.cli.settings import find_settings
from flowcli.cli.streams import drop_stdout, echo, is_of_stdout, open_closed
from flowcli.cli.words import UnknownWord
from flowcli.environment import kernels_first, share_cores
from flowcli.errors import MEMORY_HINT, FlowcliError, UsageError, closest, first_line, is_memory_error
from flowcli.inputs import quoted

COMMANDS = (
    "estimate",
    "interpolate",
    "propagate",
    "convert",
    "view",
    "batch",
    "stats",
    "models",
    "config",
    "doctor",
    "eval",
    "train",
    "bench",
)
"""Modules of this package, in the order of `--help`; each has a click command called `command`."""

_WAITING = ("batch", "bench", "doctor", "eval", "train")
"""Those that wait for the native kernels to be built: they measure, or run for long."""

COMPLETE = "_FLOWCLI_COMPLETE"
"""The environment variable by which a shell asks for completions; `bash_source` and so on print the set-up."""
INTERRUPTED = 130
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""


class Commands(click.Group):
    """Imports a command's module only when the command is used; these modules import click and light modules."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS and context.resilient_parsing:
            return None
        if name not in COMMANDS:
            raise UsageError(f"no such command: {name}", closest(name, COMMANDS))
        return _load(name)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but an input in the place of a command is drawn: `flowcli in.mp4`."""
        if args[0] not in COMMANDS and looks_like_input(args[0]):
            return args[0], _load("draw"), args
        if args[0] not in COMMANDS and not context.resilient_parsing and (hint := quoted(args)):
            raise UsageError(f"no such command, and no such file: {args[0]}", hint)
        name, command, rest = super().resolve_command(context, args)
        if name in _WAITING:
            context.with_resource(kernels_first())
        # A shell that asks for words that fit is not told of mistakes in a file.
        if name is not None and command is not None and not context.resilient_parsing:
            settings = find_settings(name, command, dict.fromkeys(COMMANDS))
            context.default_map = {name: {parameter: each.value for parameter, each in settings.items()}}
        return name, command, rest


def looks_like_input(word: str) -> bool:
    """Whether it names a file, a folder or a pattern, there or not; other words are commands, misspelt or not."""
    return any(sign in word for sign in "./\\*?%#") or os.path.exists(word)


def _load(name: str) -> click.Command:
    command: click.Command = importlib.import_module(f"flowcli.cli.{name}").command
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH})
@click.version_option(__version__, message="flowcli %(version)s")
def commands() -> None:
    """Optical flow: how every pixel moves from one frame of a video to the next.

    \b
      flowcli in.mp4                             writes in_flow.mp4: the video beside its flow
      flowcli estimate in.mp4 --out flow.mp4     a video of colour-coded flow
      flowcli estimate a.png b.png --out ab.flo  the flow between two pictures
      flowcli doctor                             checks the installation
      flowcli estimate --help                    says how; --help-all says everything
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (sys.argv by default) and returns the exit code.

    0 done, also when the reader of stdout went away; 1 error; 2 usage; 3 some items of a batch failed; 130 interrupted
    by Ctrl-C, SIGTERM, or SIGHUP when the terminal goes away (not under nohup).
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    open_closed()
    _keep_memory()
    share_cores()
    _print_any_name()
    settings: dict[str, object] = {}
    try:
        if instruction := os.environ.get(COMPLETE):
            from click.shell_completion import shell_complete

            return shell_complete(commands, {}, "flowcli", COMPLETE, instruction)
        with _terminated_like_interrupted(), _logged(), commands.make_context("flowcli", list(arguments)) as context:
            settings = context.meta
            commands.invoke(context)
            sys.stdout.flush()
            if PARTIAL in settings:
                raise KeyboardInterrupt
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "flowcli"
        close = error.hint if isinstance(error, UnknownWord) else ""
        _say(error.format_message(), close or f"{path} --help shows what there is")
        return error.exit_code
    except FlowcliError as error:
        if settings.get(DEBUG):
            raise
        _say(error.message, error.hint)
        return error.exit_code
    except BrokenPipeError:
        drop_stdout()
        return 0
    except _outside() as error:
        if settings.get(DEBUG):
            raise
        if is_memory_error(error):
            _say(f"not enough memory: {first_line(error)}", MEMORY_HINT)
        elif isinstance(error, OSError) and is_of_stdout(error):
            drop_stdout()
            _say(f"cannot write to standard output: {error.strerror}", "check where it goes")
        else:
            raise
        return FlowcliError.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        if settings.get(DEBUG):
            raise
        echo(": ".join(["interrupted", *map(str, error.args)]), err=True)
        return INTERRUPTED
    return 0


def _outside() -> tuple[type[Exception], ...]:
    """What the system and libraries raise; OpenCV's errors have no ancestor but Exception."""
    opencv = sys.modules.get("cv2")
    return (MemoryError, RuntimeError, ImportError, OSError, *([] if opencv is None else [opencv.error]))


def _keep_memory() -> None:
    """Keeps freed memory in the process: asking the system for it again takes a tenth of a network's time."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # Other C libraries than glibc have no mallopt.
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, 2**30)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _print_any_name() -> None:
    """Makes escapes of the characters that an encoding lacks, so that a file's name ends no run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(message: str, hint: str) -> None:
    echo(f"error: {' '.join(message.split())}", err=True)
    if hint:
        echo(f"hint: {hint}", err=True)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        # Whoever ignores a signal, as nohup does for its children, means it.
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Lines(logging.Handler):
    """Log records as lines on stderr: `warning: ...`."""

    def emit(self, record: logging.LogRecord) -> None:
        echo(f"{record.levelname.lower()}: {record.getMessage()}", err=True)


@contextmanager
def _logged() -> Iterator[None]:
    logger, handler = logging.getLogger("flowcli"), _Lines()
    level = logger.level
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
