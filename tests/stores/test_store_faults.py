"""What can happen to a store's files: each case ends in an error that helps, and nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import warnings
from pathlib import Path
from queue import SimpleQueue

import pytest
from store_parts import PATIENCE_S, in_another_process

from prefect_nb.core.events import RunAttached
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import StoreCorrupt, StoreError, StoreFull, StoreReadOnly, StoreTooNew
from prefect_nb.protocols import Commit, LogChunk, RunRow, Signal
from prefect_nb.stores import database
from prefect_nb.stores.database import Database
from prefect_nb.stores.place import explain_os_error, network_filesystem, prepare
from prefect_nb.stores.process import ProcessStore
from prefect_nb.stores.rowstore import LEASE_S, Liveness
from prefect_nb.stores.session import BEAT_S, Session
from prefect_nb.stores.sqlite import SqliteStore
from prefect_nb.testing import FakeClock, opening, planning, run_row

A = VisitId("a")
KINDS = pytest.mark.parametrize("kind", [SqliteStore, ProcessStore])


@contextlib.contextmanager
def reading_only(place: Path):
    """Take the right to write away, also from root."""
    if os.geteuid():
        os.chmod(place, 0o500)
        yield
        os.chmod(place, 0o700)
        return
    subprocess.run(["mount", "-o", "remount,ro", str(place.parent)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(place.parent)], check=True)


def filled(folder: Path) -> None:
    """A store with one run, closed."""
    store = SqliteStore(folder)
    assert store.append(opening()).result().accepted
    store.close()


@KINDS
def test_a_directory_that_cannot_be_written(kind, small_disk, open_here):
    """The engine is refused with the path and what to do; a viewer reads the rows all the same."""
    folder = small_disk / "store"
    filled(folder)
    with reading_only(folder):
        with pytest.raises(StoreReadOnly, match=str(folder)) as caught:
            kind(folder)
        assert "chmod" in caught.value.hint
        assert "PREFECT_NB_STORE" in caught.value.hint
        viewer = open_here(folder, readonly=True)
        assert viewer.run("r1") == run_row()
        assert isinstance(viewer.append(planning(A)).exception(), StoreReadOnly)


def test_a_viewer_makes_nothing(folder, open_here):
    """Looking at a store that does not exist is an error and leaves no directory."""
    with pytest.raises(StoreError, match="there is no store"):
        open_here(readonly=True)
    assert not folder.exists()


@KINDS
def test_a_full_disk(kind, small_disk):
    """What was acknowledged stays, what was not is reported, and with room again the same store goes on."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 900_000)
    store = kind(small_disk / "store")
    accepted = [store.append(opening()).result(PATIENCE_S)]
    log = (LogChunk(A, 1, "stdout", "x" * 20_000, 1.0),)
    error = None
    for n in range(200):
        future = store.append(Commit("r1", events=(RunAttached(at=float(n), worker="w"),), logs=log))
        error = future.exception(PATIENCE_S)
        if error is not None:
            break
        accepted.append(future.result())
    assert isinstance(error, StoreFull), error
    assert str(small_disk) in error.message
    assert error.hint
    assert [n for n, _ in store.events("r1")] == [receipt.seq for receipt in accepted]
    ballast.unlink()
    assert store.append(planning(A)).result(PATIENCE_S).seq == len(accepted) + 1
    assert store.check() == []
    store.close()
    again = SqliteStore(small_disk / "store")
    assert len(again.events("r1")) == len(accepted) + 1
    again.close()


@KINDS
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"garbage " * 4096), id="garbage"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:9000]), id="cut"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:4096] + bytes(len(path.read_bytes()) - 4096)), id="zeroed"
        ),
        pytest.param(lambda path: path.write_bytes(b"short"), id="short"),
    ],
)
def test_a_damaged_database(kind, damage, folder):
    """A damaged file is refused by name with a way out, and is not written to."""
    filled(folder)
    damage(folder / "state.db")
    before = (folder / "state.db").read_bytes()
    with pytest.raises(StoreCorrupt, match=r"state\.db is damaged") as caught:
        kind(folder)
    assert f"mv {folder}" in caught.value.hint
    assert (folder / "state.db").read_bytes() == before


@KINDS
def test_a_newer_schema(kind, folder, open_here):
    """A store of a newer version is refused for writing; reading is up to what it says of its readers."""
    filled(folder)
    with sqlite3.connect(folder / "state.db") as c:
        c.execute("UPDATE store_meta SET value = '99' WHERE key = 'schema_version'")
    c.close()
    with pytest.raises(StoreTooNew, match="schema 99") as caught:
        kind(folder)
    assert "upgrade" in caught.value.hint
    assert open_here(readonly=True).run("r1") == run_row()
    with sqlite3.connect(folder / "state.db") as c:
        c.execute("UPDATE store_meta SET value = '99' WHERE key = 'min_reader'")
    c.close()
    with pytest.raises(StoreTooNew):
        open_here(readonly=True)


