"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowcli.cli.streams import printable


def print_columns(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int, err: bool = False) -> None:
    """Prints a table; the first `left` columns are left-aligned, as words are, the others right-aligned.

    err: print to stderr instead of stdout.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < left else "right")
    for row in rows:
        # As Text: brackets in names are no markup.
        table.add_row(*map(Text, map(printable, row)))
    console = Console(stderr=err)
    if not console.is_terminal:
        # Not a terminal: a line may be as long as it needs to be.
        console = Console(width=1000, stderr=err)
    console.print(table)
