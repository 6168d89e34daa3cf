"""Rules that a reader could forget: where the environment is read, what is never called, …"""

import ast
import dataclasses
import importlib
from collections.abc import Iterator

import pytest

from studio.settings import Settings
from tests.arch.source import Module, modules, place

ENVIRONMENT = {
    "studio.settings": "the one place that reads it",
    "studio.engine.process": "the engine process keeps the Hugging Face libraries offline",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load",
                   "pickle.loads", "torch.hub.load", "yaml.load", "marshal.loads"}  # fmt: skip

FORBIDDEN_WORDS = {
    ("weights_only", False),
    ("shell", True),
    ("trust_remote_code", True),
    ("allow_pickle", True),
}

STUDIO = tuple(module for module in modules() if module.room != "training")


def nodes(module: Module, kind: type[ast.AST]) -> Iterator[ast.AST]:
    return (node for node in ast.walk(module.tree) if isinstance(node, kind))


def test_only_the_settings_read_the_environment() -> None:
    wrong = [
        place(module, node.lineno)
        for module in STUDIO
        if module.name not in ENVIRONMENT
        for node in nodes(module, ast.Attribute)
        if node.attr in {"environ", "getenv", "putenv", "environb"}
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_that_is_loaded_can_run_code() -> None:
    wrong = [
        f"{place(module, call.lineno)} calls {called}"
        for module in modules()
        for called, call in module.calls
        if called in FORBIDDEN_CALLS
    ]
    wrong += [
        f"{place(module, call.lineno)} says {ast.unparse(given)}"
        for module in modules()
        for _, call in module.calls
        for given in call.keywords
        if (given.arg, getattr(given.value, "value", None)) in FORBIDDEN_WORDS
    ]
    wrong += [
        f"{place(module, line)} imports {dotted}"
        for module in modules()
        for dotted, line in module.imports(types_too=True)
        if dotted.split(".")[0] in {"pickle", "dill", "shelve", "marshal"}
    ]
    assert not wrong, "\n".join(wrong)


def test_what_a_person_is_told_is_a_sentence() -> None:
    """The message and hint of every StudioError, where they are written out in the code."""
    errors = _error_names()
    wrong = [
        f"{place(module, words.lineno)} ends with …{end[-30:]!r}"
        for module in STUDIO
        for called, call in module.calls
        if called.rpartition(".")[2] in errors
        for words in call.args[:2]
        if (end := _end(words)) is not None and not end.endswith(".")
    ]
    assert not wrong, "\n".join(wrong)


def _error_names() -> frozenset[str]:
    """StudioError and everything derived from it, by name, wherever it is defined."""
    known = {"StudioError"}
    while True:
        more = {
            node.name
            for module in modules()
            for node in nodes(module, ast.ClassDef)
            if any(ast.unparse(base).rpartition(".")[2] in known for base in node.bases)
        }
        if more <= known:
            return frozenset(known)
        known |= more


def _end(words: ast.expr) -> str | None:
    """The last literal piece of a text; None if it ends with something computed."""
    if isinstance(words, ast.Constant) and isinstance(words.value, str):
        return words.value
    if isinstance(words, ast.JoinedStr) and words.values:
        return _end(words.values[-1])
    if isinstance(words, ast.BinOp):
        return _end(words.right)
    return None


def test_only_the_front_ends_translate_errors() -> None:
    wrong = [
        place(module, call.lineno)
        for module in STUDIO
        if module.room == "ui" and module.name != "studio.ui.errors"
        for called, call in module.calls
        if called in {"gr.Error", "gradio.Error", "Error"}
    ]
    assert not wrong, "\n".join(wrong)


def test_pictures_are_saved_in_one_place() -> None:
    found = [
        place(module, call.lineno)
        for module in modules()
        for called, call in module.calls
        if called.endswith(("gallery.add", "album.add"))
    ]
    # the worker asks the album, and the album is the gallery's only caller
    assert len(found) == 2, "\n".join(found)
    assert {entry.split(":")[0] for entry in found} == {"studio/app.py", "studio/jobs/worker.py"}


def test_modules_hold_no_state() -> None:
    """What lives long is built in app.py and handed down."""
    wrong = [
        place(module, node.lineno)
        for module in STUDIO
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.List | ast.Set | ast.ListComp | ast.SetComp)
        # a table in capitals is read, not written
        and not all(name.isupper() or name == "__all__" for name in _names(node))
    ]
    wrong += [place(module, node.lineno) for module in STUDIO for node in nodes(module, ast.Global)]
    assert not wrong, "\n".join(wrong)


def _names(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [ast.unparse(target) for target in targets]


def test_nothing_is_left_to_do_later() -> None:
    later = ("TODO", "FIXME", "XXX", "NotImplementedError")
    texts = {module.name: module.file.read_text("utf-8") for module in STUDIO}
    wrong = [(name, word) for name, text in texts.items() for word in later if word in text]
    assert not wrong


def test_every_setting_says_what_it_is() -> None:
    source = next(module for module in modules() if module.name == "studio.settings")
    settings = next(node for node in nodes(source, ast.ClassDef) if node.name == "Settings")
    told = {
        field.target.id
        for field, after in zip(settings.body, settings.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }
    assert told == {field.name for field in dataclasses.fields(Settings)}


PLAIN = (
    "studio.core.events",
    "studio.core.records",
    "studio.families._family",
    "studio.tasks._task",
)


@pytest.mark.parametrize("name", PLAIN)
def test_the_words_everyone_shares_are_frozen(name: str) -> None:
    module = importlib.import_module(name)
    loose = [
        value.__name__
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == name
        and dataclasses.is_dataclass(value)
        and not value.__dataclass_params__.frozen
    ]
    assert not loose
