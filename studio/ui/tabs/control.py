"""Paint under control of maps: edges, depth, pose."""

from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.ui.form import Form, Values
from studio.ui.tabs._tab import Context, Tab
from studio.ui.widgets import canvas, painting, sampling, units
from studio.ui.widgets.units import units as control_units

ID = "control"


def build(context: Context) -> Form:
    choices = context.choices
    with painting.workplace(ID):
        with painting.column("words"):
            maps = control_units(ID)
            said = canvas.told(ID, ("checkpoint", "width", "height"))
            words, generate = painting.words(ID, choices)
        with painting.column("settings"):
            settings = painting.settings(ID, choices)
        with painting.column("stage"):
            painting.stage(ID)
    return Form(generate=generate, pieces=(maps, said, words, *settings))


def to_requests(values: Values) -> tuple[dict[str, Any], ...]:
    rows = units.read(values.get("units"))
    if not rows:
        raise InvalidRequest(
            "There is no picture to take control from.",
            "Choose, drop or paste one into a unit.",
            field="units",
        )
    return ({**sampling.to_fields(values), "units": rows},)


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**sampling.from_record(record), **_own(record["request"])}


def from_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**sampling.from_settings(fields), **_own(fields)}


def _own(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"units": units.write(fields["units"])} if fields.get("units") else {}


def from_picture(record: Mapping[str, Any]) -> dict[str, Any]:
    """The picture becomes the first unit's; a map is taken as it is, people as they are."""
    if record["task"] == "preprocess":
        if pose := record["facts"].get("pose"):
            return {"units": units.write([{"kind": "pose", "pose": pose}])}
        return {"units": units.write([{"kind": _kind(record), "map": record["id"]}])}
    return {"units": units.write([{"kind": "edges", "image": record["id"]}])}


def _kind(record: Mapping[str, Any]) -> str:
    return str(record["facts"].get("kind") or "edges")


TAB = Tab(
    id=ID,
    label="Control",
    place=60,
    build=build,
    task="control",
    invitation="Choose a picture that leads the way, say what you would like to see, then press Generate or Ctrl + Enter.",
    to_requests=to_requests,
    from_record=from_record,
    from_settings=from_settings,
    from_picture=from_picture,
)
