"""Saves values and gives them back, or says why not: serializer, envelope and place in one.

Knows all of `results` and a store's result rows; must not know tasks, keys of tasks or when something may be reused.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_nb.analysis.redaction import names_in
from prefect_nb.core.retention import Prunes, Sweep, Swept
from prefect_nb.errors import ResultUnavailable, StoreError, Unstorable
from prefect_nb.protocols import ResultRow, Serializer, Store
from prefect_nb.results.envelope import Opened, open_envelope, seal
from prefect_nb.results.serializers import PickleSerializer, PlainSerializer
from prefect_nb.results.storage import ORPHAN_S, FileId, FileResults

__all__ = ["INLINE_LIMIT", "Collected", "Vault"]

INLINE_LIMIT = 32 * 1024
_CONTEXT = "result"
_RECENT = 4096
_MOMENT_S = 1.0


@dataclass(frozen=True, slots=True)
class Collected:
    """What :meth:`Vault.collect` forgot: rows, bytes of their files, and files that had no row."""

    swept: Swept
    freed: int
    orphans: int
    orphan_bytes: int


class Vault:
    """Where a run's values are kept.

    Parameters
    ----------
    store : Store
        Holds the rows, and small values.
    files : FileResults
        Holds large values.
    key : bytes
        32 bytes that sign what is written and verify what is read.
    serializers : sequence of Serializer
        Tried in order before pickle.
    """

    def __init__(
        self,
        store: Store,
        files: FileResults,
        key: bytes,
        *,
        serializers: Sequence[Serializer] = (PlainSerializer(),),
    ) -> None:
        self._store = store
        self._files = files
        self._key = key
        self._serializers = tuple(serializers)
        self._verified: dict[str, FileId] = {}
        self._recent: OrderedDict[str, ResultRow] = OrderedDict()
        self._later: set[str] = set()

    def save(
        self, value: object, *, namespace: Mapping[str, Any], cost_s: float = 0.0, uses: str = ""
    ) -> tuple[str, ResultRow]:
        """Write a value down; its digest and the row to append with the commit that refers to it.

        A large value's file is on the disk when this returns; a small one travels in the row.

        Parameters
        ----------
        cost_s : float
            Seconds it took to compute: what costs little per byte is evicted first.
        uses : str
            Another result without which this one is worth nothing.

        Raises
        ------
        Unstorable
            Naming the part at fault, or the secret whose value it holds.
        StoreFull, StoreReadOnly, StoreError
            If the file cannot be written.
        """
        serializer = next((s for s in self._serializers if s.can(value)), None) or PickleSerializer(namespace)
        buffers = serializer.dump(value)
        _refuse_secrets(value, buffers)
        sealed = seal(buffers, codec=serializer.name, context=_CONTEXT, key=self._key)
        inline: bytes | None = None
        if sealed.size <= INLINE_LIMIT:
            inline = b"".join(sealed.pieces)
        else:
            self._files.put(sealed.address, sealed.pieces, sealed.size)
        row = ResultRow(sealed.address, sealed.size, serializer.name, inline, cost_s, uses)
        if inline is not None:
            self._remember(row)
        return sealed.address, row

    def load(self, digest: str, *, namespace: Mapping[str, Any], row: ResultRow | None = None) -> object:
        """The value again; arrays are mapped from the file, and writing to them changes nobody else's.

        Parameters
        ----------
        row : ResultRow, optional
            Its row, where that is known.

        Raises
        ------
        ResultUnavailable
            If it is missing, evicted, damaged (its file is set aside), signed with another key, or needs a definition
            that the namespace lacks.
        """
        row = row or self._recent.get(digest) or self._store.result(digest)
        if row is None:
            raise ResultUnavailable(
                f"there is no stored result {digest[:12]}", hint="it was evicted; run the task again", digest=digest
            )
        opened = self._open_inline(digest, row.inline) if row.inline is not None else self._open_file(digest)
        codecs = {serializer.name: serializer for serializer in (*self._serializers, PickleSerializer(namespace))}
        if opened.codec not in codecs:
            raise ResultUnavailable(
                f"result {digest[:12]} was written with {opened.codec!r}, which this version cannot read",
                hint="install what wrote it, or run the task again",
                digest=digest,
            )
        return codecs[opened.codec].load(opened.buffers)

    def evict(self, need: int = 0) -> list[str]:
        """Make room for `need` bytes under the quota; the digests of what was dropped."""
        dropped = list(self._store.evict(need))
        self._later.update(dropped)
        self._discard()
        return dropped

    def tidy(self) -> bool:
        """Delete files of dropped results that were too young to go with them; whether some still are."""
        self._discard()
        return bool(self._later)

    def _discard(self) -> None:
        """Delete files of dropped results; what was written a moment ago, by whomever, is looked at next time."""
        limit = time.time() - _MOMENT_S
        for digest in list(self._later):
            self._recent.pop(digest, None)
            self._verified.pop(digest, None)
            if not self._known(digest):
                self._files.discard(digest, limit)
            if self._known(digest) or not self._files.path(digest).exists():
                self._later.discard(digest)

    def sweep(self) -> int:
        """Remove files that no row refers to and that are a day old; bytes freed."""
        return self._files.sweep(self._known)

    def collect(self, sweep: Sweep) -> Collected:
        """Forget results that nothing refers to and what exceeds the quota, and delete the files of both.

        Rows go first, in one transaction: whoever is killed here leaves files without a row, which the next one takes.

        Raises
        ------
        StoreError
            If the store cannot forget, or is in trouble.
        """
        if not isinstance(self._store, Prunes):
            raise StoreError(f"the store {self._store.location} cannot forget", hint="its author has to teach it")
        swept, freed = self._store.sweep(sweep), 0
        limit = sweep.at - (_MOMENT_S if swept.alone else sweep.grace_s)
        if not sweep.rehearsal:
            freed = sum(self._files.discard(digest, limit) for digest in swept.files if not self._known(digest))
        orphans = self._files.orphans(self._known, sweep.at - ORPHAN_S)
        if not sweep.rehearsal:
            self._files.sweep(self._known, now=sweep.at)
        return Collected(swept, freed, len(orphans), sum(orphans.values()))

    def _known(self, digest: str) -> bool:
        return self._store.result(digest) is not None

    def _remember(self, row: ResultRow) -> None:
        """Small results of this process are not fetched from the store again."""
        self._recent[row.digest] = row
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def _open_inline(self, digest: str, data: bytes) -> Opened:
        # A copy, so that arrays in it can be written to.
        return self._checked(digest, open_envelope(memoryview(bytearray(data)), context=_CONTEXT, key=self._key))

    def _open_file(self, digest: str) -> Opened:
        data, identity = self._files.get(digest)
        known = self._verified.get(digest) == identity
        try:
            opened = self._checked(digest, open_envelope(data, context=_CONTEXT, key=self._key, verified=known))
        except ResultUnavailable as error:
            if error.fields.get("damaged"):
                self._verified.pop(digest, None)
                self._files.quarantine(digest)
            raise
        self._verified[digest] = identity
        return opened

    def _checked(self, digest: str, opened: Opened) -> Opened:
        if opened.address != digest:
            raise ResultUnavailable(
                f"under the address of result {digest[:12]} lies another one, {opened.address[:12]}",
                hint="somebody moved files; the file is set aside, run the task again",
                digest=digest,
                damaged=True,
            )
        return opened


def _refuse_secrets(value: object, buffers: Sequence[bytes | memoryview]) -> None:
    """A stored value is read by others and kept for long: one that holds a secret is not stored."""
    if names := sorted(names_in(*buffers)):
        raise Unstorable(
            f"a {type(value).__name__} holds the value of the secret {', '.join(names)}",
            hint="pass the Secret itself on, and ask it for its value where that is needed",
            path="",
            type=type(value).__name__,
        )
