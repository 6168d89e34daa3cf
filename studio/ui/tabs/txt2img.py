"""Paint from words."""

from studio.ui.form import Form
from studio.ui.tabs._tab import Context, Tab
from studio.ui.widgets import painting, sampling

ID = "txt2img"


def build(context: Context) -> Form:
    choices = context.studio.choices()
    with painting.workplace(ID):
        with painting.column("words"):
            words, generate = painting.words(ID, choices)
        with painting.column("settings"):
            settings = painting.settings(ID, choices)
        with painting.column("stage"):
            painting.stage(ID)
    return painting.finished(context, ID, generate, words, *settings)


TAB = Tab(
    id=ID,
    label="Paint",
    place=10,
    build=build,
    task="txt2img",
    to_requests=lambda values: (sampling.to_fields(values),),
    from_record=sampling.from_record,
    from_settings=sampling.from_settings,
)
