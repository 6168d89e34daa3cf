from pathlib import Path

from studio.core.versions import version


def test_a_version_changes_with_every_byte_and_name(tmp_path: Path) -> None:
    def of(name: str, **files: str) -> str:
        for file, text in files.items():
            path = tmp_path / name / file.replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return version(tmp_path / name)

    first = of("a", main="x", icons_i="y")
    assert len(first) == 16 and of("b", main="x", icons_i="y") == first
    others = [
        of("c", main="z", icons_i="y"),
        of("d", main="x", icons_i="z"),
        of("e", mean="x", icons_i="y"),
        of("f", main="x"),
    ]
    assert len({first, *others}) == 5
