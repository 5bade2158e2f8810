"""Makes, configures and removes one SQLite database. Told what to do by its environment; safe to run again."""

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import sys
from pathlib import Path

PAGE_BYTES = 4096
HASH_ROUNDS = 200_000
MARK = ".bondstone.json"

STARTERS = {
    "none": "",
    "key-value": """
        CREATE TABLE IF NOT EXISTS entry (
            key TEXT PRIMARY KEY, value BLOB NOT NULL, changed_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
        ) WITHOUT ROWID;
    """,
    "tasks": """
        CREATE TABLE IF NOT EXISTS task (
            id INTEGER PRIMARY KEY, title TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0, 1)),
            made_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
        );
        CREATE INDEX IF NOT EXISTS task_open ON task (done, made_at);
    """,
}
OWN_TABLES = """
    CREATE TABLE IF NOT EXISTS service_owner (team TEXT NOT NULL, service TEXT NOT NULL, contact TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS service_limit (size TEXT NOT NULL, max_pages INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, salt BLOB NOT NULL, password_hash BLOB NOT NULL);
"""
# SQLite forgets `PRAGMA max_page_count` with the connection; a trigger stays in the file.
QUOTA = """
    CREATE TRIGGER IF NOT EXISTS {table}_quota BEFORE INSERT ON {table}
    WHEN (SELECT page_count FROM pragma_page_count) > (SELECT max_pages FROM service_limit)
    BEGIN SELECT RAISE(ABORT, 'the database has reached the limit of its size'); END;
"""
TABLES = {"none": (), "key-value": ("entry",), "tasks": ("task",)}


def main():
    wanted = json.loads(os.environ["DATABASE"])
    directory = Path(wanted["directory"])
    actions = {"create": create, "configure": configure, "account": account, "remove": remove}
    actions[os.environ["ACTION"]](directory, wanted)


def create(directory, wanted):
    """The directory, marked as ours, and an empty database in it."""
    identity = {"team": wanted["team"], "name": wanted["name"], "promise": "sqlite-database"}
    if directory.exists() and read_mark(directory) != identity and any(directory.iterdir()):
        sys.exit(f"{directory} exists and is not this service's; move it away or choose another name")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / MARK).write_text(json.dumps(identity), encoding="utf-8")
    with connect(directory) as database:
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        database.executescript(OWN_TABLES)
    (directory / "database.sqlite3").chmod(0o600)


def configure(directory, wanted):
    """Tables, journal, limit and owner, brought to what is wanted; what users stored is left alone."""
    with connect(directory) as database:
        database.execute(
            "PRAGMA journal_mode = WAL" if wanted["journal"] == "wal" else "PRAGMA journal_mode = DELETE"
        )
        database.executescript(STARTERS[wanted["starter"]])
        for table in TABLES[wanted["starter"]]:
            database.executescript(QUOTA.format(table=table))
        database.execute("DELETE FROM service_limit")
        max_pages = int(wanted["max_bytes"]) // PAGE_BYTES
        database.execute("INSERT INTO service_limit VALUES (?, ?)", (wanted["size"], max_pages))
        database.execute("DELETE FROM service_owner")
        owner = (wanted["team"], wanted["name"], wanted["contact"])
        database.execute("INSERT INTO service_owner VALUES (?, ?, ?)", owner)
        database.commit()
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            sys.exit(f"the database is damaged: {verdict}")


def account(directory, wanted):
    """The first account, with a salted hash of its password."""
    salt = secrets.token_bytes(16)
    password_hash = hashlib.pbkdf2_hmac("sha256", os.environ["PASSWORD"].encode(), salt, HASH_ROUNDS)
    with connect(directory) as database:
        row = (wanted["account"], salt, password_hash)
        database.execute("INSERT OR REPLACE INTO account VALUES (?, ?, ?)", row)
        database.commit()


def remove(directory, wanted):
    """Everything, but only where the mark says that it is this service's."""
    if not directory.exists():
        return
    mark = read_mark(directory)
    if mark is None or (mark["team"], mark["name"]) != (wanted["team"], wanted["name"]):
        sys.exit(f"{directory} is not this service's; it is left alone")
    shutil.rmtree(directory)


def connect(directory):
    return sqlite3.connect(directory / "database.sqlite3", timeout=10)


def read_mark(directory):
    try:
        return json.loads((directory / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    main()
