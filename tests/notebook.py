"""The notebook in docs: runs its cells as Jupyter does, without it; `python -m tests.notebook` writes it anew."""

from __future__ import annotations

import ast
import base64
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from PIL import Image

NOTEBOOK = Path(__file__).parent.parent / "docs/notebook.ipynb"


def run(notebook: dict[str, Any]) -> None:
    """Runs the cells of code in order, in one namespace, and puts what they print and give into their outputs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        printed = io.StringIO()
        with redirect_stdout(printed):
            value = _execute("".join(cell["source"]), f"cell {count}", names)
        cell["execution_count"] = count
        text = printed.getvalue()
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": text.splitlines(True)}] if text else []
        if value is not None:
            shown = {"data": _shown(value), "execution_count": count, "metadata": {}, "output_type": "execute_result"}
            cell["outputs"].append(shown)


def printed(notebook: dict[str, Any]) -> list[str]:
    """What each cell of code prints, as its outputs say."""
    cells = (cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    return ["".join(line for each in outputs for line in each.get("text", ())) for outputs in cells]


def _execute(source: str, name: str, names: dict[str, Any]) -> Any:
    """Runs the lines; the value of the last one if it is an expression."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), names)


def _shown(value: Any) -> dict[str, Any]:
    if not isinstance(value, Image.Image):
        return {"text/plain": [repr(value)]}
    data = io.BytesIO()
    value.save(data, "png")
    picture = base64.b64encode(data.getvalue()).decode() + "\n"
    return {"image/png": picture, "text/plain": [f"<picture of {value.width}x{value.height}>"]}


if __name__ == "__main__":
    stored = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    run(stored)
    NOTEBOOK.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
