"""Paint under control of maps: edges, depth, pose."""

from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.ui.form import Form, Now, Values
from studio.ui.tabs._tab import Arrival, Context, Tab
from studio.ui.widgets import brought, canvas, painting, sampling, units
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


def from_picture(record: Mapping[str, Any], held: Values, now: Now) -> Arrival:
    """The settings and units that the picture was painted with, or else the units that are there,
    and the picture itself in a unit that is free."""
    asked = record["request"]
    values = {**brought.words(record, held, now), **_own(asked)}
    own = "units" in values
    meant = asked.get("checkpoint") if own else held.get("checkpoint")
    there = units.fitted(
        units.rows(values["units"] if own else held.get("units")),
        same_checkpoint=meant == values.get("checkpoint", held.get("checkpoint")),
    )
    more = units.with_one_more(there, _unit(record))
    full = TAKEN_OWN if own else TAKEN
    return Arrival(
        values={**values, "units": units.write(more or there)}, notes=() if more else (full,)
    )


TAKEN = "All four units are taken, so the picture is in none. Remove one, and send it again."
TAKEN_OWN = (
    "All four units are those the picture was painted under: none is free for the picture itself."
)


def _unit(record: Mapping[str, Any]) -> dict[str, Any]:
    """The picture as a unit: a map is taken as it is, people as they are."""
    if record["task"] != "preprocess":
        return {"image": record["id"]}
    if pose := record["facts"].get("pose"):
        return {"kind": "pose", "pose": pose}
    return {"kind": str(record["facts"].get("kind") or "edges"), "map": record["id"]}


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
