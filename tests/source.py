"""The gateway's own source, parsed, for tests about its shape."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gateway

PACKAGE = Path(gateway.__file__).parent


@dataclass(frozen=True)
class Module:
    """One file of the package, by its dotted name."""

    name: str
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """The package or module directly inside the gateway that it belongs to; `gateway` for the package itself."""
        _, _, inside = self.name.partition(".")
        return inside.partition(".")[0] or self.name


@cache
def modules() -> dict[str, Module]:
    """Every module by its name."""
    return {module.name: module for module in map(_parsed, sorted(PACKAGE.rglob("*.py")))}


def _parsed(path: Path) -> Module:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    text = path.read_text(encoding="utf-8")
    return Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), text, ast.parse(text))
