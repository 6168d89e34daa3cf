"""The source tree as data, for the tests that keep its rules."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    name: str
    """Dotted, such as `studio.core.errors`."""
    file: Path

    @property
    def room(self) -> str:
        """The folder or file directly below studio/; `studio` for the package itself."""
        return room_of(self.name)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.file.read_text("utf-8"))

    @cached_property
    def calls(self) -> tuple[tuple[str, ast.Call], ...]:
        """Every call with what is called, such as `np.asarray`."""
        return tuple(
            (ast.unparse(node.func), node)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Call)
        )

    def imports(self, *, types_too: bool = False) -> Iterator[tuple[str, int]]:
        """Every dotted name that is imported, wherever in the file, with its line."""
        skipped = set() if types_too else set(_for_types_alone(self.tree))
        for node in ast.walk(self.tree):
            if node in skipped:
                continue
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.file}: relative import"
                for alias in node.names:
                    yield f"{node.module}.{alias.name}", node.lineno


def _for_types_alone(tree: ast.Module) -> Iterator[ast.AST]:
    """What stands under `if TYPE_CHECKING:`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from ast.walk(child)


def room_of(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the studio but other people's code."""
    found: list[Module] = []
    for file in sorted((ROOT / "studio").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if "_vendor" in parts:
            continue
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found.append(Module(".".join(parts), file))
    return tuple(found)


def place(module: Module, line: int) -> str:
    return f"{module.file.relative_to(ROOT)}:{line}"
