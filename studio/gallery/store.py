"""The gallery: a row in SQLite for every picture file, and a file for every row.

The file is written first and read back, then the row; `repair` mends what a crash left in between.
Files tell their whole story, so the database can be rebuilt from them.
"""

import json
import math
import os
import re
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.core import png
from studio.core.errors import InvalidRequest, NotFound, StorageFailed, TooLarge
from studio.core.records import ImageRecord, Picture, Preset, new_id
from studio.core.sqlite import Database, DatabaseDamaged, set_aside
from studio.gallery import files
from studio.gallery.migrations import GALLERY
from studio.gallery.search import match, plain, searchable
from studio.gallery.thumbnails import Thumbnails

MIN_FREE_BYTES = 500_000_000
"""Below this much free disk no job is taken."""
MAX_PAGE = 200
MAX_DRAFT_BYTES = 64 << 10
MAX_PRESETS = 500
"""Styles in words kept per owner."""
MAX_DRAFTS = 32
"""Tabs whose form is kept per owner."""
NOBODY = "local"
"""Whose a picture is when only its file is left: the person at this machine's."""

_ID = re.compile("[0-9a-f]{32}")
_STORY_VERSION = 1
_MAX_FOREIGN_NUMBER = 2**40


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Which pictures, newest first. None and "" do not narrow."""

    text: str = ""
    """Words of the prompt or negative prompt; the ends of words may be missing."""
    checkpoint: str | None = None
    task: str | None = None
    without: str | None = None
    """A task whose pictures are left out."""
    starred: bool | None = None
    since: float | None = None
    """Made at or after this moment: seconds since 1970, UTC."""
    until: float | None = None
    """Made before this moment."""
    trashed: bool = False
    """The trash instead of the gallery."""
    cursor: str | None = None
    """`next_cursor` of the page before."""
    limit: int = 60
    """1 … 200."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    records: tuple[ImageRecord, ...]
    next_cursor: str | None
    """None on the last page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """What `repair` found."""

    added: int = 0
    """Whole files without a row; they have one now."""
    missing: int = 0
    """Rows without a file; they are no longer listed."""
    returned: int = 0
    """Rows whose file is back, or was found under another name."""
    swept: int = 0
    """Unfinished files of a crash; they are gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Story:
    """What a picture's file says of it."""

    number: int
    id: str
    job: str
    position: int
    task: str
    seed: int
    width: int
    height: int
    request: dict[str, Any]
    infotext: str
    facts: dict[str, Any]
    parents: tuple[str, ...]
    created: float


