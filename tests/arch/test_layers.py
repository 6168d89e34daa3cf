"""Imports point one way: a room sees the rooms below it, and only the composition root sees all."""

from tests.arch.source import modules, place, room_of

WORDS = frozenset({"studio", "core", "discovery", "paths", "samplers"})
"""What everyone shares."""
ROOMS = frozenset(
    {
        "families",
        "preprocessors",
        "stylizers",
        "upscalers",
        "prompts",
        "jobs",
        "gallery",
        "checkpoints",
        "costs",
    }
)
EVERYTHING = frozenset({"everything"})

SEES = {
    **dict.fromkeys(WORDS | ROOMS, WORDS),
    # which family a file is of is what identifying means
    "checkpoints": WORDS | {"families", "costs"},
    # a file of weights is found and judged as a checkpoint's is
    "upscalers": WORDS | {"checkpoints"},
    # what was measured comes from the engine by way of the worker
    "jobs": WORDS | {"costs"},
    "tasks": WORDS | ROOMS - {"jobs", "gallery"},
    "engine": WORDS | ROOMS - {"jobs", "gallery"} | {"tasks"},
    # the rest is handed to its constructor
    "service": WORDS | {"tasks", "families", "costs"},
    "ui": WORDS | ROOMS | {"tasks", "service"},
    "api": WORDS | ROOMS | {"tasks", "service"},
    "settings": WORDS,
    "datadir": WORDS,
    "share": WORDS,
    "client": WORDS | {"service", "datadir"},
    "app": EVERYTHING,
    "commands": EVERYTHING,
    "cli": WORDS | {"commands"},
    # ControlNets learn from maps as the studio draws them
    "training": WORDS | {"preprocessors"},
}

HEAVY = {
    "torch": {"engine", "preprocessors", "training"},
    "torchvision": {"engine", "training"},
    "diffusers": {"engine", "training"},
    "transformers": {"engine", "preprocessors", "training"},
    "accelerate": {"engine", "training"},
    "peft": {"engine", "training"},
    "controlnet_aux": {"engine", "preprocessors"},
    "gradio": {"ui", "share"},
}
"""Which rooms may touch what is slow to import or binds us to a framework."""

NAMES = {module.name for module in modules()}


def target_room(dotted: str) -> str:
    return room_of(dotted if dotted in NAMES else dotted.rpartition(".")[0])


def test_every_room_says_what_it_may_import() -> None:
    assert {module.room for module in modules()} <= set(SEES)


def test_imports_point_down() -> None:
    wrong = [
        f"{place(module, line)} imports {dotted}"
        for module in modules()
        if (sees := SEES.get(module.room, WORDS)) is not EVERYTHING
        for dotted, line in module.imports()
        if dotted.startswith("studio.") and target_room(dotted) not in sees | {module.room}
    ]
    assert not wrong, "\n".join(wrong)


def test_frameworks_stay_in_their_rooms() -> None:
    wrong = [
        f"{place(module, line)} imports {dotted}"
        for module in modules()
        for dotted, line in module.imports(types_too=True)
        if module.room not in HEAVY.get(dotted.split(".")[0], {module.room})
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_the_training() -> None:
    wrong = [
        place(module, line)
        for module in modules()
        for dotted, line in module.imports(types_too=True)
        if dotted.startswith("studio.training") and module.room != "training"
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_do_not_import_in_circles() -> None:
    edges: dict[str, set[str]] = {}
    for module in modules():
        for dotted, _ in module.imports():
            if dotted.startswith("studio.") and (to := target_room(dotted)) != module.room:
                edges.setdefault(module.room, set()).add(to)

    def reach(room: str, path: tuple[str, ...]) -> None:
        assert room not in path, " → ".join((*path, room))
        for below in edges.get(room, ()):
            reach(below, (*path, room))

    for room in edges:
        reach(room, ())
