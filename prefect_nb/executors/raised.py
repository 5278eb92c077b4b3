"""An exception on its way out of a worker: itself if it can be pickled, else what stands for it; always with its lines.

A traceback cannot be pickled, so its lines travel as data, and frames that tell the same are made of them, with which
Python and IPython show the user's own source. Knows exceptions and pickles; nothing of tasks.
"""

from __future__ import annotations

import builtins
import pickle
from types import CodeType, TracebackType
from typing import Any

__all__ = ["packed", "unpacked"]

_Line = tuple[str, int, str, str]
_NO_COLUMNS = 0x80 | 13 << 3


def packed(error: BaseException) -> bytes:
    """The exception and those that it is shown with, each with the lines of its traceback."""
    chain: list[BaseException] = [error]
    for one in chain:  # grows
        chain += [e for e in (one.__cause__, one.__context__) if e is not None and all(e is not c for c in chain)]
    numbers = {id(one): number for number, one in enumerate(chain)}
    rows = [
        (
            _pickled(one),
            _described(one),
            _lines(one.__traceback__),
            numbers.get(id(one.__cause__)),
            numbers.get(id(one.__context__)),
            one.__suppress_context__,
        )
        for one in chain
    ]
    return pickle.dumps(rows, protocol=5)


def unpacked(data: bytes | bytearray) -> BaseException:
    """The exception that :func:`packed` was given, or what stands for it."""
    rows = pickle.loads(data)  # noqa: S301 - written by our own worker, on a socket that nobody else holds
    errors = [_again(pickled, described) for pickled, described, *_ in rows]
    for error, (_, _, lines, cause, context, suppressed) in zip(errors, rows, strict=True):
        error.__cause__ = None if cause is None else errors[cause]
        error.__context__ = None if context is None else errors[context]
        error.__suppress_context__ = suppressed
        error.__traceback__ = _traceback(lines)
    first: BaseException = errors[0]
    return first


def _pickled(error: BaseException) -> bytes:
    import cloudpickle  # only where something has to travel

    try:
        data: bytes = cloudpickle.dumps(error, protocol=5)
    except Exception:  # the user's class may do anything
        return b""
    return data


def _described(error: BaseException) -> tuple[list[tuple[str, str, str]], str, list[str]]:
    """Its classes down to the first of Python's own, what it says, and its notes."""
    names = []
    for cls in type(error).__mro__:
        names.append((cls.__name__, cls.__module__, cls.__qualname__))
        if cls.__module__ == "builtins":
            break
    try:
        said = str(error)
    except Exception as failure:  # as above
        said = f"<{type(error).__name__} that cannot be printed: {type(failure).__name__}>"
    return names, said, [str(note) for note in getattr(error, "__notes__", ())]


def _again(data: bytes, described: tuple[list[tuple[str, str, str]], str, list[str]]) -> BaseException:
    if data:
        try:
            error = pickle.loads(data)  # noqa: S301 - as above
        except Exception:  # classes whose arguments do not fit are common
            error = None
        if isinstance(error, BaseException):
            return error
    return _stand_in(*described)


def _stand_in(names: list[tuple[str, str, str]], said: str, notes: list[str]) -> BaseException:
    """An exception whose classes have the names of the true one, so that they show and match as it would."""
    *own, (root, _, _) = names
    base: type[BaseException] = getattr(builtins, root, Exception)
    for name, module, qualname in reversed(own):
        members = {"__module__": module, "__qualname__": qualname, "__str__": lambda self: self.__dict__["said"]}
        base = type(name, (base,), members)
    error = base.__new__(base, said)
    error.__dict__["said"] = said
    for note in notes:
        error.add_note(note)
    return error


def _lines(tb: TracebackType | None) -> list[_Line]:
    found = []
    while tb is not None:
        code = tb.tb_frame.f_code
        found.append((code.co_filename, tb.tb_lineno or code.co_firstlineno, code.co_name, code.co_qualname))
        tb = tb.tb_next
    return found


def _traceback(lines: list[_Line]) -> TracebackType | None:
    chain: TracebackType | None = None
    for line in reversed(lines):
        found = _raised_at(*line)
        chain = TracebackType(chain, found.tb_frame, found.tb_lasti, line[1])
    return chain


def _raised_at(file: str, number: int, name: str, qualname: str) -> TracebackType:
    """A traceback of one frame that tells this line."""
    code = compile("raise error", file, "exec")
    code = code.replace(
        co_name=name, co_qualname=qualname, co_firstlineno=number, co_linetable=_one_line(len(code.co_code) // 2)
    )
    try:
        _run(code, {"error": _Made(), "__name__": "__main__"})
    except _Made as made:
        found = made.__traceback__
    while found is not None and found.tb_next is not None:
        found = found.tb_next
    assert found is not None
    return found


class _Made(Exception):
    """Raised to make a frame."""


def _run(code: CodeType, space: dict[str, Any]) -> None:
    exec(code, space)  # noqa: S102 - three words of ours; only exec makes a frame of a code object


def _one_line(units: int) -> bytes:
    """A table of positions that says "the first line, no columns" of so many code units."""
    table = bytearray()
    while units > 0:
        table += bytes((_NO_COLUMNS | min(units, 8) - 1, 0))
        units -= 8
    return bytes(table)
