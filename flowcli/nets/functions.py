"""Networks that a function of Python gives. Running it runs any code: only what the user names is imported."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowcli.errors import InputError
from flowcli.nets.convention import Convention
from flowcli.nets.net import Parts, Port, Tensors
from flowcli.nets.spec import Spec


def open_function(spec: Spec, convention: Convention) -> Parts:
    """The network that `package.module:function` returns: a function, or two, backbone and head.

    A backbone takes the input and gives a tensor or several; the head takes these, each as an argument. Modules are
    looked for in the working folder as well. Raises InputError if there is none, or it gives something else.
    """
    made = find_function(spec.text)()
    parts = made if isinstance(made, tuple) else (made,)
    if len(parts) > 2 or not all(callable(each) for each in parts):
        raise InputError(f"{spec.text} returns no network", "return one function, or two: (backbone, head)")
    for each in parts:
        if isinstance(each, torch.nn.Module):
            each.eval()
    layout = "NCHW" if convention.layout == "auto" else convention.layout
    head = _run(parts[1], spec.text) if len(parts) == 2 else None
    backbone = _run(parts[0], spec.text)
    return Parts(Port(layout=layout), lambda image: backbone((image,)), head, inner=layout)


def find_function(text: str) -> Callable[..., Any]:
    """What `package.module:function` names; modules are looked for in the working folder as well. Raises InputError."""
    module_name, _, name = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(f"cannot import {module_name}: {error}", "check the name, or install it") from error
    function: object = getattr(module, name, None)
    if not callable(function):
        known = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise InputError(f"no function {name} in {module_name}", f"it has {', '.join(known) or 'none'}")
    return function


def _run(function: Callable[..., Any], name: str) -> Callable[[Tensors], Tensors]:
    def run(tensors: Tensors) -> Tensors:
        with torch.inference_mode():
            return as_tensors(function(*tensors), name)

    return run


def as_tensors(result: Any, name: str) -> Tensors:
    """What a network gave: a tensor, or several. Raises InputError for anything else."""
    found = tuple(result) if isinstance(result, tuple | list) else (result,)
    if not all(isinstance(each, Tensor) for each in found):
        kinds = ", ".join(type(each).__name__ for each in found)
        raise InputError(f"{name} gives {kinds}", "let it give a tensor, or a tuple of tensors")
    return found
