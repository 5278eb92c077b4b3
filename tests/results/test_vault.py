"""Saving and loading through files and rows: durable, private, verified, and honest when a value is gone."""

from __future__ import annotations

import os
import pickle
import subprocess
import time

import numpy as np
import pytest

from prefect_nb.errors import ResultUnavailable, StoreFull, Unstorable
from prefect_nb.protocols import Commit, ResultRow
from prefect_nb.results.envelope import seal
from prefect_nb.results.storage import FileResults
from prefect_nb.results.vault import INLINE_LIMIT, Vault
from prefect_nb.stores.memory import MemoryStore
from prefect_nb.testing import opening

KEY = b"k" * 32
BIG = 20_000


class Canary:
    """Sings when it is unpickled."""

    sang = 0

    def __reduce__(self):
        return sing, ()


def sing():
    """Count the unpicklings."""
    Canary.sang += 1
    return "song"


@pytest.fixture
def files(tmp_path):
    """A result storage in a directory that does not exist yet."""
    return FileResults(tmp_path / "results")


@pytest.fixture
def store():
    """A store with one run and a small quota."""
    store = MemoryStore(quota=400_000)
    assert store.append(opening()).result().accepted
    yield store
    store.close()


@pytest.fixture
def vault(store, files):
    """A vault over both."""
    return Vault(store, files, KEY)


def kept(vault, value, namespace=None, cost_s=1.0):
    """Save a value, record its row; its digest."""
    digest, row = vault.save(value, namespace=namespace or {}, cost_s=cost_s)
    assert vault._store.append(Commit("r1", results=(row,))).result().accepted
    return digest


@pytest.mark.parametrize(
    "value", [None, {"a": 1}, (1, "x"), "t" * 100_000, [b"x" * 50_000]], ids=lambda v: type(v).__name__
)
def test_values_come_back(vault, value):
    """Small and large, plain and not: equal again, None included."""
    again = vault.load(kept(vault, value), namespace={})
    assert again == value
    assert type(again) is type(value)


def test_small_values_travel_in_the_row(vault, files):
    """Up to 32 KiB there is no file; above, the row points to one of exactly that size."""
    _, small = vault.save({"a": "x"}, namespace={})
    assert small.inline is not None
    assert len(small.inline) == small.size <= INLINE_LIMIT
    assert not files.directory.exists()
    digest, large = vault.save(np.zeros(BIG), namespace={}, cost_s=2.5)
    assert (large.inline, large.digest, large.cost_s, large.codec) == (None, digest, 2.5, "pickle")
    assert files.path(digest).stat().st_size == large.size == files.usage()


def test_files_are_private_and_whole(vault, files, monkeypatch):
    """A file has mode 0600 in 0700 directories, and is on the disk before it has its name."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    linked = []
    real_link = os.link
    monkeypatch.setattr(os, "link", lambda a, b: (linked.append((str(a), len(synced))), real_link(a, b)))
    old = os.umask(0)
    try:
        digest, _ = vault.save(np.zeros(BIG), namespace={})
    finally:
        os.umask(old)
    path = files.path(digest)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert linked == [(synced[0], 1)]
    assert synced[1] == str(path.parent)
    assert os.listdir(path.parent) == [digest]


def test_equal_values_are_stored_once(vault, files):
    """The same content has one file, which is never written again."""
    first, _ = vault.save(np.zeros(BIG), namespace={})
    before = files.path(first).stat()
    second, _ = vault.save(np.zeros(BIG), namespace={})
    assert first == second
    assert files.path(first).stat().st_ino == before.st_ino


def test_mapped_arrays_are_private(vault, files):
    """Writing to a loaded array changes neither the file nor what others load."""
    digest = kept(vault, {"a": np.arange(BIG), "same": None})
    content = files.path(digest).read_bytes()
    one = vault.load(digest, namespace={})["a"]
    two = vault.load(digest, namespace={})["a"]
    one[:] = -1
    assert two[5] == 5
    assert files.path(digest).read_bytes() == content
    assert vault.load(digest, namespace={})["a"][7] == 7


def test_a_file_is_verified_once_per_identity(vault, files):
    """The payload is digested on the first read of a file in this process, and again once its identity changed."""
    digest = kept(vault, np.arange(BIG))
    vault.load(digest, namespace={})
    path = files.path(digest)
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\xff")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(ResultUnavailable, match="damaged"):
        vault.load(digest, namespace={})


def test_no_flipped_bit_reaches_pickle(store, files, vault):
    """However a stored file is altered, it is unavailable, nothing in it is unpickled, and it is set aside."""
    digest = kept(vault, {"canary": Canary(), "pad": b"x" * INLINE_LIMIT})
    path = files.path(digest)
    whole = path.read_bytes()
    places = [*range(0, 700, 3), *range(700, len(whole), 997), len(whole) - 1]
    Canary.sang = 0
    for at in places:
        bad = bytearray(whole)
        bad[at] ^= 4
        path.write_bytes(bad)
        with pytest.raises(ResultUnavailable):
            vault.load(digest, namespace={})
        path.unlink(missing_ok=True)
    for bad in (b"", whole[:-1], whole + b"\0", b"garbage" * 9000):
        path.write_bytes(bad)
        with pytest.raises(ResultUnavailable):
            vault.load(digest, namespace={})
        assert not path.exists()
    assert Canary.sang == 0
    assert os.listdir(files.directory / "damaged") == [digest]
    path.write_bytes(whole)
    assert vault.load(digest, namespace={})["canary"] == "song"
    assert Canary.sang == 1


def test_a_damaged_row_is_unavailable(store, files, vault):
    """Rows are verified like files, by every process but the one that just wrote them."""
    digest, row = vault.save(Canary(), namespace={})
    Canary.sang = 0
    for inline in (row.inline[:-1], b"", pickle.dumps(Canary()), row.inline[:70] + b"!" + row.inline[71:]):
        store.append(Commit("r1", results=(ResultRow(digest, row.size, row.codec, inline),))).result()
        with pytest.raises(ResultUnavailable):
            Vault(store, files, KEY).load(digest, namespace={})
    assert Canary.sang == 0


def test_swapped_files_are_noticed(vault, files):
    """A genuine file under another's address is not served."""
    one, two = kept(vault, np.zeros(BIG)), kept(vault, np.ones(BIG))
    files.path(one).write_bytes(files.path(two).read_bytes())
    with pytest.raises(ResultUnavailable, match="lies another"):
        vault.load(one, namespace={})


