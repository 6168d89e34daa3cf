"""A drawer is its own registry: a good file appears, a bad one stops the start with its reason."""

import ast
import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from studio.discovery import DrawerError, open_drawer
from studio.families._family import Family
from studio.tasks._task import Task
from tests.arch.source import Module, modules

KINDS: dict[str, tuple[str, str]] = {
    "studio.families": ("studio.families._family", "Family"),
    "studio.tasks": ("studio.tasks._task", "Task"),
    "studio.preprocessors": ("studio.preprocessors._preprocessor", "Preprocessor"),
    "studio.stylizers": ("studio.stylizers._stylizer", "Stylizer"),
    "studio.upscalers": ("studio.upscalers._upscaler", "Upscaler"),
    "studio.ui.tabs": ("studio.ui.tabs._tab", "Tab"),
    "studio.api.routes": ("studio.api.routes._routes", "Routes"),
}
"""Every drawer there is or will be, and the type of its entries."""

PRESENT = [package for package in KINDS if any(module.name == package for module in modules())]


def kind_of(package: str) -> type[Any]:
    module, name = KINDS[package]
    return getattr(importlib.import_module(module), name)


@pytest.fixture
def drawer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty drawer that can be imported as `a_drawer`."""
    folder = tmp_path / "a_drawer"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "a_drawer"]:
        del sys.modules[name]


ENTRY = """
from dataclasses import dataclass
from tests.arch.test_drawers import Thing
THING = Thing({id!r})
"""


@dataclasses.dataclass(frozen=True)
class Thing:
    id: str


def opened() -> dict[str, Thing]:
    importlib.invalidate_caches()
    return dict(open_drawer("a_drawer", Thing))


@pytest.fixture(autouse=True)
def _same_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries in a drawer import the class that the test compares with."""
    monkeypatch.setitem(sys.modules, "tests.arch.test_drawers", sys.modules[__name__])


def test_a_new_file_appears(drawer: Path) -> None:
    (drawer / "one.py").write_text(ENTRY.format(id="one"))
    (drawer / "_contract.py").write_text("raise RuntimeError('not an entry')")
    assert opened() == {"one": Thing("one")}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "a_drawer/bad.py must export one Thing, it exports 0"),
        (
            ENTRY.format(id="x") + "OTHER = Thing('y')",
            "a_drawer/bad.py must export one Thing, it exports 2",
        ),
        (ENTRY.format(id="good"), "repeats the id 'good'"),
        ("import nothing_of_that_name", "a_drawer/bad.py cannot be imported"),
        ("def broken(:", "a_drawer/bad.py cannot be imported"),
    ],
)
def test_a_bad_file_stops_the_start_with_file_and_reason(
    drawer: Path, source: str, reason: str
) -> None:
    (drawer / "bad.py").write_text(source)
    (drawer / "good.py").write_text(ENTRY.format(id="good"))
    with pytest.raises(DrawerError) as caught:
        opened()
    assert reason in str(caught.value)


@pytest.mark.parametrize("package", PRESENT)
def test_every_drawer_opens_and_its_entries_cannot_be_changed(package: str) -> None:
    kind = kind_of(package)
    entries = open_drawer(package, kind)
    assert entries, f"{package} is empty"
    assert kind.__dataclass_params__.frozen
    for entry in entries.values():
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            entry.id = "changed"


def test_every_drawer_is_listed_here() -> None:
    found = {
        module.name.rpartition(".")[0]
        for module in modules()
        if module.name.rpartition(".")[2].startswith("_")
        and any(name.startswith(module.name.rpartition(".")[0] + ".") for name in KINDS)
    }
    assert not found - set(KINDS)


TASKS = open_drawer("studio.tasks", Task)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.id)
class TestTasks:
    def test_its_request_is_frozen_and_hashable(self, task: Task) -> None:
        assert task.request.__dataclass_params__.frozen
        assert task.request.__hash__ is not None

    def test_every_field_says_what_it_is(self, task: Task) -> None:
        from studio.core.requests import schema

        silent = [
            name
            for name, rule in schema(task.request)["properties"].items()
            if not rule.get("description")
        ]
        assert not silent, f"fields of {task.id} without a docstring: {', '.join(silent)}"

    def test_it_has_the_signatures_of_its_drawer(self, task: Task) -> None:
        assert list(inspect.signature(task.resolve).parameters) == ["request", "facts"]
        assert list(inspect.signature(task.run).parameters) == ["request", "tools"]


@pytest.mark.parametrize(
    "family", open_drawer("studio.families", Family).values(), ids=lambda f: f.id
)
def test_a_family_is_named_in_its_own_file_alone(family: Family) -> None:
    own = f"studio.families.{family.id}"
    wrong = [
        module.name
        for module in modules()
        if module.name != own
        # another family may have to be tried before or after this one
        and not module.name.startswith("studio.families.")
        and module.room != "training"
        and family.id in _texts(module)
    ]
    assert not wrong, (
        f"'{family.id}' is named in {', '.join(wrong)}: ask a capability field instead"
    )


@cache
def _texts(module: Module) -> frozenset[str]:
    """What is written in it as a text."""
    return frozenset(
        node.value
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
