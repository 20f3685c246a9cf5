"""The house style, as far as it can be counted: small files, small functions, and a docstring on every module."""

import ast

import pytest

from tests.source import Module, modules

LONGEST_FILE = 500
LONGEST_FUNCTION = 60
MOST_PARAMETERS = 7

every_module = pytest.mark.parametrize("module", [pytest.param(one, id=one.name) for one in modules().values()])


@every_module
def test_files_are_short(module: Module) -> None:
    assert len(module.text.splitlines()) <= LONGEST_FILE


@every_module
def test_modules_say_what_they_are(module: Module) -> None:
    assert ast.get_docstring(module.tree) or not module.text, "a module without a docstring"


@every_module
def test_functions_are_short(module: Module) -> None:
    assert [one.name for one in functions(module) if (one.end_lineno or 0) - one.lineno >= LONGEST_FUNCTION] == []


@every_module
def test_functions_take_few_parameters(module: Module) -> None:
    plain = [one for one in functions(module) if not is_command(one)]
    assert [one.name for one in plain if parameters(one) > MOST_PARAMETERS] == []


def functions(module: Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without `self` or `cls`."""
    names = [one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether its parameters are the options of a command line."""
    return any(ast.unparse(one).endswith(".command()") for one in function.decorator_list)
