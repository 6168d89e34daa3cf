"""Everything that was ever made."""

from studio.ui.tabs._tab import Context, Tab
from studio.ui.widgets.mounts import mount


def build(context: Context) -> None:
    mount("gallery")


TAB = Tab(id="gallery", label="Gallery", place=100, build=build)
