"""Weights that others published: downloaded, and taken in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from flowcli import __version__
from flowcli.atomic import check_free
from flowcli.cli.progress import downloading
from flowcli.cli.streams import echo
from flowcli.errors import FetchError, NotFetchedError, UsageError, closest
from flowcli.models import flavours
from flowcli.weights import entries

if TYPE_CHECKING:
    from pathlib import Path

    from flowcli.models.flavours import Download, Flavour
    from flowcli.weights.entries import Entry

MOST = 2**31
"""Largest size of published weights, bytes."""


def fetch_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --fetch: a model that is listed, but not here, is fetched before the command runs."""

    @functools.wraps(command)
    def fetching(*, fetch: bool, **values: Any) -> Any:
        fetched = set[str]()
        while True:
            # The model is looked for before anything is read or written.
            try:
                return command(**values)
            except NotFetchedError as error:
                if not fetch or error.name in fetched:
                    raise
                fetched.add(error.name)
                fetch_model(error.name, quiet=click.get_current_context().params["quiet"])

    return click.option("--fetch", is_flag=True, help="Download the model first, if it is listed but not here.")(
        fetching
    )


def fetch_model(published_name: str, name: str | None = None, *, overwrite: bool = False, quiet: bool = False) -> Entry:
    """The entry of the weights, which are downloaded and kept. name: what they are called from then on.

    Says where they come from, and under which licence. Raises UsageError for weights that are not listed, FetchError if
    the download fails, OutputError if there are some of that name, WeightsError if they are not what they should be.
    """
    wanted, flavour = _find(published_name)

    from flowcli.weights.importing import import_weights
    from flowcli.weights.known import compare

    name = name or wanted.name
    entries.home().mkdir(parents=True, exist_ok=True)
    check_free(entries.home() / f"{name}.safetensors", overwrite)
    if not quiet:
        echo(f"{wanted.name}: {wanted.url}\nlicence: {flavour.licence}", err=True)
    file = entries.home() / (wanted.file or wanted.url.rpartition("/")[2])
    digest, url = _download(wanted, file, quiet)
    try:
        if not digest.startswith(wanted.sha256):
            raise FetchError(f"{url} has the sha256 {digest}, expected {wanted.sha256}...", "try again later")
        # Of the name, since the same file may come by https the next time.
        first = compare(entries.home(), wanted.url, digest)
        if first and len(wanted.sha256) < len(digest) and not quiet:
            echo(_unvouched(wanted, url, digest), err=True)
        return import_weights(file, name, epe=wanted.epe, measured=wanted.measured, overwrite=overwrite)
    finally:
        file.unlink()


def _download(wanted: Download, file: Path, quiet: bool) -> tuple[str, str]:
    """The hash of what came, and from where: by https wherever the host has it."""
    from flowcli.weights.fetch import fetch

    secure = wanted.url.replace("http://", "https://", 1)
    for url in dict.fromkeys((secure, wanted.url)):
        try:
            with downloading(wanted.name, show=not quiet) as report:
                return fetch(url, file, most=MOST, agent=f"flowcli/{__version__}", report=report), url
        except FetchError:
            if url == wanted.url:
                raise
    raise AssertionError("one address at least was tried")


def _unvouched(wanted: Download, url: str, digest: str) -> str:
    """What to say of weights that nobody has stated the whole hash of."""
    stated = f"only {len(wanted.sha256)} digits of its sha256 are stated" if wanted.sha256 else "no hash is stated"
    plain = ", and it came over plain http" if url.startswith("http:") else ""
    return f"nothing vouches for this file: {stated}{plain}\nits sha256 is kept, and compared from now on: {digest}"


def _find(name: str) -> tuple[Download, Flavour]:
    there = {download.name: (download, flavour) for flavour, download in flavours.downloads()}
    if name not in there:
        raise UsageError(f"no weights to fetch are called {name}", closest(name, there))
    return there[name]