@pytest.mark.parametrize("size", [10, BIG])
def test_another_key_is_named(store, files, size):
    """What was written under another key is unavailable, untouched, and the hint says what to set."""
    Canary.sang = 0
    digest = kept(Vault(store, files, b"o" * 32), {"canary": Canary(), "a": np.zeros(size)})
    with pytest.raises(ResultUnavailable, match="another key") as caught:
        Vault(store, files, KEY).load(digest, namespace={})
    assert "PREFECT_NB_KEY" in caught.value.hint
    assert Canary.sang == 0
    assert vault_reads(store, files, digest)


def vault_reads(store, files, digest):
    """Whether the owner of the other key still can."""
    return Vault(store, files, b"o" * 32).load(digest, namespace={})["canary"] == "song"


def test_missing_values_are_never_none(vault, files, store):
    """A missing row, a missing file and an unknown codec are told apart, and all are unavailable."""
    with pytest.raises(ResultUnavailable, match="no stored result"):
        vault.load("0" * 64, namespace={})
    digest = kept(vault, np.zeros(BIG))
    files.delete(digest)
    with pytest.raises(ResultUnavailable, match="missing"):
        vault.load(digest, namespace={})
    sealed = seal([b"x"], codec="arrow", context="result", key=KEY)
    row = ResultRow(sealed.address, sealed.size, "arrow", b"".join(sealed.pieces))
    store.append(Commit("r1", results=(row,))).result()
    with pytest.raises(ResultUnavailable, match="'arrow'"):
        vault.load(sealed.address, namespace={})


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "a" * 63, "A" * 64, "/" * 64, "a" * 62 + ".."])
def test_no_address_leads_out_of_the_directory(files, address):
    """Only our own addresses become paths."""
    with pytest.raises(ResultUnavailable, match="not the address"):
        files.path(address)


def test_unstorable_values_leave_nothing_behind(vault, files):
    """A value that cannot be written down is named and no file appears."""
    with pytest.raises(Unstorable) as caught:
        vault.save({"a": np.zeros(BIG), "g": (n for n in ())}, namespace={})
    assert caught.value.path == "g"
    assert files.usage() == 0


def test_eviction_deletes_files(vault, files):
    """Room is made by dropping the cheapest rows with their files; one that was written just now goes the next time."""
    cheap = kept(vault, np.zeros(BIG), cost_s=0.1)
    dear = kept(vault, np.ones(BIG), cost_s=9.0)
    assert vault.evict(0) == []
    assert vault.evict(100_000) == [cheap]
    assert files.path(cheap).exists(), "somebody may have written it a moment ago, and count on it"
    os.utime(files.path(cheap), (1.0, 1.0))
    assert vault.evict(0) == []
    assert not files.path(cheap).exists()
    assert vault.load(dear, namespace={})[0] == 1


def test_what_was_written_again_outlives_its_eviction(vault, files):
    """A dropped value that is saved again before its file went keeps the file, however old that gets."""
    cheap = kept(vault, np.zeros(BIG), cost_s=0.1)
    assert vault.evict(300_000) == [cheap]
    assert kept(vault, np.zeros(BIG)) == cheap
    os.utime(files.path(cheap), (1.0, 1.0))
    assert vault.evict(0) == []
    assert vault.load(cheap, namespace={})[0] == 0


def test_orphans_are_swept_after_a_day(vault, files):
    """Files without a row, drafts and damaged files go when they are a day old; what a row names stays."""
    stays = kept(vault, np.zeros(BIG))
    orphan, _ = vault.save(np.ones(BIG), namespace={})
    damaged, _ = vault.save(np.full(BIG, 2.0), namespace={})
    files.quarantine(damaged)
    draft = files.path(stays).parent / ".abc.part"
    draft.write_bytes(b"x")
    assert vault.sweep() == 0
    old = time.time() - 90_000
    for path in [p for p in files.directory.rglob("*") if p.is_file()]:
        os.utime(path, (old, old))
    assert vault.sweep() > 2 * 8 * BIG
    assert [p.name for p in files.directory.rglob("*") if p.is_file()] == [stays]
    assert orphan != stays


def test_a_full_disk_is_named(tmp_path, store):
    """A file that does not fit is StoreFull with the place, and nothing is left behind."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    mount = subprocess.run(command, capture_output=True, text=True, check=False)
    if mount.returncode:
        pytest.skip(f"NOT TESTED: a full disk needs the right to mount one ({mount.stderr.strip()})")
    try:
        files = FileResults(place / "results")
        vault = Vault(store, files, KEY)
        first = kept(vault, np.arange(BIG))
        with pytest.raises(StoreFull, match=str(place)):
            vault.save(np.random.default_rng(1).random(BIG), namespace={})
        assert [p.name for p in files.directory.rglob("*") if p.is_file()] == [first]
        np.testing.assert_array_equal(vault.load(first, namespace={}), np.arange(BIG))
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