@KINDS
def test_an_older_schema(kind, folder):
    """A store of an earlier version is raised to this one when it is opened, and keeps what it holds."""
    filled(folder)
    with sqlite3.connect(folder / "state.db") as c:
        c.execute("DROP TABLE ticket")
        c.execute("DROP TABLE tag_limit")
        c.execute("ALTER TABLE signal DROP COLUMN detail")
        c.execute("ALTER TABLE result DROP COLUMN uses")
        c.execute("ALTER TABLE result DROP COLUMN gone_at")
        c.execute("DROP INDEX artifact")
        record = b'..{"modules":{},"values":"%s"}' % (b"e" * 64)
        c.execute("INSERT INTO result VALUES ('rec', 9, 'plain', ?, 1.0, 0.0)", (record,))
        c.execute("INSERT INTO result VALUES ('val', 9, 'pickle', ?, 1.0, 0.0)", (record,))
        c.execute("UPDATE store_meta SET value = '1' WHERE key = 'schema_version'")
    c.close()
    store = kind(folder)
    try:
        assert store.run("r1") == run_row()
        store.signal(Signal("r1", "approve", "a", detail={"note": "ok"}))
        store.set_limit("db", 3)
        assert (store.limits(), store.turns("r1").limits) == ({"db": 3}, {"db": 3})
    finally:
        store.close()
    with sqlite3.connect(folder / "state.db") as c:
        assert c.execute("SELECT detail FROM signal").fetchone() == ('{"note":"ok"}',)
        assert c.execute("SELECT value FROM store_meta WHERE key = 'schema_version'").fetchone() == ("5",)
        assert c.execute("SELECT count(*) FROM sqlite_master WHERE name = 'artifact'").fetchone() == (1,)
        uses = dict(c.execute("SELECT digest, uses FROM result WHERE digest IN ('rec', 'val')").fetchall())
        assert uses == {"rec": "e" * 64, "val": ""}, "what a record uses was not found"
    c.close()


def test_an_event_from_the_future(folder, open_here):
    """An event of an unknown kind is reported as a newer version's, not as a crash."""
    filled(folder)
    store = open_here()
    with sqlite3.connect(folder / "state.db") as c:
        c.execute('UPDATE event SET body = \'{"kind!":"Teleported","at":1.0}\'')
    c.close()
    with pytest.raises(StoreTooNew, match="Teleported"):
        store.events("r1")


LOOK = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT max(seq) FROM event').fetchone())"


def test_a_log_deleted_by_a_stray_close(folder, open_here):
    """When another program deletes the log of a store opened here, nothing false is acknowledged, nothing is lost."""
    store = open_here()
    assert store.append(opening()).result().accepted
    # Closing the file anywhere in this process drops SQLite's locks, so the other process believes to be the last.
    with open(folder / "state.db", "rb"):
        pass
    assert in_another_process(LOOK, str(folder / "state.db")) == "(1,)"
    error = store.append(planning(A)).exception()
    assert isinstance(error, StoreError)
    assert "not recorded" in error.message
    store.close()
    again = "from pathlib import Path; import sys; from prefect_nb.stores.sqlite import SqliteStore\n"
    again += "from prefect_nb.testing import *; from prefect_nb.core.spec import VisitId\n"
    again += (
        "s = SqliteStore(Path(sys.argv[1])); print(s.append(planning(VisitId('a'))).result().seq, s.check()); s.close()"
    )
    assert in_another_process(again, str(folder)) == "2 []"


def test_an_owner_whose_log_was_deleted_is_replaced(start, folder):
    """A kernel does not notice: another owner opens the store soundly, records and listens where the first left off."""
    store = start()
    assert store.append(opening()).result(PATIENCE_S).accepted
    owner = store.owner_pid
    heard: SimpleQueue[Signal] = SimpleQueue()
    store.watch("r1", heard.put)
    with sqlite3.connect(folder / "state.db") as c:
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    c.close()
    (folder / "state.db-wal").unlink()
    (folder / "state.db-shm").unlink()
    assert store.append(planning(A)).result(PATIENCE_S).seq == 2
    assert store.owner_pid != owner
    store.signal(Signal("r1", "cancel"))
    assert heard.get(timeout=PATIENCE_S).kind == "cancel"
    assert in_another_process(LOOK, str(folder / "state.db")) == "(2,)"
    assert store.check() == []


