"""Each promise names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def test_promises_name_their_tests(root: Path) -> None:
    text = (root / "docs" / "promises.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line][1:]
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row)
        assert named, row
        for file, function in named:
            tree = ast.parse((root / file).read_text(encoding="utf-8"))
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert not function or function in names, f"{file}::{function}"
    assert len(rows) > 10
