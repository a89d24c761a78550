"""The hashes of what was downloaded for the first time, for weights whose authors state none."""

from __future__ import annotations

import json
import re
from pathlib import Path

from flowcli.atomic import Part
from flowcli.errors import FetchError
from flowcli.regular import read_regular

NAME = "fetched.json"
"""A file in the user's own folder of weights: a JSON object, from addresses to hashes."""
_HASH = re.compile("[0-9a-f]{64}")


def compare(folder: Path, url: str, digest: str) -> bool:
    """Whether this is the first download from `url`, of which the hash is kept from now on.

    Raises FetchError if it is another file than the first time, OutputError if the hash cannot be kept.
    """
    path = folder / NAME
    known = _read(path)
    before = known.get(url)
    if before is None:
        with Part(path, overwrite=True) as part:
            part.path.write_text(json.dumps({**known, url: digest}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return True
    if before != digest:
        raise FetchError(
            f"{url} has the sha256 {digest}, and had {before} the first time",
            f"somebody has changed it: ask its authors; to accept it, remove its line from {path}",
        )
    return False


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(read_regular(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise FetchError(f"cannot read the hashes of earlier downloads: {path}", "correct it, or remove it") from error
    if not isinstance(known, dict):
        raise FetchError(f"cannot read the hashes of earlier downloads: {path}", "correct it, or remove it")
    return {url: digest for url, digest in known.items() if isinstance(digest, str) and _HASH.fullmatch(digest)}