def test_a_database_deleted_while_open(folder, open_here):
    """An append to a deleted file is never acknowledged."""
    store = open_here()
    store.append(opening()).result()
    (folder / "state.db").rename(folder / "elsewhere.db")
    error = store.append(planning(A)).exception()
    assert isinstance(error, StoreError)
    assert "deleted or replaced" in error.message
    (folder / "elsewhere.db").rename(folder / "state.db")


def test_a_group_sent_twice_is_applied_once(folder):
    """After a death between commit and answer, the same numbers get the same answers and change nothing."""
    wire = (
        "r1",
        [],
        "",
        ['{"kind!":"RunOpened"}'],
        ("r1", "f", "", 1, "Open", "RUNNING", "", 1.0, None, "w", "{}", "{}", 0),
    )
    nowhere = ("r2", [], "", [], None)
    group = [(n, "append", (*one, [], [], [], [], -1, (), None)) for n, one in ((1, wire), (2, nowhere))]
    signal = (3, "signal", ("r1", "cancel", "", "", 1.0))
    first = Database(str(folder)).write("s", group)
    second = Database(str(folder)).write("s", [*group, signal])
    assert second[:2] == first
    assert [status for _, status, _ in second] == ["ok", "refused", "ok"]
    with sqlite3.connect(folder / "state.db") as c:
        assert c.execute("SELECT count(*) FROM event").fetchone() == (1,)
        assert c.execute("SELECT count(*) FROM signal").fetchone() == (1,)
    c.close()


def test_after_a_failed_write_the_file_is_opened_anew(folder):
    """What SQLite says after an I/O error is not trusted: the next transaction runs on a new connection."""
    base = Database(str(folder))
    before = base._c
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    base._recover(error)
    assert base.write("", [(1, "invalidate", ("k",))]) == [(1, "ok", 0)]
    assert base._c is not before
    base.close()


def test_one_bad_append_does_not_hurt_its_group(folder, open_here):
    """What SQLite itself refuses fails alone, with our error."""
    store = open_here()
    store.append(opening()).result()
    rows = (RunRow("r1", None, "", True, "Open", "RUNNING", "", 1.0, None, "w"),)  # type: ignore[arg-type]
    bad = store.append(Commit("r1", events=(RunAttached(at=2.0, worker="w"),), expect=(), run_row=rows[0])).exception()
    assert isinstance(bad, StoreError)
    huge = store.append(Commit("r1", run_row=run_row(created_at=1.0), logs=(LogChunk(A, 2**70, "s", "t", 1.0),)))
    assert isinstance(huge.exception(), StoreError)
    plain = store.append(Commit("r1", events=(RunAttached(at=object(), worker="w"),)))  # type: ignore[arg-type]
    assert "plain data" in plain.exception().hint
    assert store.append(planning(A)).result().seq == 2


def test_the_check_names_what_is_wrong(folder, open_here, tmp_path):
    """Gaps in events, successes without record and missing files are found and told in words."""
    store = open_here(results=tmp_path / "results")
    store.append(opening()).result()
    store.append(planning(A)).result()
    assert store.check() == []
    with sqlite3.connect(folder / "state.db") as c:
        c.execute("DELETE FROM event WHERE seq = 1")
        c.execute("UPDATE visit SET type = 'COMPLETED'")
        c.execute("INSERT INTO result VALUES (?, 9, 'pickle', NULL, 1.0, 1.0, '', NULL)", ("e" * 64,))
    c.close()
    told = "\n".join(store.check())
    assert "run r1: 2 events recorded, 1 found" in told
    assert "a#1 is complete without its recorded success" in told
    assert f"result {'e' * 12}: its file is missing" in told


def test_files_are_private_and_ignored_by_git(folder, open_here):
    """The directory is 0700, its files 0600 whatever the umask, and git does not see them."""
    old = os.umask(0)
    try:
        store = open_here()
        store.open_worker("cli", "x")
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {str(p.relative_to(folder)): p.stat().st_mode & 0o777 for p in folder.rglob("*") if p.is_file()}
    assert set(modes.values()) == {0o600}
    assert {"state.db", "state.db-wal", "write.lock", ".gitignore"} <= set(modes)
    assert (folder / ".gitignore").read_text() == "*\n"


def test_an_open_directory_is_tightened_or_refused(tmp_path):
    """A directory of ours that others may write in is closed to them; a stranger's is refused."""
    mine = tmp_path / "mine"
    mine.mkdir()
    mine.chmod(0o777)
    prepare(str(mine))
    assert mine.stat().st_mode & 0o777 == 0o700
    if os.geteuid():
        pytest.skip("NOT TESTED: a stranger's directory needs root to make one")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    os.chown(theirs, 12345, 12345)
    with pytest.raises(StoreError, match="12345"):
        prepare(str(theirs))


