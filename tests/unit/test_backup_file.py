"""A data directory as one file and back: whole, private, consistent while it is written to."""

from __future__ import annotations

import sqlite3
import tarfile
import threading

import pytest

from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from bondstone.base.errors import InvalidInput, NotFound, ObjectCorrupt, Refused
from bondstone.store.backup import DATABASE, back_up, check_database, restore


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    for folder in ("objects/state", "log", "work/modules/one", "work/orphans", "services/team"):
        (directory / folder).mkdir(parents=True)
    database = sqlite3.connect(directory / DATABASE)
    database.execute("PRAGMA journal_mode=wal")
    database.execute("CREATE TABLE pairs (a INTEGER, b INTEGER)")
    database.commit()
    database.close()
    (directory / "objects/state/one").write_bytes(b"state")
    (directory / "keys.json").write_text("ring")
    (directory / "log/control.log").write_text("words")
    (directory / "work/modules/one/main.tf").write_text("")
    (directory / "work/orphans/left").write_text("kept")
    (directory / "services/team/site").write_text("page")
    (directory / "services/team/link").symlink_to("/etc/passwd")
    return directory


def names(file):
    with tarfile.open(file) as archive:
        return archive.getnames()


def test_what_is_backed_up_is_restored_and_what_is_made_anew_is_left_out(data, tmp_path):
    file, other = tmp_path / "one.tar.gz", tmp_path / "other"
    summary = back_up(data, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert restore(file, other) == summary
    assert summary.origin == str(data)
    sorted_entries = sorted(path.relative_to(other).as_posix() for path in other.rglob("*") if path.is_file())
    assert sorted_entries == [
        "keys.json",
        "objects/state/one",
        "services/team/site",
        DATABASE,
        "work/orphans/left",
    ]
    assert other.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_database_that_is_written_to_is_backed_up_as_of_one_moment(data, tmp_path):
    stop = threading.Event()

    def write() -> None:
        database = sqlite3.connect(data / DATABASE, timeout=30)
        number = 0
        while not stop.is_set():
            number += 1
            with database:
                database.execute("INSERT INTO pairs VALUES (?, 0)", (number,))
                database.execute("UPDATE pairs SET b = a")
        database.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        back_up(data, tmp_path / "one.tar.gz")
    finally:
        stop.set()
        writer.join()
    restore(tmp_path / "one.tar.gz", tmp_path / "other")
    database = sqlite3.connect(tmp_path / "other" / DATABASE)
    assert database.execute("SELECT count(*) FROM pairs WHERE a != b").fetchone() == (0,)
    database.close()


def test_key_rings_and_the_token_stay_out_where_that_is_asked_for(data, tmp_path):
    (data / LOCAL_TOKEN_FILE).write_text("of an administrator")
    summary = back_up(data, tmp_path / "one.tar.gz", keys=False)
    assert not summary.keys
    assert not {"keys.json", LOCAL_TOKEN_FILE} & set(names(tmp_path / "one.tar.gz"))


def test_nothing_is_replaced(data, tmp_path):
    file = tmp_path / "one.tar.gz"
    back_up(data, file)
    with pytest.raises(Refused, match="the file exists"):
        back_up(data, file)
    with pytest.raises(Refused, match="not empty"):
        restore(file, data)
    (tmp_path / "empty").mkdir()
    restore(file, tmp_path / "empty")


def test_a_directory_without_a_platform_and_a_file_that_is_no_backup_are_refused_in_words(tmp_path):
    (tmp_path / "text").write_text("hello")
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "text", arcname="text")
    with pytest.raises(NotFound, match="no embedded platform"):
        back_up(tmp_path, tmp_path / "one.tar.gz")
    with pytest.raises(NotFound, match="no such file"):
        restore(tmp_path / "gone", tmp_path / "new")
    for file in ("text", "other.tar.gz"):
        with pytest.raises(InvalidInput, match="not made by"):
            restore(tmp_path / file, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_that_is_cut_off_leaves_nothing_behind(data, tmp_path):
    (data / "objects/state/large").write_bytes(bytes(range(256)) * 4000)
    file = tmp_path / "one.tar.gz"
    back_up(data, file)
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(ObjectCorrupt, match="to its end"):
        restore(file, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_damaged_database_is_refused(data):
    check_database(data / DATABASE)
    (data / DATABASE).write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    with pytest.raises(ObjectCorrupt, match="damaged"):
        check_database(data / DATABASE)
