"""The signed envelope around every stored value, and the key that signs it.

Layout: magic and version, length of the header, keyed BLAKE3 over everything before the payload, header (JSON: codec,
context, key id, lengths, BLAKE3 of the payload), zeros up to a multiple of 64, payload (each buffer on a multiple of
64, so that arrays can be used where they lie). Knows bytes; must not know files' places, stores or values. Nothing of
a payload is handed out before both digests were right.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from blake3 import blake3

from prefect_nb.errors import ResultUnavailable, StoreError

__all__ = ["Opened", "Sealed", "open_envelope", "read_header", "seal", "signing_key"]

_MAGIC = b"pnbres\x00\x01"
_PRELUDE = len(_MAGIC) + 4
_MAC = 32
_ALIGN = 64
_PARALLEL = 1 << 20
_SMALL = 1 << 14
_HEADER_LIMIT = 1 << 24

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope in pieces, ready to be written one after the other; `address` names its content."""

    address: str
    pieces: tuple[Buffer, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Opened:
    """What a verified envelope holds."""

    address: str
    codec: str
    buffers: tuple[memoryview, ...]


def signing_key() -> bytes:
    """The key of this user, or the one that ``PREFECT_NB_KEY`` holds (64 hex digits, or any text).

    Raises
    ------
    StoreError
        If the key file is unreadable or damaged.
    """
    text = os.environ.get("PREFECT_NB_KEY", "").strip()
    if text:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        return raw if len(raw) == 32 else _digest(text.encode(), context="prefect_nb key from text, version 1")
    from jupyter_core.paths import jupyter_data_dir

    path = os.path.join(jupyter_data_dir(), "prefect_nb", "key")
    try:
        if not os.path.exists(path):
            _make_key(path)
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                os.chmod(path, 0o600)
            key = file.read()
    except OSError as error:
        raise StoreError(
            f"the key {path} cannot be read or made: {error.strerror}",
            hint="make its directory writable, or set PREFECT_NB_KEY",
            path=path,
        ) from error
    if len(key) != 32:
        raise StoreError(
            f"the key {path} is damaged ({len(key)} bytes instead of 32)",
            hint="put a copy back, or delete it: what was stored under it is then computed again",
            path=path,
        )
    return key


def _make_key(path: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    draft = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(os.urandom(32))
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and never replaces the key of a process that was faster.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        os.unlink(draft)


def seal(buffers: Sequence[Buffer], *, codec: str, context: str, key: bytes) -> Sealed:
    """Wrap buffers, without copying the large ones."""
    if len(buffers) == 1 and type(buffers[0]) is bytes and len(buffers[0]) <= _SMALL:  # most values, and most calls
        size = len(buffers[0])
        body = buffers[0] + bytes(-size % _ALIGN)
        payload: list[Buffer] = [body]
        named = (codec, context, _key_id(key), [size], blake3(body).hexdigest())
    else:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        payload = []
        for view in views:
            payload.append(view)
            if view.nbytes % _ALIGN:
                payload.append(bytes(-view.nbytes % _ALIGN))
        named = (codec, context, _key_id(key), [view.nbytes for view in views], _digest(*payload).hex())
    header = _header(*named)
    header += b"\0" * (-(_PRELUDE + _MAC + len(header)) % _ALIGN)
    prelude = _MAGIC + len(header).to_bytes(4, "little")
    head = prelude + blake3(prelude + header, key=key).digest() + header
    size = len(head) + sum([memoryview(piece).nbytes for piece in payload])
    return Sealed(_address(*named), (head, *payload), size)


def open_envelope(data: memoryview, *, context: str, key: bytes, verified: bool = False) -> Opened:
    """Verify an envelope and hand out its buffers.

    Parameters
    ----------
    data : memoryview
        The whole envelope and nothing else.
    context : str
        What it must have been sealed for.
    key : bytes
        32 bytes.
    verified : bool
        This very file's payload was verified before in this process; its header is verified again all the same.

    Raises
    ------
    ResultUnavailable
        If it is damaged (field ``damaged`` is True), or was sealed under another key or for another purpose.
    """
    header, start = read_header(data)
    fields = _fields(header)
    if fields["key"] != _key_id(key):
        raise ResultUnavailable(
            "a stored result was written under another key",
            hint="set PREFECT_NB_KEY to the key it was written with, or let it be computed again",
            damaged=False,
        )
    prelude = bytes(data[:_PRELUDE])
    if not hmac.compare_digest(_digest(prelude, header, key=key), bytes(data[_PRELUDE : _PRELUDE + _MAC])):
        raise _damaged("its signature is wrong")
    if fields["context"] != context:
        raise ResultUnavailable(
            f"a stored result was written for {fields['context']!r}, not for {context!r}", damaged=False
        )
    padded = sum(length + -length % _ALIGN for length in fields["lengths"])
    if start + padded != data.nbytes:
        raise _damaged(f"it has {data.nbytes} bytes instead of {start + padded}")
    payload = data[start:]
    if not verified and not hmac.compare_digest(_digest(payload).hex(), fields["blake3"]):
        raise _damaged("its content does not match its digest")
    buffers = []
    at = 0
    for length in fields["lengths"]:
        buffers.append(payload[at : at + length])
        at += length + -length % _ALIGN
    named = (fields["codec"], fields["context"], fields["key"], fields["lengths"], fields["blake3"])
    return Opened(_address(*named), fields["codec"], tuple(buffers))


def read_header(data: memoryview) -> tuple[bytes, int]:
    """The header's bytes, not verified, and where the payload begins."""
    if data.nbytes < _PRELUDE + _MAC or bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise _damaged("it does not begin as one of ours")
    length = int.from_bytes(data[len(_MAGIC) : _PRELUDE], "little")
    start = _PRELUDE + _MAC + length
    if length > _HEADER_LIMIT or start > data.nbytes:
        raise _damaged("its header is cut off")
    return bytes(data[_PRELUDE + _MAC : start]), start


def _fields(header: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(header.rstrip(b"\0"))
        if not all(isinstance(length, int) and length >= 0 for length in fields["lengths"]):
            raise _damaged("its header is senseless")
        return {name: fields[name] for name in ("codec", "context", "key", "lengths", "blake3")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged("its header is unreadable") from error


def _damaged(why: str) -> ResultUnavailable:
    return ResultUnavailable(
        f"a stored result is damaged: {why}", hint="it is set aside; run the task again", damaged=True
    )


def _digest(*pieces: Buffer, key: bytes | None = None, context: str | None = None) -> bytes:
    purpose: dict[str, Any] = {"key": key, "derive_key_context": context}
    if sum(memoryview(piece).nbytes for piece in pieces) <= _SMALL:
        return bytes(blake3(b"".join(pieces), **purpose).digest())
    threads = blake3.AUTO if any(memoryview(piece).nbytes > _PARALLEL for piece in pieces) else 1
    hasher = blake3(max_threads=threads, **purpose)
    for piece in pieces:
        hasher.update(piece)
    return bytes(hasher.digest())


@lru_cache(8)
def _key_id(key: bytes) -> str:
    return _digest(key, context="prefect_nb key id, version 1").hex()[:16]


_quoted = lru_cache(64)(json.dumps)


def _header(codec: str, context: str, key: str, lengths: list[int], payload: str) -> bytes:
    """Compact JSON with sorted names, put together by hand: making an encoder would cost more than the whole seal."""
    counts = ",".join(map(str, lengths))
    named = f'"codec":{_quoted(codec)},"context":{_quoted(context)},"key":{_quoted(key)},"lengths":[{counts}]'
    return f'{{"blake3":"{payload}",{named}}}'.encode()


def _address(codec: str, context: str, key: str, lengths: list[int], payload: str) -> str:
    counts = ",".join(map(str, lengths))
    text = f'[{_quoted(codec)},{_quoted(context)},{_quoted(key)},[{counts}],"{payload}"]'
    return str(blake3(text.encode()).hexdigest())