class Gallery:
    """Everything below `data_dir` but its inputs. Safe to call from any thread.

    `owner_of` tells whose a job was, for files that lost their row; None if it is not known.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        owner_of: Callable[[str], str | None] | None = None,
        min_free_bytes: int = MIN_FREE_BYTES,
    ) -> None:
        """Opens or makes the gallery and repairs it.

        A damaged database is set aside and rebuilt from the files (stars and trash are lost).
        Raises `StorageFailed` if the folder cannot be written or is not the one the rows are about.
        """
        self._root = data_dir
        self._pictures = data_dir / "pictures"
        self._owner_of = owner_of
        self._min_free_bytes = min_free_bytes
        self._saving = threading.Lock()
        """Held while files and rows do not match."""
        files.make_folder(data_dir)
        self._db = self._open()
        try:
            self._thumbnails = Thumbnails(data_dir / "thumbs")
            self.repair()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    # Writing

    def add(
        self,
        owner: str,
        job_id: str,
        task: str,
        request: Mapping[str, Any],
        picture: Picture,
        infotext: str,
        parents: Sequence[str] = (),
    ) -> ImageRecord:
        """Keeps a picture: once this returns, file and row survive kill -9 and power loss.

        Raises `StorageFailed`; then there is neither file nor row.
        """
        with self._saving:
            self._require_own_folder()
            while True:
                story = self._story(job_id, task, request, picture, infotext, parents)
                try:
                    file = self._write(story, picture)
                except FileExistsError:  # the same eight digits in the same second: new ones
                    continue
                try:
                    with self._db.write() as db:
                        _insert(db, story, owner, file)
                except BaseException:
                    _remove(self._root / file)
                    raise
                return self.record(owner, story.id)

    def star(self, owner: str, image_id: str, starred: bool) -> None:
        """Raises `NotFound`."""
        self._flag(owner, (image_id,), "starred", starred)

    def trash(self, owner: str, image_ids: Sequence[str]) -> None:
        """Out of the gallery, into the trash. Raises `NotFound` if one is not there; none moves."""
        self._flag(owner, image_ids, "trashed", True)

    def restore(self, owner: str, image_ids: Sequence[str]) -> None:
        """Back from the trash. Raises `NotFound` if one is not there; none moves."""
        self._flag(owner, image_ids, "trashed", False)

    def empty_trash(self, owner: str, needed: Set[str] = frozenset()) -> int:
        """Deletes files and rows of what is in the trash, for good; how many pictures. Those with an
        id in `needed` stay there.

        Raises `StorageFailed` if files cannot be deleted; those stay in the trash.
        """
        with self._saving:
            self._require_own_folder()
            found = self._db.read(
                "SELECT seq, id, file FROM pictures WHERE owner = ? AND trashed = 1", (owner,)
            )
            rows = [row for row in found if row["id"] not in needed]
            # files go first: a file without row would come back at the next start
            gone: list[sqlite3.Row] = []
            failure: OSError | None = None
            for row in rows:
                try:
                    (self._root / row["file"]).unlink(missing_ok=True)
                    gone.append(row)
                except OSError as error:
                    failure = error
            for folder in {(self._root / row["file"]).parent for row in gone}:
                if folder.is_dir():
                    try:
                        files.sync_folder(folder)
                    except OSError as error:
                        raise files.storage_failed(error) from error
            with self._db.write() as db:
                db.executemany(
                    "DELETE FROM pictures WHERE seq = ?", [(row["seq"],) for row in gone]
                )
        for row in gone:
            self._thumbnails.forget(row["id"])
        if failure is not None:
            raise files.storage_failed(failure) from failure
        return len(gone)

    # Reading

    def records(self, owner: str, query: Query) -> Page:
        """A page of the owner's pictures, newest first. Raises `InvalidRequest`."""
        sql, params = _listing(owner, query)
        if sql is None:
            return Page(records=(), next_cursor=None)
        try:
            rows = self._db.read(sql, params)
        except DatabaseDamaged:
            _mend_words(self._db)  # most likely: the word index is what SQLite checks least
            rows = self._db.read(sql, params)
        page = rows[: query.limit]
        more = len(rows) > query.limit
        return Page(
            records=tuple(_record(row) for row in page),
            next_cursor=str(page[-1]["seq"]) if more else None,
        )

    def record(self, owner: str, image_id: str) -> ImageRecord:
        """Any picture of the owner's, also one in the trash. Raises `NotFound`."""
        rows = (
            self._db.read("SELECT * FROM pictures WHERE id = ? AND owner = ?", (image_id, owner))
            if _ID.fullmatch(image_id)
            else []
        )
        if not rows:
            raise _unknown_picture()
        return _record(rows[0])

    def job_images(self, job_id: str) -> tuple[ImageRecord, ...]:
        """The pictures of a job in its order, without those in the trash. Asks for no owner."""
        rows = self._db.read(
            "SELECT * FROM pictures WHERE job = ? AND trashed = 0 AND missing = 0"
            " ORDER BY position, seq",
            (plain(job_id),),
        )
        return tuple(_record(row) for row in rows)

    def file(self, owner: str, image_id: str) -> Path:
        """The PNG as it was saved. Raises `NotFound`, also if somebody deleted the file."""
        path = self._root / self.record(owner, image_id).file
        if not path.is_file():
            raise NotFound(
                "The file of this picture is gone.", "It was deleted outside the studio."
            )
        return path

    def thumb(self, owner: str, image_id: str) -> Path:
        """A WebP whose longest side is at most 384 px, made when first asked for.

        A picture that cannot be read gives a grey tile. If there is no room for a thumbnail, this
        is the picture's own file. Raises `NotFound`.
        """
        record = self.record(owner, image_id)
        return self._thumbnails.of(record.id, self._root / record.file)

    def parents(self, owner: str) -> frozenset[str]:
        """Refs of all that the owner's pictures were made from, those in the trash too."""
        rows = self._db.read(
            "SELECT DISTINCT value FROM pictures, json_each(pictures.parents)"
            " WHERE owner = ? AND missing = 0 AND parents != '[]'",
            (owner,),
        )
        return frozenset(str(row["value"]) for row in rows)

    # Forms

    def drafts(self, owner: str) -> tuple[dict[str, Any], ...]:
        """All forms as this owner left them."""
        rows = self._db.read("SELECT data FROM drafts WHERE owner = ?", (owner,))
        return tuple(_object(row["data"]) for row in rows)

    def draft(self, owner: str, tab: str) -> dict[str, Any]:
        """The form of a tab as this owner left it; empty if never touched."""
        rows = self._db.read(
            "SELECT data FROM drafts WHERE owner = ? AND tab = ?", (owner, plain(tab))
        )
        return _object(rows[0]["data"]) if rows else {}

    def save_draft(self, owner: str, tab: str, values: Mapping[str, Any]) -> None:
        """Keeps a form of at most 64 KB as JSON. Raises `TooLarge`, `InvalidRequest`."""
        try:
            data = json.dumps(dict(values), allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise InvalidRequest(
                "The form holds something that cannot be kept.", "Reload the page."
            ) from None
        if len(data) > MAX_DRAFT_BYTES or len(tab) > 60:
            raise TooLarge(
                f"The form is too large to be kept ({len(data) // 1000} kB, the limit is 64 kB).",
                "Shorten its texts.",
            )
        with self._db.write() as db:
            db.execute(
                "INSERT INTO drafts VALUES (?, ?, ?)"
                " ON CONFLICT (owner, tab) DO UPDATE SET data = excluded.data",
                (owner, plain(tab), data),
            )
            kept = db.execute("SELECT COUNT(*) FROM drafts WHERE owner = ?", (owner,)).fetchone()
            if kept[0] > MAX_DRAFTS:
                raise InvalidRequest("There are too many kept forms.", "Reload the page.")

    # Styles in words

    def presets(self, owner: str) -> tuple[Preset, ...]:
        """This owner's own, by name."""
        rows = self._db.read(
            "SELECT name, prompt, negative FROM presets WHERE owner = ?"
            " ORDER BY name COLLATE NOCASE, name",
            (owner,),
        )
        return tuple(
            Preset(name=row["name"], prompt=row["prompt"], negative_prompt=row["negative"])
            for row in rows
        )

    def save_presets(self, owner: str, presets: Sequence[Preset]) -> None:
        """Keeps all of them or none; those of the same name are replaced. Raises `TooLarge`."""
        with self._db.write() as db:
            for one in presets:
                db.execute(
                    "INSERT INTO presets VALUES (?, ?, ?, ?) ON CONFLICT (owner, name)"
                    " DO UPDATE SET prompt = excluded.prompt, negative = excluded.negative",
                    (owner, plain(one.name), plain(one.prompt), plain(one.negative_prompt)),
                )
            kept = db.execute("SELECT COUNT(*) FROM presets WHERE owner = ?", (owner,)).fetchone()
            if kept[0] > MAX_PRESETS:
                raise TooLarge(
                    f"That would be {kept[0]} styles; at most {MAX_PRESETS} are kept.",
                    "Remove some first.",
                )

    def remove_preset(self, owner: str, name: str) -> None:
        """Raises `NotFound` if this owner has none of that name."""
        with self._db.write() as db:
            found = db.execute(
                "DELETE FROM presets WHERE owner = ? AND name = ?", (owner, plain(name))
            )
            if not found.rowcount:
                raise NotFound("There is no such style of yours.", "Reload the page.")

    # Keeping it whole

    def require_space(self) -> None:
        """Raises `StorageFailed` if the disk is nearly full or the pictures' disk is not there."""
        self._require_own_folder()
        files.require_free(self._pictures, self._min_free_bytes)

    def repair(self) -> Repaired:
        """Makes rows and files match, whatever was in the middle when the power went.

        Unfinished files are swept, rows without file hidden (they return with their file), whole
        files without row added from their own story. Files of other programs are left alone.
        """
        with self._saving:
            swept = files.sweep(self._pictures) + files.sweep(self._root / "thumbs")
            on_disk = self._on_disk()
            rows = self._db.read("SELECT seq, file, missing, trashed FROM pictures")
            known = {_normal(row["file"]): row for row in rows}
            lost = [row for name, row in known.items() if name not in on_disk]
            back = [row for name, row in known.items() if name in on_disk and row["missing"]]
            new = self._stories(file for name, file in on_disk.items() if name not in known)
            added = found = 0
            with self._db.write() as db:
                # deleting was under way: the file went first
                db.executemany(
                    "DELETE FROM pictures WHERE seq = ?",
                    [(row["seq"],) for row in lost if row["trashed"]],
                )
                db.executemany(
                    "UPDATE pictures SET missing = ? WHERE seq = ?",
                    [
                        *((1, row["seq"]) for row in lost if not row["missing"]),
                        *((0, row["seq"]) for row in back),
                    ],
                )
                for story, file in new:
                    if self._adopt(db, story, file):
                        added += 1
                    else:
                        found += 1
            gone = sum(1 for row in lost if not row["missing"] and not row["trashed"])
        return Repaired(added=added, missing=gone - found, returned=len(back) + found, swept=swept)

    def reindex(self) -> int:
        """Reads every file anew and corrects the rows by what they say; how many pictures.

        Owners, stars and trash stay as they are.
        """
        self.repair()
        with self._saving:
            told = self._stories(self._on_disk().values())
            with self._db.write() as db:
                for story, file in told:
                    values = {**_values(story, "", file), "file": file}
                    for kept in ("owner", "id"):
                        del values[kept]
                    changes = ", ".join(f"{column} = :{column}" for column in values)
                    db.execute(f"UPDATE pictures SET {changes} WHERE file = :file", values)
        return len(told)

    def _open(self) -> Database:
        path = self._root / "gallery.db"
        try:
            db = _sound(path)
        except DatabaseDamaged:
            self._require_marked(has_rows=True)
            set_aside(path)
            return Database(path, GALLERY)
        try:
            rows = db.read("SELECT EXISTS (SELECT 1 FROM pictures)")[0][0]
            self._require_marked(has_rows=bool(rows))
        except BaseException:
            db.close()
            raise
        return db

    def _require_marked(self, *, has_rows: bool) -> None:
        for folder in (self._root, self._pictures):
            if files.is_marked(folder):
                continue
            if has_rows:
                raise _foreign_folder()
            files.mark(folder)

    def _require_own_folder(self) -> None:
        if not files.is_marked(self._pictures):
            raise _foreign_folder()

    def _story(
        self,
        job_id: str,
        task: str,
        request: Mapping[str, Any],
        picture: Picture,
        infotext: str,
        parents: Sequence[str],
    ) -> _Story:
        last = self._db.read("SELECT seq FROM sqlite_sequence WHERE name = 'pictures'")
        return _Story(
            number=(last[0]["seq"] if last else 0) + 1,
            id=new_id(),
            job=job_id,
            position=picture.index,
            task=task,
            seed=picture.seed,
            width=picture.width,
            height=picture.height,
            request=_as_json(request),
            infotext=plain(infotext),
            facts=_as_json(picture.facts),
            parents=tuple(parents),
            created=time.time(),
        )

    def _write(self, story: _Story, picture: Picture) -> str:
        """Writes the file and reads it back; its path below the data folder."""
        folder = self._pictures / files.month(story.created)
        files.make_folder(folder)
        prompt = str(story.request.get("prompt", ""))
        path = folder / files.picture_name(story.created, prompt, story.id)
        texts = {png.PARAMETERS: story.infotext, png.STORY: png.story_text(_told(story))}
        files.write_whole(path, png.encode(picture, texts))
        try:
            if _read_story(path) != story:
                raise png.DamagedPng("it tells another story")
        except (png.DamagedPng, OSError) as error:
            _remove(path)
            raise StorageFailed(
                "The picture did not arrive on the disk as it was.",
                "Check the disk; the picture can be made again from the same settings.",
            ) from error
        except BaseException:
            _remove(path)
            raise
        return path.relative_to(self._root).as_posix()

    def _flag(self, owner: str, image_ids: Sequence[str], flag: str, value: bool) -> None:
        with self._db.write() as db:
            for image_id in image_ids:
                changed = _ID.fullmatch(image_id) and db.execute(
                    f"UPDATE pictures SET {flag} = ? WHERE id = ? AND owner = ?",
                    (int(value), image_id, owner),
                )
                if not changed or not changed.rowcount:
                    raise _unknown_picture()

    def _on_disk(self) -> dict[str, str]:
        """The path below the data folder of every PNG in pictures/, by its normalized name."""
        found: dict[str, str] = {}
        try:
            with os.scandir(self._pictures) as months:
                folders = [month.name for month in months if month.is_dir()]
            for folder in folders:
                for name in os.listdir(self._pictures / folder):
                    if name.endswith(".png") and not name.startswith("."):
                        file = f"{self._pictures.name}/{folder}/{name}"
                        found[_normal(file)] = file
        except OSError as error:
            raise files.storage_failed(error) from error
        return found

    def _stories(self, names: Iterable[str]) -> list[tuple[_Story, str]]:
        """What whole files of ours tell, in the order they were made."""
        told: list[tuple[_Story, str]] = []
        for file in names:
            path = self._root / file
            try:
                story = _read_story(path) if png.tells(path, png.STORY) else None
            except (png.DamagedPng, OSError):
                continue
            if story is not None:
                told.append((story, file))
        return sorted(told, key=lambda found: (found[0].number, found[0].created, found[1]))

    def _adopt(self, db: sqlite3.Connection, story: _Story, file: str) -> bool:
        """Gives a file a row; False if it had one under another name, which now knows better."""
        row = db.execute("SELECT seq, missing FROM pictures WHERE id = ?", (story.id,)).fetchone()
        if row is not None and row["missing"]:
            db.execute(
                "UPDATE pictures SET file = ?, missing = 0 WHERE seq = ?", (file, row["seq"])
            )
            return False
        owner = (self._owner_of(story.job) if self._owner_of else None) or NOBODY
        # somebody copied the file: the copy is a picture of its own
        _insert(db, story, owner, file, image_id=story.id if row is None else new_id())
        return True


def _sound(path: Path) -> Database:
    """The database, checked from end to end. Raises `DatabaseDamaged`."""
    db = Database(path, GALLERY)
    try:
        if not db.integrity():
            raise DatabaseDamaged("The gallery's records are damaged.", "Start the studio again.")
        _mend_words(db)
    except BaseException:
        db.close()
        raise
    return db


def _mend_words(database: Database) -> None:
    """Builds the word index anew if it is damaged: SQLite's own check does not look into it."""
    try:
        with database.write() as db:
            # rank 1 compares it with the rows; without that an emptied index passes
            db.execute(
                "INSERT INTO pictures_words (pictures_words, rank) VALUES ('integrity-check', 1)"
            )
    except DatabaseDamaged:
        with database.write() as db:
            db.execute("INSERT INTO pictures_words (pictures_words) VALUES ('rebuild')")


def _listing(owner: str, query: Query) -> tuple[str | None, dict[str, Any]]:
    """The SQL of a page and its parameters; None if nothing can match. Raises `InvalidRequest`."""
    if not 1 <= query.limit <= MAX_PAGE:
        raise InvalidRequest(
            f"A page holds 1 to {MAX_PAGE} pictures (got {query.limit}).",
            "Ask for fewer at a time.",
            field="limit",
        )
    conditions = ["pictures.owner = :owner", "pictures.missing = 0"]
    conditions.append(f"pictures.trashed = {int(query.trashed)}")
    params: dict[str, Any] = {"owner": owner, "limit": query.limit + 1}
    tables, order = "pictures", "pictures.seq"
    if query.text.strip():
        words = match(query.text)
        if words is None:
            return None, {}
        # the index yields its rows in the order wanted, so it leads
        tables = "pictures_words CROSS JOIN pictures ON pictures.seq = pictures_words.rowid"
        order = "pictures_words.rowid"
        conditions.append("pictures_words MATCH :words")
        params["words"] = words
    if query.cursor is not None:
        conditions.append(f"{order} < :cursor")
        params["cursor"] = _number(query.cursor)
    if query.starred is not None:
        conditions.append(f"pictures.starred = {int(query.starred)}")
    for column in ("checkpoint", "task"):
        if (value := getattr(query, column)) is not None:
            conditions.append(f"pictures.{column} = :{column}")
            params[column] = plain(value)
    if query.without is not None:
        conditions.append("pictures.task != :without")
        params["without"] = plain(query.without)
    for name, comparison in (("since", ">="), ("until", "<")):
        if (moment := getattr(query, name)) is not None:
            if not math.isfinite(moment):
                raise InvalidRequest("The date is not a number.", "Choose another.", field=name)
            conditions.append(f"pictures.created {comparison} :{name}")
            params[name] = float(moment)
    return (
        f"SELECT pictures.* FROM {tables} WHERE {' AND '.join(conditions)}"
        f" ORDER BY {order} DESC LIMIT :limit"
    ), params


def _number(cursor: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", cursor):
        raise InvalidRequest(
            "The place in the list is not known.", "Start at the first page.", field="cursor"
        )
    return int(cursor)


def _told(story: _Story) -> dict[str, Any]:
    """The `pochade` chunk. No owner, no path, no name of this machine is ever part of it."""
    return {
        "version": _STORY_VERSION,
        "task": story.task,
        "request": story.request,
        "seed": story.seed,
        "index": story.position,
        "job": story.job,
        "id": story.id,
        "number": story.number,
        "facts": story.facts,
        "parents": list(story.parents),
        "created": story.created,
    }


def _read_story(path: Path) -> _Story | None:
    """What a file tells; None if it is not ours. Raises `DamagedPng`, `OSError`."""
    facts = png.read(path)
    try:
        parsed: object = json.loads(facts.texts.get(png.STORY, ""))
    except (ValueError, RecursionError):
        return None
    told = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
    if told.get("version") != _STORY_VERSION:
        return None
    kinds = {
        "task": str, "request": dict, "seed": int, "index": int, "job": str, "id": str,
        "number": int, "facts": dict, "parents": list, "created": float,
    }  # fmt: skip
    if any(type(told.get(key)) is not kind for key, kind in kinds.items()):
        return None
    numbers_fit = (
        0 < told["number"] < 2**62 and 0 <= told["index"] < 2**31 and abs(told["created"]) < 1e11
    )
    names_fit = _ID.fullmatch(told["id"]) and all(type(ref) is str for ref in told["parents"])
    if not (numbers_fit and names_fit):
        return None
    return _Story(
        number=told["number"],
        id=told["id"],
        job=told["job"],
        position=told["index"],
        task=told["task"],
        seed=told["seed"],
        width=facts.width,
        height=facts.height,
        request=told["request"],
        infotext=facts.texts.get(png.PARAMETERS, ""),
        facts=told["facts"],
        parents=tuple(told["parents"]),
        created=told["created"],
    )


def _values(story: _Story, owner: str, file: str) -> dict[str, Any]:
    """A row, but for its number and its flags."""
    request = story.request
    return {
        "id": story.id,
        "owner": owner,
        "job": plain(story.job),
        "position": story.position,
        "task": plain(story.task),
        "checkpoint": plain(str(request.get("checkpoint") or "")),
        "seed": str(story.seed),
        "width": story.width,
        "height": story.height,
        "request": json.dumps(request),
        "infotext": plain(story.infotext),
        "facts": json.dumps(story.facts),
        "parents": json.dumps(story.parents),
        "words": searchable(f"{request.get('prompt', '')}\n{request.get('negative_prompt', '')}"),
        "file": file,
        "created": story.created,
    }


def _insert(
    db: sqlite3.Connection, story: _Story, owner: str, file: str, image_id: str | None = None
) -> None:
    values = _values(story, owner, file)
    values["id"] = image_id or story.id
    taken = db.execute("SELECT 1 FROM pictures WHERE seq = ?", (story.number,)).fetchone()
    # a stranger's file must not use up the numbers that are left
    values["seq"] = None if taken or story.number > _MAX_FOREIGN_NUMBER else story.number
    db.execute(
        f"INSERT INTO pictures ({', '.join(values)})"
        f" VALUES ({', '.join(f':{column}' for column in values)})",
        values,
    )


def _record(row: sqlite3.Row) -> ImageRecord:
    return ImageRecord(
        id=row["id"],
        owner=row["owner"],
        job_id=row["job"],
        index=row["position"],
        task=row["task"],
        request=_object(row["request"]),
        seed=_whole(row["seed"]),
        width=row["width"],
        height=row["height"],
        infotext=row["infotext"],
        facts=_object(row["facts"]),
        file=row["file"],
        created=row["created"],
        starred=bool(row["starred"]),
        trashed=bool(row["trashed"]),
        parents=tuple(_list(row["parents"])),
    )


def _as_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping as it will come back from the file: tuples are lists there."""
    return json.loads(png.story_text(data))


def _object(text: str) -> dict[str, Any]:
    """JSON of a row. A row that the disk has changed must not hide the others: it is empty then."""
    try:
        found: object = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _list(text: str) -> list[str]:
    found: object = _object(f'{{"list": {text}}}').get("list")
    return [str(part) for part in cast("list[object]", found)] if isinstance(found, list) else []


def _whole(text: str) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0


def _normal(name: str) -> str:
    """File names as they compare: some file systems hand letters with accents back in two parts."""
    return unicodedata.normalize("NFC", name)


def _remove(path: Path) -> None:
    """Takes back a file that has no row. If the disk refuses, `repair` gives it one later."""
    try:
        path.unlink(missing_ok=True)
        files.sync_folder(path.parent)
    except OSError:
        return


def _unknown_picture() -> NotFound:
    return NotFound("There is no such picture.", "It may have been deleted.")


def _foreign_folder() -> StorageFailed:
    return StorageFailed(
        "The picture folder is not the one this studio wrote.",
        f"Connect the disk that it is on, or put an empty file named {files.MARKER} into the data "
        "folder and its pictures folder to go on without the old pictures.",
    )
