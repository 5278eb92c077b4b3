"""A user's exception: as data for the store, and on the page exactly as a plain cell would show it.

Knows Python tracebacks and how IPython shows them. Knows nothing about states or stores beyond the error record that it
fills. Frames of this package never reach the user: they are cut out of the chain, not folded.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from prefect_nb.core.events import ErrorInfo

__all__ = ["error_info", "present", "spare", "user_frames"]

MESSAGE_LIMIT = 2_000
TRACEBACK_LIMIT = 20_000

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def user_frames(tb: TracebackType | None) -> TracebackType | None:
    """The same traceback without the frames of this package."""
    kept = [entry for entry in _entries(tb) if not entry.tb_frame.f_code.co_filename.startswith(_PACKAGE)]
    chain: TracebackType | None = None
    for entry in reversed(kept):
        chain = TracebackType(chain, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return chain


def error_info(
    error: BaseException,
    tb: TracebackType | None,
    *,
    label: Callable[[str], str | None] | None = None,
    kind: str = "raised",
    hard: bool = True,
) -> ErrorInfo:
    """The exception as data; survives exceptions that cannot print themselves.

    Parameters
    ----------
    error : BaseException
        What the body raised.
    tb : traceback or None
        Where; frames of this package are left out.
    label : callable, optional
        Turns a file name into what people call it, such as ``Cell In[3]``; None keeps the file name.
    kind, hard
        See :class:`~prefect_nb.core.events.ErrorInfo`.
    """
    cls = type(error)
    bases = [base for base in cls.__mro__ if base is not object]
    names = [name for base in bases for name in (base.__name__, f"{base.__module__}.{base.__qualname__}")]
    return ErrorInfo(
        type=cls.__name__,
        message=_cut(_message(error), MESSAGE_LIMIT),
        types=tuple(dict.fromkeys(names)),
        traceback=_cut(_plain_traceback(error, tb, label), TRACEBACK_LIMIT),
        kind=kind,
        hard=hard,
    )


def present(shell: Any, error: BaseException, tb: TracebackType | None, *, before_run: bool = False) -> BaseException:
    """Prepare `error` to be raised from a task cell so that IPython shows it once, as it shows a plain cell's error.

    Use it as ``raise present(shell, error, tb)`` outside any except block.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell that will show it.
    error : BaseException
        The user's exception; it is raised as it is.
    tb : traceback or None
        The user's frames.
    before_run : bool
        The cell could not be compiled, so no line of it ran: a syntax error is shown without frames.

    Returns
    -------
    BaseException
        `error`.
    """
    _Shown(shell, error, tb, before_run).arm()
    return error


def spare(shell: Any) -> None:
    """Let an error of the plain cell that is about to run be shown without our frames: what it called may be a task.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        Left alone where somebody else shows its errors.
    """
    if "showtraceback" not in shell.__dict__:
        _Spared(shell).arm()


class _Stead:
    """Stands in for ``shell.showtraceback`` until the end of this cell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def arm(self) -> None:
        self._shell.showtraceback = self
        self._shell.events.register("post_execute", self._disarm)

    def _disarm(self) -> None:
        self._shell.events.unregister("post_execute", self._disarm)
        if self._shell.__dict__.get("showtraceback") is self:
            del self._shell.showtraceback

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if not args and "exc_tuple" not in kwargs:  # else somebody shows another error by itself, as a failed figure's
            self._cut()
        self._show(*args, **kwargs)

    def _cut(self) -> None:
        raise NotImplementedError

    def _show(self, *args: Any, **kwargs: Any) -> None:
        type(self._shell).showtraceback.__get__(self._shell)(*args, **kwargs)


class _Spared(_Stead):
    """Of a plain cell: whatever error it shows."""

    def _cut(self) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            for each in (error, *_linked(error)):
                each.__traceback__ = _without_ours(each.__traceback__)


def _without_ours(tb: TracebackType | None) -> TracebackType | None:
    kept = user_frames(tb)
    return tb if kept is None else kept


class _Shown(_Stead):
    """Of a task cell: puts the user's frames of its own error in place.

    IPython reads the frames from the exception, to which Python adds ours while it travels up; they can only be cut off
    at the moment of showing.
    """

    def __init__(self, shell: Any, error: BaseException, tb: TracebackType | None, before_run: bool) -> None:
        super().__init__(shell)
        self._error = error
        self._tb = user_frames(tb)
        self._before_run = before_run
        self._chain = error.__cause__, error.__context__, error.__suppress_context__

    def _show(self, *args: Any, **kwargs: Any) -> None:
        other = args or "exc_tuple" in kwargs
        if not other and self._before_run and isinstance(self._error, IndentationError):
            self._shell.showindentationerror()
        elif not other and self._before_run and isinstance(self._error, SyntaxError):
            self._shell.showsyntaxerror()
        else:
            super()._show(*args, **kwargs)

    def _cut(self) -> None:
        error = self._error
        if error.__traceback__ is not None:
            # The outermost frame is IPython's own, which it expects and leaves out by counting.
            top = error.__traceback__
            error.__traceback__ = TracebackType(self._tb, top.tb_frame, top.tb_lasti, top.tb_lineno)
        error.__cause__, error.__context__, error.__suppress_context__ = self._chain
        for linked in _linked(error):
            linked.__traceback__ = user_frames(linked.__traceback__)


def _entries(tb: TracebackType | None) -> Iterator[TracebackType]:
    while tb is not None:
        yield tb
        tb = tb.tb_next


def _linked(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that are shown together with this one, without it."""
    seen = {id(error)}
    todo = [error.__cause__, error.__context__]
    while todo:
        linked = todo.pop()
        if linked is not None and id(linked) not in seen:
            seen.add(id(linked))
            yield linked
            todo += [linked.__cause__, linked.__context__]


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # a user's __str__ may do anything
        return f"<{type(error).__name__} that cannot be printed: {type(failure).__name__}>"


def _plain_traceback(error: BaseException, tb: TracebackType | None, label: Callable[[str], str | None] | None) -> str:
    try:
        story = traceback.TracebackException(type(error), error, tb, compact=True)
        _tidy(story, label, set())
        return "".join(story.format())
    except Exception:  # a user's exception class may break the formatting itself
        return f"{type(error).__name__}: {_message(error)}\n"


def _tidy(story: traceback.TracebackException, label: Callable[[str], str | None] | None, seen: set[int]) -> None:
    if id(story) in seen:
        return
    seen.add(id(story))
    frames = []
    for frame in story.stack:
        if frame.filename.startswith(_PACKAGE):
            continue
        _ = frame.line  # reads the source by the real name, before the name is changed
        frame.filename = (label(frame.filename) if label is not None else None) or frame.filename
        frames.append(frame)
    story.stack[:] = frames
    groups = getattr(story, "exceptions", None) or ()
    for linked in (story.__cause__, story.__context__, *groups):
        if linked is not None:
            _tidy(linked, label, seen)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… {len(text) - limit:,} more characters"
