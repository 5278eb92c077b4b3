"""The envelope: what was changed in any way is never handed out, and the key is kept as a key."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from prefect_nb.errors import ResultUnavailable, StoreError
from prefect_nb.results.envelope import open_envelope, seal, signing_key

KEY, OTHER = b"k" * 32, b"o" * 32
BUFFERS = (b"first", b"", b"x" * 64, bytes(range(130)))


def sealed(buffers=BUFFERS, *, codec="pickle", context="result", key=KEY):
    """The bytes of an envelope."""
    return b"".join(seal(buffers, codec=codec, context=context, key=key).pieces)


def opened(data, *, context="result", key=KEY, verified=False):
    """What opening those bytes gives."""
    return open_envelope(memoryview(data), context=context, key=key, verified=verified)


@pytest.mark.parametrize("buffers", [(), (b"",), (b"a",), BUFFERS, (b"y" * 3_000_000, b"z")], ids=len)
def test_buffers_come_back(buffers):
    """Every buffer comes back equal, at a multiple of 64, under the address that sealing announced."""
    made = seal(buffers, codec="c", context="x", key=KEY)
    data = b"".join(made.pieces)
    assert len(data) == made.size
    back = opened(data, context="x")
    assert [bytes(buffer) for buffer in back.buffers] == list(buffers)
    assert (back.codec, back.address) == ("c", made.address)
    start = len(data) - sum(len(buffer) + -len(buffer) % 64 for buffer in buffers)
    for buffer in buffers:
        assert start % 64 == 0
        assert data[start : start + len(buffer)] == buffer
        start += len(buffer) + -len(buffer) % 64


def test_every_flipped_bit_is_noticed():
    """One wrong bit anywhere, in magic, lengths, signature, header, padding or payload, makes it unavailable."""
    data = bytearray(sealed())
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        with pytest.raises(ResultUnavailable):
            opened(data)
        data[at] ^= 1 << at % 8
    assert opened(data).codec == "pickle"


def test_a_verified_payload_still_has_its_header_checked():
    """Skipping the payload's digest for a known file never skips the header's signature."""
    data = bytearray(sealed())
    data[60] ^= 1
    with pytest.raises(ResultUnavailable):
        opened(data, verified=True)


def test_every_cut_is_noticed():
    """Missing or additional bytes at the end make it unavailable."""
    data = sealed()
    for length in range(len(data)):
        with pytest.raises(ResultUnavailable):
            opened(data[:length])
    with pytest.raises(ResultUnavailable, match="bytes instead of"):
        opened(data + b"\0")


@pytest.mark.parametrize(
    ("forged", "told"),
    [
        pytest.param(sealed(key=OTHER), "written under another key", id="another key"),
        pytest.param(sealed(context="code"), "written for 'code'", id="another purpose"),
        pytest.param(sealed().replace(b'"pickle"', b'"plain!"'), "signature", id="another codec"),
    ],
)
def test_a_foreign_envelope_is_refused(forged, told):
    """What was sealed by others, for another purpose, or relabelled, is refused with the reason."""
    with pytest.raises(ResultUnavailable, match=told):
        opened(forged)


def test_another_key_is_explained():
    """A result of another key is not called damaged, and the hint names the variable to set."""
    with pytest.raises(ResultUnavailable) as caught:
        opened(sealed(key=OTHER))
    assert "PREFECT_NB_KEY" in caught.value.hint
    assert caught.value.damaged is False


def test_addresses_tell_content_codec_and_key_apart():
    """Equal content has an equal address; another key, codec or division into buffers has another."""

    def address(buffers=(b"ab",), codec="c", key=KEY):
        return seal(buffers, codec=codec, context="x", key=key).address

    assert address() == address()
    assert len({address(), address((b"a", b"b")), address((b"ac",)), address(codec="d"), address(key=OTHER)}) == 5


@pytest.mark.parametrize(("text", "key"), [("5F" * 32, b"\x5f" * 32), (" " + "00" * 32 + "\n", b"\0" * 32)])
def test_the_key_can_be_given_in_hex(text, key, monkeypatch):
    """64 hex digits in PREFECT_NB_KEY are the key itself."""
    monkeypatch.setenv("PREFECT_NB_KEY", text)
    assert signing_key() == key


def test_the_key_can_be_given_as_text(monkeypatch):
    """Any other text gives a key of its own, always the same."""
    found = set()
    for text in ("secret", "Secret", "5f" * 31, "secret"):
        monkeypatch.setenv("PREFECT_NB_KEY", text)
        found.add(signing_key())
    assert len(found) == 3
    assert {len(key) for key in found} == {32}


def test_the_key_file_is_made_once_and_private(monkeypatch, tmp_path):
    """Processes that start together agree on one key, readable by its owner only."""
    monkeypatch.delenv("PREFECT_NB_KEY")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    code = "from prefect_nb.results.envelope import signing_key; print(signing_key().hex())"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    keys = {process.communicate(timeout=30)[0].strip() for process in started}
    assert keys == {signing_key().hex()}
    path = tmp_path / "prefect_nb" / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["key"]
    path.chmod(0o644)
    signing_key()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_damaged_key_is_an_error(monkeypatch, tmp_path):
    """A key file of the wrong length is named, never replaced silently."""
    monkeypatch.delenv("PREFECT_NB_KEY")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    path = tmp_path / "prefect_nb" / "key"
    path.parent.mkdir()
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match="damaged"):
        signing_key()
    assert path.read_bytes() == b"short"
