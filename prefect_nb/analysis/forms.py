"""What each type of value consists of, for the canonical walk: built-ins, enums, instances, and a registry by name.

A plain instance is its class and its state as the pickle protocol names them (structure, never pickle bytes).
Arrays and frames are registered by qualified name, so that no third party is imported here.
"""

from __future__ import annotations

import copyreg
import io
import types
from enum import Enum
from typing import Any

from prefect_nb.analysis.encode import Encoder, Fault, Hasher, qualified
from prefect_nb.analysis.figures import FIGURES
from prefect_nb.analysis.frames import ENCODERS, UNTAGGED

__all__ = ["choose", "register"]

_KNOWN = {**ENCODERS, **FIGURES}
_OWN_CLASS = UNTAGGED | FIGURES.keys()
_LATE: dict[str, tuple[Encoder, bool]] = {}
_CHOSEN: dict[type, Encoder] = {}


def register(type_name: str, encoder: Encoder, *, tagged: bool = True) -> None:
    """Use ``encoder`` for the type of this qualified name and its subclasses; nothing is imported.

    Parameters
    ----------
    type_name : str
        For example ``"pandas.core.frame.DataFrame"``.
    encoder : callable
        Gets the walking :class:`Hasher` and the value, returns bytes that tell two values apart.
    tagged : bool
        Whether a subclass adds its own class to the encoding.
    """
    _LATE[type_name] = (encoder, tagged)
    _CHOSEN.clear()


def _list(h: Hasher, value: list[Any]) -> bytes:
    return b"L" + h.items(value)


def _tuple(h: Hasher, value: tuple[Any, ...]) -> bytes:
    return b"T" + h.items(value)


def _dict(h: Hasher, value: dict[Any, Any]) -> bytes:
    return b"D" + h.pairs(value)


def _set(h: Hasher, value: set[Any]) -> bytes:
    return b"E" + h.members(value)


def _frozen(h: Hasher, value: frozenset[Any]) -> bytes:
    return b"Z" + h.members(value)


def _enum(h: Hasher, value: Enum) -> bytes:
    # A flag made of several members may have no name of its own; its value is then what it is.
    return b"N" + h.encode(type(value)) + h.encode(getattr(value, "_name_", None)) + h.encode(value._value_)


def _memory(h: Hasher, value: memoryview) -> bytes:
    return b"M" + h.encode(value.format) + h.encode(value.shape) + h.encode(value.tobytes())


def _stream(h: Hasher, value: io.BytesIO | io.StringIO) -> bytes:
    return b"O" + h.encode(type(value)) + h.encode(value.getvalue()) + h.encode(value.tell())


def _method(h: Hasher, value: types.MethodType) -> bytes:
    return b"m" + h.encode(value.__func__) + h.encode(value.__self__)


def _builtin(h: Hasher, value: types.BuiltinFunctionType) -> bytes:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return b"B" + h.code.token(value.__module__ or "", value.__qualname__)
    return b"B" + h.encode(owner) + h.encode(value.__name__)


def _descriptor(h: Hasher, value: Any) -> bytes:
    return b"B" + h.encode(value.__objclass__) + h.encode(value.__name__)


def _wrapped(h: Hasher, value: Any) -> bytes:
    return b"W" + h.encode(value.__func__)


def _property(h: Hasher, value: property) -> bytes:
    return b"P" + h.encode(value.fget) + h.encode(value.fset) + h.encode(value.fdel)


def _cached(h: Hasher, value: Any) -> bytes:
    return b"Y" + h.encode(value.__wrapped__) + h.encode(value.cache_parameters())


_EXACT: dict[type, Encoder] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _frozen,
    bytearray: lambda h, v: b"A" + h.encode(bytes(v)),
    memoryview: _memory,
    io.BytesIO: _stream,
    io.StringIO: _stream,
    types.FunctionType: lambda h, v: h.code.function(h, v),
    types.ModuleType: lambda h, v: h.code.module(h, v),
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin,
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
    types.MethodWrapperType: lambda h, v: b"B" + h.encode(v.__self__) + h.encode(v.__name__),
    types.MappingProxyType: lambda h, v: b"X" + h.pairs(v),
    types.GenericAlias: lambda h, v: b"G" + h.encode(v.__origin__) + h.encode(v.__args__),
    types.UnionType: lambda h, v: b"|" + h.encode(v.__args__),
    types.CodeType: lambda h, v: b"K" + h.items([v.co_code, v.co_consts, v.co_names, v.co_varnames, v.co_flags]),
    staticmethod: _wrapped,
    classmethod: _wrapped,
    property: _property,
}
_FAMILIES: tuple[tuple[type, Encoder], ...] = (
    (dict, lambda h, v: b"D" + h.pairs(dict(dict.items(v)))),
    (list, lambda h, v: b"L" + h.items(list(list.__iter__(v)))),
    (tuple, lambda h, v: b"T" + h.items(tuple(tuple.__iter__(v)))),
    (set, lambda h, v: b"E" + h.members(list(set.__iter__(v)))),
    (frozenset, lambda h, v: b"Z" + h.members(list(frozenset.__iter__(v)))),
    (int, lambda h, v: h.encode(int.__index__(v))),
    (float, lambda h, v: h.encode(float.__float__(v))),
    (complex, lambda h, v: h.encode(complex.__complex__(v))),
    (str, lambda h, v: h.encode(str.__str__(v))),
    (bytes, lambda h, v: h.encode(bytes.__getitem__(v, slice(None)))),
)
_REFUSED = (
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.FrameType,
    types.TracebackType,
    io.IOBase,
)
_BY_IDENTITY = {"logging.Logger", "logging.RootLogger"}


