"""The page's head names every module and style sheet, at addresses that change with them."""

import re

from studio.core.versions import version
from studio.ui.head import FOLDER, head


def test_the_head_names_every_module_and_sheet_once() -> None:
    named = re.findall(r'href="(/[^"]+)"', head())
    ours = f"/assets/ui/v-{version(FOLDER)}/"
    files = [*FOLDER.glob("*.js"), *FOLDER.glob("*.css"), FOLDER / "icons" / "favicon.svg"]
    assert sorted(named) == sorted(ours + file.relative_to(FOLDER).as_posix() for file in files)
    assert f'<script type="module" src="{ours}main.js"></script>' in head()


def test_modules_find_each_other_below_the_same_version() -> None:
    for file in FOLDER.glob("*.js"):
        for found in re.findall(r'^import .* from "(.+)";$', file.read_text("utf-8"), re.MULTILINE):
            assert found.startswith("./") and (FOLDER / found).is_file(), (file.name, found)
