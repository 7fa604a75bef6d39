"""A file is one idea, a function fits a screen."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60

every_source = pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: str(path.relative_to(SRC)))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines from `def` to the end, without the docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    match function.body[0]:
        case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
            lines -= last - first + 1
    return lines


def long_functions(source: str) -> list[str]:
    """The functions in `source` that do not fit a screen, as `line N: name has M lines`."""
    return [
        f"line {node.lineno}: {node.name} has {lines_of(node)} lines, {MOST_LINES_OF_A_FUNCTION} are allowed"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > MOST_LINES_OF_A_FUNCTION
    ]


@every_source
def test_a_file_is_one_idea(path: Path) -> None:
    """No source file is longer than 400 lines."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES_OF_A_FILE, f"{path.relative_to(SRC.parent)} has {lines} lines: is it two ideas?"


@every_source
def test_a_function_fits_a_screen(path: Path) -> None:
    """No function has more than 60 lines beside its docstring."""
    found = long_functions(path.read_text(encoding="utf-8"))
    assert not found, "\n".join(f"{path.relative_to(SRC.parent)}: {problem}" for problem in found)


@pytest.mark.parametrize(("statements", "too_long"), [(59, False), (60, True)])
def test_the_docstring_does_not_count(statements: int, too_long: bool) -> None:
    """A function is as long as its signature and its statements; what its docstring says is free."""
    docstring = '    """Say.\n\n' + "    More.\n" * 50 + '    """\n'
    source = "async def f():\n" + docstring + "    pass\n" * statements
    assert bool(long_functions(source)) is too_long
