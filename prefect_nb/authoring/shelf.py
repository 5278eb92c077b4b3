"""The artifacts of one entry of a body: kept in order, on their way to the store, and in the end part of the record.

Knows artifacts, sessions and where large pictures are stored. Knows nothing of how an artifact is made. In a worker
process each goes home, where it is kept.
"""

from __future__ import annotations

import base64
import pickle
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from prefect_nb.authoring.ground import Ground
from prefect_nb.authoring.outputs import Output
from prefect_nb.core.artifacts import Artifact, share_done
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.session import Attachments, Session
from prefect_nb.engine.spool import Shown
from prefect_nb.errors import PrefectNBError, UsageError
from prefect_nb.executors import worker
from prefect_nb.results.vault import Vault
from prefect_nb.views.artifacts import artifacts_of, far_words
from prefect_nb.wiring import now

__all__ = ["Shelf", "artifacts_now", "shown_again", "spent"]

_MOST = 200
_BYTES = 32 << 20
_INLINE = 1 << 16
_PAGE = 16 << 20


class Shelf:
    """What one entry of a body shows.

    Parameters
    ----------
    vault : Vault, optional
        Where large pictures go.
    """

    def __init__(self, vault: Vault | None = None) -> None:
        self._vault = vault
        self._lock = threading.RLock()
        self._made: dict[str, Artifact] = {}
        self._shown: dict[str, Shown] = {}
        self._sizes: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._dropped = 0
        self._closed = False

    def name(self, kind: str, key: str | None) -> str:
        """The name of one more of this kind: its key, or the kind with a number."""
        with self._lock:
            if key is not None:
                return str(key)[:100]
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            return f"{kind}-{self._numbers[kind]}"

    def keep(self, made: Artifact, visit: VisitId, session: Session) -> None:
        """Take a version in; it is on its way to the store when this returns.

        Raises
        ------
        UsageError
            If the body has ended.
        """
        if worker.serving() is not None:
            worker.tell(pickle.dumps(("artifact", made)))
            return
        with self._lock:
            if self._closed:
                raise spent(made.name)
            made = self._fitting(made)
            self._made[made.name] = made
            light = self._stored(made, session)
            shown = self._shown.get(made.name)
            if shown is None:
                shown = self._shown[made.name] = Shown(visit, light)
            elif not shown.put(light):
                return
            shown.wait()
            session.log(shown)

    def close(self) -> None:
        """The body has ended: nothing changes any more."""
        with self._lock:
            self._closed = True

    def outputs(self) -> tuple[Output, ...]:
        """Everything in its last version, for the record."""
        with self._lock:
            return tuple(
                Output("artifact", made.name, data={"kind": made.kind, "number": made.number, "body": dict(made.body)})
                for made in self._made.values()
            )

    def _fitting(self, made: Artifact) -> Artifact:
        """With its place among the others; what does not fit any more is only counted, or is left without its data."""
        known = self._made.get(made.name)
        if known is None and len(self._made) >= _MOST:
            self._dropped += 1
            told = f"{self._dropped} more artifacts were not kept"
            return Artifact("more", "markdown", _MOST, {"text": told}, made.attempt, made.at)
        made = replace(made, number=len(self._made) if known is None else known.number)
        size = len(made.body.get("data", ""))
        others = sum(size for name, size in self._sizes.items() if name != made.name)
        if size and others + size > _BYTES:
            cut = f"not kept: the pictures of this task are more than {_BYTES:,} bytes"
            made, size = replace(made, body={**_without_data(made.body), "cut": cut}), 0
        self._sizes[made.name] = size
        return made

    def _stored(self, made: Artifact, session: Session) -> Artifact:
        """As it goes into a log: a large picture is a result of its own, whose address stands there."""
        data = made.body.get("data", "")
        if len(data) <= _INLINE or self._vault is None:
            return made
        light = _without_data(made.body)
        try:
            address, row = self._vault.save(base64.b64decode(data), namespace={})
        except PrefectNBError as error:
            return replace(made, body={**light, "cut": f"not stored: {error.message}"})
        session.post(attachments=Attachments(results=(row,)))
        return replace(made, body={**light, "address": address})


def spent(name: str) -> UsageError:
    """What is raised for a handle whose body has ended."""
    return UsageError(f"the artifact {name} was changed after its task had ended", hint="change it in the body")


def shown_again(outputs: Iterable[Output], visit: VisitId, ground: Ground) -> None:
    """The artifacts in a record belong to this visit too, which is given that record's result."""
    shelf = Shelf(ground.vault)
    for output in outputs:
        if output.kind == "artifact":
            told: Mapping[str, Any] = output.data
            made = Artifact(output.name, str(told["kind"]), int(told["number"]), told["body"], 0, now())
            shelf.keep(made, visit, ground.session)


def artifacts_now(session: Session, visit: VisitId, vault: Vault) -> tuple[dict[str, Any], ...]:
    """A visit's artifacts for its page, with their pictures as long as a message may hold them."""
    kept = artifacts_of(c for c in session.store.logs(session.run.id, visit.task, artifacts=True) if c.visit == visit)
    newest = {made.name: made for made in (*kept, *session.bus.board(visit))}
    room, found = _PAGE, []
    for made in sorted(newest.values(), key=lambda made: (made.number, made.name)):
        plain = made.to_plain()
        address = plain.pop("address", "")
        if address:
            room -= int(plain["size"])
            plain |= _fetched(vault, str(address)) if room >= 0 else {"cut": "there are more pictures than fit here"}
        if made.kind == "progress":
            plain |= {"share": share_done(made.body), "words": far_words(made.body)}
        found.append(plain)
    return tuple(found)


def _fetched(vault: Vault, address: str) -> dict[str, Any]:
    try:
        data = vault.load(address, namespace={})
    except PrefectNBError as error:
        return {"cut": f"it is gone: {error.message}"}
    return {"data": base64.b64encode(data).decode("ascii")} if isinstance(data, bytes) else {"cut": "it is gone"}


def _without_data(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in body.items() if name != "data"}
