"""`flowcli models`: lists the weights that there are, and gets those that others published."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowcli.cli.columns import print_columns
from flowcli.cli.fetching import fetch_model
from flowcli.cli.options import TalkOptions, talk_options
from flowcli.cli.streams import echo
from flowcli.cli.words import completed, model_names, own_names, published
from flowcli.errors import UsageError, WeightsError
from flowcli.models import flavours
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.models.flavours import Download, Flavour
    from flowcli.weights.entries import Entry

IMPORT_HELP = f"""Import published weights from FILE.

flowcli recognises the network by the names and shapes of the tensors, tries it, and keeps the weights for
`--model NAME`. If a model consists of several files, such as SpyNet's modelL1_F.t7 and so on, name one of them; the
others have to be in the same folder.

These are known: {", ".join(flavour.title for flavour in flavours.flavours())}. Copies that kept the
names of the tensors, such as PTLFlow's, work as well.

"published" and "measured" in `flowcli models info NAME` are mean endpoint errors in pixels, as stated by the authors
and as measured by this project.
"""

name_option = click.option("--name", help="Name for the weights.  [default: that of the model]")
overwrite_option = click.option("-y", "--overwrite", is_flag=True, help="Replace a model of that name.")


@click.group("models", invoke_without_command=True)
@talk_options
@click.pass_context
def command(context: click.Context, talk: TalkOptions) -> None:
    """List the models: those that are here, and those that can be fetched.

    \b
    flowcli models                                   list what is here, and what can be fetched
    flowcli models info pwcnet                       show its source, licence, size and errors
    flowcli models fetch pwcnet                      download what others published
    flowcli models import pwc_net.pth.tar            import a file that you have
    flowcli models remove pwcnet                     delete what was fetched or imported
    flowcli estimate in.mp4 -o flow.mp4 -m pwcnet    use it
    """
    if context.invoked_subcommand is None:
        _list(talk)


def _list(talk: TalkOptions) -> None:
    own, bad = entries.imported()
    here = [*entries.entries(), *own]
    known = {entry.name for entry in here}
    others = [(flavour, download) for flavour, download in flavours.downloads() if download.name not in known]
    if talk.json:
        models = [_as_json(entry) for entry in here]
        published = [_published_as_json(download, flavour) for flavour, download in others]
        echo(json.dumps({"models": models, "methods": list(entries.CLASSIC), "published": published}))
        return
    rows = [_row(entry.name, entry.network, entry, entry.licence, _place(entry)) for entry in here]
    rows += [(name, "here", f"OpenCV's {what}", "Apache-2.0", "", "") for name, what in entries.CLASSIC.items()]
    rows += [_row(each.name, flavour.network, each, flavour.licence, "to fetch") for flavour, each in others]
    print_columns(("model", "where", "network", "licence", "parameters", "GMACs"), rows, left=4)
    for error in bad:
        echo(f"{error.message}\n  {error.hint}", err=True)
    if not talk.quiet:
        echo(
            "flowcli models info NAME says more; fetch NAME downloads what others made, under their terms",
            err=True,
        )


def _row(name: str, network: str, model: Entry | Download, licence: str, place: str) -> tuple[str, ...]:
    """A line of the table. GMACs: of a pair of 1024x436."""
    return name, place, network, licence, f"{model.parameters:,}", f"{model.gmacs:g}" if model.gmacs else ""


def _place(entry: Entry) -> str:
    return "here" if entry.file is None or entry.file.is_file() else "missing"


@command.command("info")
@click.argument("name", shell_complete=completed(model_names))
@talk_options
def info_command(name: str, talk: TalkOptions) -> None:
    """Show the source, licence, size and measured errors of the model NAME."""
    published = {download.name: (download, flavour) for flavour, download in flavours.downloads()}
    here = {entry.name for entry in (*entries.entries(), *entries.imported()[0])}
    if name in published and name not in here:
        download, flavour = published[name]
        if talk.json:
            echo(json.dumps(_published_as_json(download, flavour)))
            return
        echo(f"{name}, which `flowcli models fetch {name}` downloads")
        facts = _facts(download, flavour.licence)
        _rows({"network": flavour.network, **facts, "trained": download.trained, "from": download.url})
        return
    entry = entries.resolve(name)
    if talk.json:
        echo(json.dumps(_as_json(entry)))
        return
    echo(entry.name)
    _rows(_described(entry))


@command.command("remove")
@click.argument("name", shell_complete=completed(own_names))
@talk_options
def remove_command(name: str, talk: TalkOptions) -> None:
    """Delete the weights NAME, which you fetched or imported."""
    file = entries.home() / f"{name}.safetensors"
    own = own_names()
    if name not in own:
        if any(entry.name == name for entry in (*entries.entries(), *entries.classics())):
            raise UsageError(f"{name} belongs to flowcli", "only what was fetched or imported can be removed")
        there = f"there are: {', '.join(own)}" if own else "nothing was fetched or imported"
        raise UsageError(f"no model of yours is called {name}", there)
    try:
        file.unlink()
    except OSError as error:
        raise WeightsError(f"cannot remove {file}: {error.strerror}", "check its permissions") from error
    if not talk.quiet:
        echo(f"removed {name}: {file}", err=True)


def _as_json(entry: Entry) -> dict[str, Any]:
    fields = {**dataclasses.asdict(entry), "file": str(entry.file)}
    del fields["stated"]  # Of use to the program alone.
    return fields


def _published_as_json(download: Download, flavour: Flavour) -> dict[str, Any]:
    return {**dataclasses.asdict(download), "network": flavour.network, "licence": flavour.licence}


def _described(entry: Entry) -> dict[str, str]:
    return {
        "network": entry.network,
        **_facts(entry, entry.licence),
        "source": entry.source,
        "trained": entry.trained,
        "sha256": entry.sha256,
        "file": "" if entry.file is None else f"{entry.file}{'' if entry.file.is_file() else ' (missing)'}",
    }


def _facts(model: Entry | Download, licence: str) -> dict[str, str]:
    return {
        "parameters": f"{model.parameters:,}" if model.parameters else "",
        "GMACs": f"{model.gmacs:g} a pair of 1024x436" if model.gmacs else "",
        "published": model.epe,
        "measured": model.measured,
        "licence": licence,
    }


def _rows(rows: dict[str, str]) -> None:
    for title, text in rows.items():
        if text:
            echo(f"  {title:<11} {text}")


@command.command("import", help=IMPORT_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@name_option
@overwrite_option
@talk_options
def import_command(file: Path, name: str | None, overwrite: bool, talk: TalkOptions) -> None:
    from flowcli.weights.importing import import_weights

    _tell(import_weights(file, name, overwrite=overwrite), talk)


def _tell(entry: Entry, talk: TalkOptions) -> None:
    if talk.json:
        echo(json.dumps(_as_json(entry)))
    elif not talk.quiet:
        echo(f"{entry.name}: {entry.trained.removeprefix('by others: ')}, from {entry.source}", err=True)
        echo(f"licence: {entry.licence}", err=True)
        echo(f"use it with --model {entry.name}", err=True)


@command.command("fetch")
@click.argument("published_name", metavar="NAME", shell_complete=completed(published))
@name_option
@overwrite_option
@talk_options
def fetch_command(published_name: str, name: str | None, overwrite: bool, talk: TalkOptions) -> None:
    """Download the weights NAME, which `flowcli models` lists, and import them."""
    _tell(fetch_model(published_name, name, overwrite=overwrite, quiet=talk.quiet), talk)
