"""The layers of the package, read from the import statements of its source."""

import ast
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

# A module may import from its own line and from the lines above it. The two doors, which only re-export, stand where
# what they show stands: `miniagents.miniagents` shows the agents, `miniagents` itself everything up to the histories.
LAYERS = (
    "miniagents.promising",
    "miniagents.messages",
    "miniagents.agents",
    "miniagents.miniagents",
    "miniagents.utils",
    "miniagents.ext",
    "miniagents",
    "miniagents.testing",
    "miniagents.cli",
    "miniagents.__main__",
)

# What may be imported inside a function: packages that an installation without extras does not have.
OPTIONAL = frozenset({"openai", "anthropic"})

Import = tuple[ast.stmt | ast.expr, str]


def layer_of(module: str) -> str | None:
    """The layer that a module, or a name in it, belongs to; None outside the package."""
    if module.partition(".")[0] != "miniagents":
        return None
    return next(
        (layer for layer in LAYERS if layer != "miniagents" and f"{module}.".startswith(f"{layer}.")), "miniagents"
    )


def imports_of(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[Import]:
    """Every module that a source imports: by a statement anywhere in it or a literal argument of `import_module`."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node, alias.name) for alias in node.names)
            case ast.ImportFrom(module=name, level=level, names=names):
                base = ".".join(package.split(".")[: len(package.split(".")) + 1 - level]) if level else ""
                source = ".".join(part for part in (base, name) if part)
                # `from miniagents import ext` names the module `miniagents.ext`, not the door
                yield from ((node, f"{source}.{alias.name}") for alias in names)
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if _is_import_module(function):
                yield node, name


def _is_import_module(function: ast.expr) -> bool:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name == "import_module"
    return False


def upward_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports in `source`, as `line N: name`, that lead from the layer of `module` to a higher one."""
    own = layer_of(module)
    assert own is not None
    return [
        f"line {node.lineno}: {own} imports {name}"
        for node, name in imports_of(ast.parse(source), module, is_package=is_package)
        if (layer := layer_of(name)) is not None and LAYERS.index(layer) > LAYERS.index(own)
    ]


def foreign_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports in `source`, as `line N: name`, of anything but the standard library and the package itself."""
    return [
        f"line {node.lineno}: {name}"
        for node, name in imports_of(ast.parse(source), module, is_package=is_package)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "miniagents"}
    ]


def imports_inside_functions(source: str) -> list[str]:
    """The import statements in `source`, as `line N: name`, that a function runs, optional packages left out."""
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    found = {
        (node.lineno, name)
        for node, name in chain.from_iterable(
            imports_of(ast.Module(function.body, []), "miniagents", is_package=True) for function in functions
        )
        if isinstance(node, ast.stmt) and name.partition(".")[0] not in OPTIONAL
    }
    return [f"line {line}: {name}" for line, name in sorted(found)]


def module_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = sorted(SRC.rglob("*.py"))
every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SRC)))


def complain(path: Path, found: list[str]) -> str:
    return "\n".join(f"{path.relative_to(SRC.parent)}: {problem}" for problem in found)


@every_source
def test_no_module_imports_a_higher_layer(path: Path) -> None:
    """No module imports from a layer above its own."""
    found = upward_imports(path.read_text(encoding="utf-8"), module_of(path), is_package=path.stem == "__init__")
    assert not found, complain(path, found)


@every_source
def test_the_engine_stands_on_the_standard_library_alone(path: Path) -> None:
    """`miniagents.promising` imports nothing but the standard library."""
    if layer_of(module_of(path)) == "miniagents.promising":
        found = foreign_imports(path.read_text(encoding="utf-8"), module_of(path), is_package=path.stem == "__init__")
        assert not found, complain(path, found)


@every_source
def test_no_function_imports(path: Path) -> None:
    """Imports stand at the top of their module; only optional packages are imported when first used."""
    found = imports_inside_functions(path.read_text(encoding="utf-8"))
    assert not found, complain(path, found)


def test_every_module_has_a_layer() -> None:
    """Every file and folder of the package is in a layer; only the door itself stands directly in the package."""
    assert {module_of(path) for path in SOURCES if layer_of(module_of(path)) == "miniagents"} == {"miniagents"}


@pytest.mark.parametrize(
    "source",
    [
        "from miniagents.agents import MiniAgent",
        "import miniagents.utils",
        "from miniagents import ext",
        "from miniagents import MiniAgents",
        "from .. import agents",
        "from ..agents.mini_agent import MiniAgent",
        "def late():\n    from miniagents.ext import llm",
        "import typing\nif typing.TYPE_CHECKING:\n    from miniagents.agents import MiniAgent",
        "from importlib import import_module\nimport_module('miniagents.cli')",
    ],
)
def test_an_upward_import_is_found(source: str) -> None:
    """Every way to write an upward import is seen, with its line."""
    last_line = len(source.splitlines())
    (found,) = upward_imports(source, "miniagents.messages.message")
    assert found.startswith(f"line {last_line}: miniagents.messages imports miniagents")


@pytest.mark.parametrize(
    "source",
    [
        "from miniagents.promising import Promise",
        "from miniagents.messages.frozen import Frozen",
        "from .frozen import Frozen",
        "from ..promising.log import Log",
        "import asyncio, pydantic",
    ],
)
def test_a_downward_import_is_allowed(source: str) -> None:
    """Lower layers, the own layer and other packages are open to a module."""
    assert upward_imports(source, "miniagents.messages.message") == []


def test_a_foreign_import_is_found() -> None:
    """A package that is not in the standard library is seen, with its line; the own package is not foreign."""
    source = "import asyncio\nfrom miniagents.promising import log\nimport pydantic"
    assert foreign_imports(source, "miniagents.promising.log") == ["line 3: pydantic"]


def test_an_import_inside_a_function_is_found() -> None:
    """An import statement in a function is seen, with its line, unless it is of an optional package."""
    source = "import json\nasync def f():\n    import openai\n    def g():\n        import rich"
    assert imports_inside_functions(source) == ["line 5: rich"]