@pytest.mark.parametrize(
    ("number", "kind"), [(28, StoreFull), (122, StoreFull), (13, StoreReadOnly), (30, StoreReadOnly), (5, StoreError)]
)
def test_system_errors_are_translated(number, kind):
    """Each refusal of the system becomes the error that fits, with the path and a next step."""
    error = explain_os_error(OSError(number, "x"), "/some/place")
    assert type(error) is kind
    assert "/some/place" in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("/dev/sda / ext4 rw 0 0\n", ""),
        ("/dev/sda / ext4 rw 0 0\nsrv:/h {parent} nfs4 rw 0 0\n", "nfs4"),
        ("srv:/h / nfs rw 0 0\n/dev/sdb {parent} xfs rw 0 0\n", ""),
        ("x / ext4 rw 0 0\nme@host:/ {parent} fuse.sshfs rw 0 0\n", "fuse.sshfs"),
        ("x / ext4 rw 0 0\nsrv:/h {parent}-other nfs4 rw 0 0\n", ""),
    ],
)
def test_network_file_systems_are_recognised(mounts, kind, tmp_path):
    """The longest mount point above the store decides."""
    home = tmp_path / "home dir"
    home.mkdir()
    table = tmp_path / "mounts"
    table.write_text(mounts.format(parent=str(home).replace(" ", "\\040")))
    assert network_filesystem(str(home / "store"), str(table)) == kind


def test_on_a_network_file_system_no_log_is_shared(folder, monkeypatch):
    """There the rollback journal is used, one line warns, and appends work."""
    monkeypatch.setattr(database, "network_filesystem", lambda directory: "nfs4")
    with pytest.warns(RuntimeWarning, match="network file system"):
        store = SqliteStore(folder)
    assert store.append(opening()).result().accepted
    assert not (folder / "state.db-wal").exists()
    store.close()


def test_elsewhere_nothing_warns(folder):
    """A local store is silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SqliteStore(folder).close()


def test_liveness_is_proven(tmp_path):
    """Own boot: lock and process decide; same host, other boot: dead; other host: a minute without a beat."""
    clock = FakeClock()
    live = Liveness(str(tmp_path), clock)
    me = live._me
    pid = os.getpid()
    assert not live.decide("w", None)
    assert not live.decide("w", (me.host, me.boot, me.pid_ns, pid, "1", 0, 1))
    assert not live.decide("w", (me.host, me.boot, me.pid_ns, pid, "not its start", 0, 0))
    assert not live.decide("w", (me.host, me.boot, "another namespace", pid, "1", 0, 0))
    assert not live.decide("w", (me.host, "before", me.pid_ns, pid, "1", 5, 0))
    far = ("far:away", "other", "ns", 1, "1")
    assert live.decide("w", (*far, 5, 0))
    clock.advance(LEASE_S - 1)
    assert live.decide("w", (*far, 5, 0))
    assert live.decide("w", (*far, 6, 0))
    clock.advance(LEASE_S - 1)
    assert live.decide("w", (*far, 6, 0))
    clock.advance(2)
    assert not live.decide("w", (*far, 6, 0))


def test_heartbeats_and_uses_are_recorded_when_due(folder):
    """Every five seconds the session's workers beat and the use of results is noted, not before."""
    clock = FakeClock()
    session = Session(Database(str(folder)), "s", os.getpid(), clock=clock)
    session.write([(1, "open_worker", ("w1", "kernel", "k"))])
    run = ("r1", "f", "", 1, "Open", "RUNNING", "", 1.0, None, "w", "{}", "{}", 0)
    session.write([(2, "append", ("r1", [], "", [], run, [], [("d", 1, "x", b"", 0.0, "")], [], [], -1, (), None))])
    session.read("result", ("d",))

    def seen():
        with sqlite3.connect(folder / "state.db") as c:
            found = c.execute("SELECT beat, (SELECT used_at FROM result) FROM worker").fetchone()
        c.close()
        return found

    before = seen()
    clock.advance(BEAT_S - 0.1)
    session.tend()
    assert seen() == before
    clock.advance(0.2)
    session.tend()
    after = seen()
    assert after[0] == before[0] + 1
    assert after[1] > before[1]
    session.close()
    with sqlite3.connect(folder / "state.db") as c:
        assert c.execute("SELECT closed FROM worker").fetchone() == (1,)
    c.close()
