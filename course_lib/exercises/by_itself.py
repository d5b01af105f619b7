"""What an answer takes from other cells of its notebook.

A grader runs the exercise's cell by itself: an answer that leans on another cell is right here, and stops there.
"""

import ast
import builtins
import inspect
import linecache
import symtable
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from course_lib.exercises.attempts import READY_NAMES

_NEVER_SAID = {"get_ipython"}  # IPython writes it in place of %magics, which a grader leaves out


def notes(function: str, answer: Callable) -> tuple[str, ...]:
    """What would stop the cell that defines this function (or class) in a grader: one sentence each, mostly none.

    Says nothing where the cell cannot be found (an answer made by exec) or read (IPython keeps a cell's lines, and
    takes a form feed within a text for the end of one).
    """
    for fn in _functions(answer):
        if fn.__globals__.get("__name__") != "__main__":
            continue  # a library's, not a cell's
        source = "".join(linecache.getlines(fn.__code__.co_filename, fn.__globals__))
        try:
            missing, bound = unbound(source)
            imported = _imported(source)
        except (SyntaxError, ValueError, RecursionError):
            continue  # a note is missing then; whether the answer is right does not depend on it
        if function in bound:
            return tuple(_sentences(missing, imported, fn.__globals__))
    return ()


def unbound(source: str) -> tuple[set[str], set[str]]:
    """Names that a cell uses and neither binds nor finds among Python's own, and the names that it binds.

    Raises: SyntaxError, ValueError, RecursionError where the source is no Python.
    """
    used, bound = set(), set()
    pending = [symtable.symtable(source, "<cell>", "exec")]
    while pending:
        table = pending.pop()
        pending += table.get_children()
        for symbol in table.get_symbols():
            if table.get_type() != "module" and not symbol.is_global():
                continue  # a function's own variable
            if symbol.is_referenced():
                used.add(symbol.get_name())
            if symbol.is_assigned() or symbol.is_imported():
                bound.add(symbol.get_name())
    python = {name for name in used if hasattr(builtins, name) or name.startswith("__")}
    return used - bound - python - _NEVER_SAID, bound


def _imported(source: str) -> dict[str, bool]:
    """Modules that a cell imports, and whether it takes all of their names (`from math import *`)."""
    found: dict[str, bool] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name: found.get(alias.name, False) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found[node.module] = found.get(node.module, False) or node.names[0].name == "*"
    return found


def _sentences(missing: set[str], imported: dict[str, bool], names: dict[str, Any]) -> Iterator[str]:
    from_stars = {name for module, star in imported.items() if star for name in dir(sys.modules.get(module))}
    taken = [
        f"`{name}`"
        for name in sorted(missing - from_stars)
        if name in names and not (name in READY_NAMES and _is_as_usual(names[name]))
    ]
    if taken:
        yield f"a grader runs this cell by itself: define or import {', '.join(taken)} in it, too"
    if any(module.split(".")[0] == "course_lib" for module in imported):
        yield "a grader runs this cell without course_lib: write what you take from it yourself"


def _is_as_usual(value: Any) -> bool:
    """F is torch.nn.functional in a grader, but in this notebook it may be a frequency."""
    return isinstance(value, ModuleType) or callable(value)


def _functions(answer: Callable) -> list[FunctionType]:
    """The answer, or its methods, as they were written: below decorators such as @torch.no_grad()."""
    kind = answer if isinstance(answer, type) else type(answer)
    methods = [part for part in vars(kind).values() if isinstance(part, (FunctionType, classmethod, staticmethod))]
    return [fn for part in (answer, *methods) if isinstance(fn := inspect.unwrap(part), FunctionType)]
