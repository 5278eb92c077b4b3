"""``Secret("NAME")``: a name that stands for a value which no record, page or key may hold.

The value comes from a function of the author's, the environment, a ``.env`` file or the system's keyring, each time it
is asked for, and is registered before anybody gets it. Knows where values come from; must not know where texts go.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect_nb.analysis import redaction
from prefect_nb.authoring import mouth
from prefect_nb.errors import UsageError
from prefect_nb.executors import worker

__all__ = ["Secret"]

_SHORTEST = 4
_SERVICE = "prefect_nb"


class Secret:
    """A value by its name; printed, compared, hashed, stored and used in keys as the name alone.

    Parameters
    ----------
    name : str
        An environment variable, a line of the nearest ``.env`` file upwards from the working folder, or an entry of the
        keyring's service ``prefect_nb``; the first that has it.
    source : callable, optional
        Gives the value instead.

    Examples
    --------
    >>> password = Secret("DB_PASSWORD")
    >>> f"{password!r} is {password}"
    "Secret('DB_PASSWORD') is ***"
    """

    __slots__ = ("name", "source")

    def __init__(self, name: str, source: Callable[[], str] | None = None) -> None:
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{type(name).__name__} is no name of a secret", hint='write Secret("DB_PASSWORD")')
        self.name = name
        self.source = source

    def get(self) -> str:
        """The value; from now on it is masked wherever this process writes text.

        Raises
        ------
        UsageError
            If nothing gives it, or it is too short to be told from other text.
        """
        value = self._found()
        if not isinstance(value, str):
            raise UsageError(f"the source of secret {self.name} gave a {type(value).__name__}, not text")
        if len(value) < _SHORTEST:
            raise UsageError(
                f"the secret {self.name} has fewer than {_SHORTEST} characters, which cannot be told from other text",
                hint="use a longer one: masking it would mask half of every log",
            )
        if worker.serving() is None:
            mouth.revealed(self.name, value)
        else:  # texts and values are looked at where the body was called
            worker.tell(pickle.dumps(("secret", (self.name, value))))
        return value

    def _found(self) -> object:
        if self.source is not None:
            return self.source()
        for find in (os.environ.get, _from_file, _from_keyring):
            if (value := find(self.name)) is not None:
                return value
        raise UsageError(
            f"there is no secret {self.name}",
            hint=f"set the variable {self.name}, write it into .env, or: keyring set {_SERVICE} {self.name}",
        )

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __str__(self) -> str:
        return redaction.MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.name, self.source) == (other.name, other.source)

    def __hash__(self) -> int:
        return hash((Secret, self.name))

    def __reduce__(self) -> tuple[object, ...]:
        return Secret, (self.name,) if self.source is None else (self.name, self.source)


def _from_file(name: str) -> str | None:
    """The value in the nearest ``.env``, not beyond the project's root."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        path = folder / ".env"
        if path.is_file():
            return _assigned(path.read_text(encoding="utf-8"), name)
        if (folder / "pyproject.toml").is_file() or (folder / ".git").exists():
            return None
    return None


def _assigned(text: str, name: str) -> str | None:
    found = None
    for line in text.splitlines():
        left, equals, right = line.strip().removeprefix("export ").partition("=")
        if not equals or left.strip() != name:
            continue
        value = right.strip()
        if value[:1] in ("'", '"'):
            end = value.find(value[0], 1)
            found = value[1:end] if end > 0 else value[1:]
        else:
            found = value.partition(" #")[0].rstrip()
    return found


def _from_keyring(name: str) -> str | None:
    try:
        keyring: Any = import_module("keyring")
    except ImportError:
        return None
    try:
        value: str | None = keyring.get_password(_SERVICE, name)
    except Exception as error:  # a keyring's back end may fail in ways of its own; it is one place of several
        print(f"the keyring cannot be asked for {name}: {type(error).__name__}", file=sys.stderr)
        return None
    return value
