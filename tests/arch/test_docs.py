"""The README names only what exists, and every setting and flag of the studio."""

import argparse
import dataclasses
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from studio.cli import parser
from studio.commands.exit_codes import EXPLAINED
from studio.settings import PREFIX, Settings
from tests.arch.source import ROOT, modules

README = (ROOT / "README.md").read_text("utf-8")
SETTINGS = {field.name for field in dataclasses.fields(Settings)}
FOREIGN_FLAGS = {"--help"}
PART_OF = {"starlette", "pydantic-core", "annotated-types"}
"""Halves of fastapi and pydantic that their own documentation says to import."""


def flags() -> set[str]:
    return flags_of(parser()) | {"--help"}


def flags_of(command: argparse.ArgumentParser) -> set[str]:
    """Of a command and of those below it."""
    found: set[str] = set()
    for action in command._actions:
        found.update(option for option in action.option_strings if option.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found |= flags_of(below)
    return found


def test_every_flag_in_the_readme_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", README))
    assert not named - flags()


def test_every_flag_of_the_studio_is_in_the_readme() -> None:
    assert not {flag for flag in flags() if flag not in README} - FOREIGN_FLAGS


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_every_setting_is_in_the_readme(setting: str) -> None:
    assert f"`{setting}`" in README
    assert f"`{PREFIX}{setting.upper()}`" in README


def test_every_variable_in_the_readme_is_a_setting() -> None:
    named = {name.removeprefix(PREFIX).lower() for name in re.findall(rf"{PREFIX}[A-Z_]+", README)}
    assert not named - SETTINGS - {""}


def test_exit_codes_are_told_alike() -> None:
    assert set(re.findall(r"^\| (\d+) \|", README, re.MULTILINE)) == set(
        re.findall(r"^  (\d+) ", EXPLAINED, re.MULTILINE)
    )


def test_every_file_the_readme_names_exists() -> None:
    for target in re.findall(r"\]\(((?!http|#)[^)]+)\)", README):
        assert (ROOT / target.split("#")[0]).exists(), target


class TestPyproject:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()

    def test_every_dependency_and_every_ignored_rule_has_its_reason(self) -> None:
        entries = re.compile(r'^\s+"[\w-]+(\[\w+\])?(>=[^"]+)?",(.*)$')
        silent = [
            line
            for line in self.lines
            if (found := entries.match(line)) and not found[3].strip().startswith("#")
        ]
        # rows of several entries are lists of what is on, which needs no excuse
        assert not [line for line in silent if '", "' not in line]

    def test_every_dependency_is_pinned_in_the_constraints(self) -> None:
        extras = self.data["project"]["optional-dependencies"].values()
        wanted = [
            *self.data["project"]["dependencies"],
            *(need for extra in extras for need in extra),
        ]
        pins = {
            _folded(line.split("==")[0])
            for line in (ROOT / "assets" / "constraints.txt").read_text("utf-8").splitlines()
            if "==" in line
        }
        assert not {_folded(re.split(r"[\[>=<]", need)[0]) for need in wanted} - pins

    def test_every_package_that_is_imported_is_asked_for(self) -> None:
        project = self.data["project"]
        extras = project["optional-dependencies"].values()
        wanted = [*project["dependencies"], *(need for extra in extras for need in extra)]
        named = {_folded(re.split(r"[\[>=<]", need)[0]) for need in wanted}
        homes = packages_distributions()
        imported = {
            dotted.split(".")[0]
            for module in modules()
            for dotted, _ in module.imports(types_too=True)
        }
        foreign = imported - sys.stdlib_module_names - {"studio"}
        lost = {
            name
            for name in foreign
            if not {_folded(home) for home in homes.get(name, [name])} & (named | PART_OF)
        }
        assert not lost

    def test_only_one_opencv_is_pinned(self) -> None:
        text = (ROOT / "assets" / "constraints.txt").read_text("utf-8").lower()
        assert re.findall(r"^opencv[\w-]*", text, re.MULTILINE) == ["opencv-python-headless"]

    def test_no_pin_belongs_to_one_machine(self) -> None:
        text = (ROOT / "assets" / "constraints.txt").read_text("utf-8")
        assert "+" not in text
        assert "file:" not in text
        assert "@" not in text


def _folded(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
