"""How the gallery's databases came to look as they do. Append only: a released step stays."""

import sqlite3


def m001_pictures(db: sqlite3.Connection) -> None:
    # seed is text: the last pictures of a job with the highest seed do not fit into 64 bits
    db.execute(
        """CREATE TABLE pictures (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            job TEXT NOT NULL,
            position INTEGER NOT NULL,
            task TEXT NOT NULL,
            checkpoint TEXT NOT NULL,
            seed TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            request TEXT NOT NULL,
            infotext TEXT NOT NULL,
            facts TEXT NOT NULL,
            parents TEXT NOT NULL,
            words TEXT NOT NULL,
            file TEXT NOT NULL UNIQUE,
            created REAL NOT NULL,
            starred INTEGER NOT NULL DEFAULT 0,
            trashed INTEGER NOT NULL DEFAULT 0,
            missing INTEGER NOT NULL DEFAULT 0
        )"""
    )
    db.execute("CREATE INDEX pictures_job ON pictures (job, position)")
    shown = "WHERE trashed = 0 AND missing = 0"
    # created stands in each, so that a date filter need not look at the rows
    db.execute(f"CREATE INDEX pictures_shown ON pictures (owner, seq, created) {shown}")
    db.execute(f"CREATE INDEX pictures_task ON pictures (owner, task, seq, created) {shown}")
    db.execute(
        f"CREATE INDEX pictures_checkpoint ON pictures (owner, checkpoint, seq, created) {shown}"
    )
    db.execute(
        f"CREATE INDEX pictures_starred ON pictures (owner, seq, created) {shown} AND starred = 1"
    )
    db.execute(
        "CREATE INDEX pictures_trashed ON pictures (owner, seq) WHERE trashed = 1 AND missing = 0"
    )
    db.execute(
        """CREATE VIRTUAL TABLE pictures_words USING fts5 (
            words, content = 'pictures', content_rowid = 'seq', prefix = '2 3',
            tokenize = 'unicode61 remove_diacritics 2'
        )"""
    )
    forget = (
        "INSERT INTO pictures_words (pictures_words, rowid, words)"
        " VALUES ('delete', old.seq, old.words);"
    )
    learn = "INSERT INTO pictures_words (rowid, words) VALUES (new.seq, new.words);"
    db.execute(f"CREATE TRIGGER pictures_added AFTER INSERT ON pictures BEGIN {learn} END")
    db.execute(f"CREATE TRIGGER pictures_removed AFTER DELETE ON pictures BEGIN {forget} END")
    db.execute(
        "CREATE TRIGGER pictures_changed AFTER UPDATE OF seq, words ON pictures"
        f" BEGIN {forget} {learn} END"
    )


def m002_drafts(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE drafts (
            owner TEXT NOT NULL,
            tab TEXT NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (owner, tab)
        ) WITHOUT ROWID"""
    )


def m003_presets(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE presets (
            owner TEXT NOT NULL,
            name TEXT NOT NULL,
            prompt TEXT NOT NULL,
            negative TEXT NOT NULL,
            PRIMARY KEY (owner, name)
        ) WITHOUT ROWID"""
    )


def m001_inputs(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE inputs (
            owner TEXT NOT NULL,
            ref TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            intake TEXT NOT NULL,
            created REAL NOT NULL,
            PRIMARY KEY (owner, ref)
        ) WITHOUT ROWID"""
    )
    db.execute("CREATE INDEX inputs_ref ON inputs (ref)")


GALLERY = (m001_pictures, m002_drafts, m003_presets)
INPUTS = (m001_inputs,)
