"""Paint from words."""

from collections.abc import Mapping
from typing import Any

from studio.ui.form import Form, Values
from studio.ui.tabs._tab import Context, Tab
from studio.ui.widgets import painting, references, sampling, units, upscaling

ID = "txt2img"


def build(context: Context) -> Form:
    choices = context.choices
    with painting.workplace(ID):
        with painting.column("words"):
            words, generate = painting.words(ID, choices)
        with painting.column("settings"):
            settings = painting.settings(ID, choices)
            looks = references.references(ID)
            second = upscaling.hires(ID, choices)
            carried = units.carried(ID)
        with painting.column("stage"):
            painting.stage(ID)
    return Form(generate=generate, pieces=(words, *settings, looks, second, carried))


def to_requests(values: Values) -> tuple[dict[str, Any], ...]:
    return (
        {
            **sampling.to_fields(values),
            **references.fields(values),
            **units.fields(values),
            **upscaling.hires_fields(values),
        },
    )


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **sampling.from_record(record),
        **references.form_values(record["request"]),
        **units.shown(record["request"]),
        **upscaling.hires_values(record["request"]),
    }


def from_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **sampling.from_settings(fields),
        **references.form_values(fields),
        **units.shown(fields),
        **upscaling.hires_values(fields),
    }


TAB = Tab(
    id=ID,
    label="Paint",
    place=10,
    build=build,
    task="txt2img",
    to_requests=to_requests,
    from_record=from_record,
    from_settings=from_settings,
)
