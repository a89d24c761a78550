"""Options that take one of some words: errors name the closest word, and shells complete them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, get_args

import click
from click.shell_completion import CompletionItem

from flowcli.errors import closest
from flowcli.interpolation.options import Rule
from flowcli.models import frame_names
from flowcli.models.flavours import downloads
from flowcli.weights import entries

Words = Callable[[], Iterable[str]]
"""Gives the words that a shell may complete; called only when one asks."""


class UnknownWord(click.BadParameter):
    """A word that is none of those that an option takes. hint: names the closest one; "" if none is close."""

    def __init__(
        self, message: str, context: click.Context | None, parameter: click.Parameter | None, hint: str
    ) -> None:
        super().__init__(message, context, parameter)
        self.hint = hint


class Choice(click.Choice[str]):
    """The type of an option that takes one of some words."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        try:
            return super().convert(value, parameter, context)
        except click.BadParameter as error:
            raise UnknownWord(error.message, context, parameter, closest(str(value), self.choices, "")) from None


def completed(known: Words) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What click asks for the completion of a word of an option or argument."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return complete_words(known(), begun)

    return complete


def complete_words(known: Iterable[str], begun: str) -> list[CompletionItem]:
    """The words that begin so; where none does, the shell is to complete names of files."""
    return [CompletionItem(word) for word in known if word.startswith(begun)] or [CompletionItem(begun, type="file")]


def model_names() -> list[str]:
    """The models that `flowcli models` lists: those that are here, and those that can be fetched."""
    return list(dict.fromkeys((*here(), *published())))


def here() -> list[str]:
    """The models that are here, and the methods that have no weights."""
    return [*(entry.name for entry in entries.entries()), *entries.CLASSIC, *own_names()]


def own_names() -> list[str]:
    """The models that were fetched or imported."""
    return sorted(path.stem for path in entries.home().glob("*.safetensors"))


def published() -> list[str]:
    """The models that can be fetched."""
    return [download.name for _, download in downloads()]


def frame_makers() -> list[str]:
    """The ways to make frames between frames, and the models for it that can be fetched."""
    return [*get_args(Rule), *(download.name for flavour, download in downloads() if flavour.network in frame_names())]
