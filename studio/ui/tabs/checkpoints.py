"""Which checkpoints there are, and where more come from."""

from studio.ui.tabs._tab import Context, Tab
from studio.ui.widgets.mounts import mount


def build(context: Context) -> None:
    mount("checkpoints")


TAB = Tab(id="checkpoints", label="Checkpoints", place=95, build=build)
