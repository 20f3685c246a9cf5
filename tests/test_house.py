"""The house style, as far as it can be counted: small files, small functions, and a docstring on every module."""

import ast
from collections.abc import Callable

from tests.source import Module, modules

LONGEST_FILE = 500
LONGEST_FUNCTION = 60
MOST_PARAMETERS = 7

MODULES = modules().values()
Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_files_are_short() -> None:
    assert [one.name for one in MODULES if len(one.text.splitlines()) > LONGEST_FILE] == []


def test_modules_say_what_they_are() -> None:
    assert [one.name for one in MODULES if one.text and not ast.get_docstring(one.tree)] == [], "no docstring"


def test_functions_are_short() -> None:
    assert functions(lambda one: (one.end_lineno or 0) - one.lineno >= LONGEST_FUNCTION) == []


def test_functions_take_few_parameters() -> None:
    assert functions(lambda one: parameters(one) > MOST_PARAMETERS and not is_command(one)) == []


def functions(has_fault: Callable[[Function], bool]) -> list[str]:
    """Those of all modules that have it, as `module.function`."""
    return [f"{module.name}.{one.name}" for module in MODULES for one in functions_of(module) if has_fault(one)]


def functions_of(module: Module) -> list[Function]:
    return [node for node in ast.walk(module.tree) if isinstance(node, Function)]


def parameters(function: Function) -> int:
    """Without `self` or `cls`."""
    names = [one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def is_command(function: Function) -> bool:
    """Whether its parameters are the options of a command line."""
    return any(ast.unparse(one).endswith(".command()") for one in function.decorator_list)