def choose(kind: type) -> Encoder:
    """The encoder of a type; the choice is remembered."""
    chosen = _CHOSEN.get(kind)
    if chosen is None:
        if len(_CHOSEN) > 4096:
            _CHOSEN.clear()
        chosen = _CHOSEN[kind] = _select(kind)
    return chosen


def _select(kind: type) -> Encoder:
    if kind in _EXACT:
        return _EXACT[kind]
    if issubclass(kind, type):
        return lambda h, v: h.code.klass(h, v)
    for base in kind.__mro__:
        name = qualified(base)
        encoder, tagged = _LATE.get(name) or (_KNOWN.get(name), name not in _OWN_CLASS)
        if encoder is not None:
            return encoder if base is kind or not tagged else _subclass(encoder)
        if name == "functools.cached_property":
            return lambda h, v: b"c" + h.encode(v.func) + h.encode(v.attrname)
        if name in _BY_IDENTITY:
            return lambda h, v: b"I" + h.encode(v.name)
    if issubclass(kind, Enum):
        return _enum
    if qualified(kind) == "functools._lru_cache_wrapper":
        return _cached
    if issubclass(kind, _REFUSED) or hasattr(kind, "__next__") or hasattr(kind, "__await__"):
        return _refuse
    if issubclass(kind, types.ModuleType):
        return _EXACT[types.ModuleType]
    for base, encoder in _FAMILIES:
        if issubclass(kind, base) and not _own_reduce(kind, base):
            return _family(encoder)
    return _instance


def _own_reduce(kind: type, family: type) -> bool:
    above = kind.__mro__[: kind.__mro__.index(family)]
    return any("__reduce__" in vars(c) or "__reduce_ex__" in vars(c) for c in above)


def _subclass(encoder: Encoder) -> Encoder:
    return lambda h, v: b"<" + h.encode(type(v)) + encoder(h, v)


def _family(encoder: Encoder) -> Encoder:
    def encode(h: Hasher, value: Any) -> bytes:
        return b"<" + h.encode(type(value)) + encoder(h, value) + _state(h, value.__getstate__())

    return encode


def _refuse(h: Hasher, value: Any) -> bytes:
    raise Fault(f"a {type(value).__name__} is live and changes as it is used")


def _instance(h: Hasher, value: Any) -> bytes:
    kind = type(value)
    if kind is object:
        raise Fault("a bare object() is only its identity")
    try:
        reducer = copyreg.dispatch_table.get(kind)
        reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    except RecursionError:
        raise
    except Exception as err:  # __reduce_ex__ is foreign code: whatever it raises means "no state to see"
        raise Fault(f"a {qualified(kind)} does not show its state ({err})") from None
    if isinstance(reduced, str):
        home = getattr(value, "__module__", None)
        return b"R" + h.encode(kind) + h.code.token(home if isinstance(home, str) else "", reduced)
    h.hold(reduced)
    maker, args, *rest = reduced
    out = [b"R", h.encode(kind), h.encode(maker)]
    try:
        out.append(h.items(args))
    except Fault as fault:
        raise fault.at(".args") from None
    state, listed, paired, setter = (rest + [None] * 4)[:4]
    out.append(_state(h, state))
    out.append(h.items(h.hold(list(listed))) if listed is not None else b"_")
    out.append(h.pairs(h.hold(dict(paired))) if paired is not None else b"_")  # type: ignore[arg-type]
    out.append(h.encode(setter))
    return b"".join(out)


def _state(h: Hasher, state: Any) -> bytes:
    """Attributes by name (their order says nothing), slots likewise; any other state as the value it is."""
    if state is None:
        return b"_"
    h.hold(state)
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        return b"=" + _state(h, state[0]) + _state(h, state[1])
    if type(state) is dict and all(type(k) is str for k in state):
        return b"-" + h.pairs({k: state[k] for k in sorted(state)}, ".{}")
    try:
        return h.encode(state)
    except Fault as fault:
        raise fault.at(".state") from None
