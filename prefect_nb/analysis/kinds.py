"""The types that parameters may have: read from annotations and defaults, applied to text and to values.

JSON's types, dates, literals and unions of them. An annotation that we do not know is no reason to refuse a notebook:
anything fits it that JSON can hold. Knows Python's grammar; must not know where texts and values come from.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from prefect_nb.analysis import parsing

if TYPE_CHECKING:
    import yaml

__all__ = ["ANY", "Kind", "fit", "kind_of", "kind_of_default", "parse", "yaml_loader"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: its word, and for literals their values, for containers and unions their parts.

    A `loose` kind was guessed from a default: a whole number there may become a fraction.
    """

    word: str
    values: tuple[Any, ...] = ()
    parts: tuple[Kind, ...] = ()
    loose: bool = False

    def __str__(self) -> str:
        if self.word == "literal":
            return "one of " + ", ".join(repr(value) for value in self.values)
        if self.word == "union":
            return " or ".join(str(part) for part in self.parts)
        if self.parts:
            return f"{self.word}[{', '.join(str(part) for part in self.parts)}]"
        return self.word


ANY = Kind("any")
_NONE = Kind("None")
_SIMPLE = frozenset(("int", "float", "bool", "str", "date", "datetime", "list", "dict"))
_LIKE = {
    "list": ("List", "Sequence", "MutableSequence", "Iterable", "Collection"),
    "dict": ("Dict", "Mapping", "MutableMapping"),
}
_FOREIGN = frozenset(
    ("bytes", "bytearray", "complex", "frozenset", "set", "tuple", "Tuple", "Set", "FrozenSet", "time", "timedelta")
)
_ORDER = ("None", "literal", "bool", "int", "float", "datetime", "date", "list", "dict", "any", "str")
_INT = re.compile(r"[+-]?\d+(_\d+)*\Z", re.ASCII)
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def kind_of(annotation: ast.expr) -> Kind:
    """The kind that an annotation names."""
    match annotation:
        case ast.Constant(value=None):
            return _NONE
        case ast.Constant(value=str(text)):
            try:
                return kind_of(parsing.parse(text, mode="eval").body)
            except SyntaxError:
                return ANY
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union(kind_of(left), kind_of(right))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _named(name)
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _subscripted(name, parts)
    return ANY


def _named(name: str) -> Kind:
    if name in _FOREIGN:
        return Kind("no", (name,))
    if name == "NoneType":
        return _NONE
    word = next((word for word, names in _LIKE.items() if name in names), name if name in _SIMPLE else None)
    return ANY if word is None else Kind(word)


def _subscripted(name: str, parts: list[ast.expr]) -> Kind:
    if name == "Literal":
        try:
            return Kind("literal", tuple(ast.literal_eval(part) for part in parts))
        except ValueError:
            return ANY
    if name in ("Annotated", "Final", "ClassVar", "Required"):
        return kind_of(parts[0])
    kinds = [kind_of(part) for part in parts]
    if name == "Optional":
        return _union(*kinds, _NONE)
    if name == "Union":
        return _union(*kinds)
    outer = _named(name)
    if outer.word not in ("list", "dict"):
        return outer
    if any(kind.word in ("date", "datetime", "no") for kind in kinds):
        return Kind("no", (f"{name}[{', '.join(ast.unparse(part) for part in parts)}]",))
    return Kind(outer.word, parts=tuple(kinds))


def _union(*kinds: Kind) -> Kind:
    flat = [part for kind in kinds for part in (kind.parts if kind.word == "union" else (kind,))]
    return Kind("union", parts=tuple(sorted(dict.fromkeys(flat), key=_rank)))


def _rank(kind: Kind) -> int:
    return _ORDER.index(kind.word) if kind.word in _ORDER else len(_ORDER)


def kind_of_default(value: ast.expr) -> Kind:
    """The kind that a default stands for where nothing is annotated."""
    match value:
        case ast.Constant(value=bool()):
            return Kind("bool")
        case ast.Constant(value=int()) | ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int())):
            return Kind("union", parts=(Kind("int"), Kind("float")), loose=True)
        case ast.Constant(value=float()) | ast.UnaryOp(operand=ast.Constant(value=float())):
            return Kind("float")
        case ast.Constant(value=str()):
            return Kind("str")
        case ast.List():
            return Kind("list")
        case ast.Dict():
            return Kind("dict")
        case ast.Tuple() | ast.Set() | ast.Constant(value=bytes()):
            return Kind("no", (type(value).__name__.lower().replace("constant", "bytes"),))
        case ast.Call(func=ast.Name(id="date" | "datetime" as name) | ast.Attribute(attr="date" | "datetime" as name)):
            return Kind(name)
    return ANY


def parse(kind: Kind, text: str) -> Any:
    """The value of that kind which somebody typed as `text`.

    Raises
    ------
    ValueError
        Saying in words why there is none.
    """
    if kind.word == "union":
        for part in kind.parts:
            if part.word == "bool" and text in ("0", "1") and any(p.word in ("int", "float") for p in kind.parts):
                continue
            try:
                return parse(part, text)
            except ValueError:
                continue
        raise _unfit(kind, text)
    if kind.word == "no":
        raise ValueError(f"a value of type {kind.values[0]} cannot be passed, only what JSON can hold, and dates")
    if kind.word == "literal":
        for value in kind.values:
            if text == value or (not isinstance(value, str) and text == str(value)):
                return value
        raise _unfit(kind, text)
    return _READERS[kind.word](kind, text)


def _read_int(kind: Kind, text: str) -> int:
    if not _INT.match(text.strip()) or len(text) > 4000:
        raise _unfit(kind, text)
    return int(text)


def _read_float(kind: Kind, text: str) -> float:
    try:
        return float(_finite(float(text)))
    except ValueError:
        raise _unfit(kind, text) from None


def _read_bool(kind: Kind, text: str) -> bool:
    if text.strip().lower() not in _FLAGS:
        raise _unfit(kind, text)
    return _FLAGS[text.strip().lower()]


def _read_none(kind: Kind, text: str) -> None:
    if text not in ("None", "null"):
        raise _unfit(kind, text)


def _read_container(kind: Kind, text: str) -> Any:
    import yaml  # 50 ms that only text pays for

    try:
        value = yaml.load(text, Loader=yaml_loader())
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{text[:60]!r} is not a {kind}: {' '.join(str(error).split())[:120]}") from None
    return fit(kind, value)


def _read_any(kind: Kind, text: str) -> Any:
    """As papermill guesses."""
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    for reader in (_read_int, _read_float):
        try:
            return reader(kind, text)
        except ValueError:
            continue
    return text


def _read_date(kind: Kind, text: str) -> date:
    cls = datetime if kind.word == "datetime" else date
    try:
        return cls.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not a {kind} in ISO form, such as {_EXAMPLES[kind.word]}") from None


_EXAMPLES = {"date": "2024-03-01", "datetime": "2024-03-01T08:30"}
_READERS: dict[str, Callable[[Kind, str], Any]] = {
    "int": _read_int,
    "float": _read_float,
    "bool": _read_bool,
    "None": _read_none,
    "str": lambda kind, text: text,
    "list": _read_container,
    "dict": _read_container,
    "date": _read_date,
    "datetime": _read_date,
    "any": _read_any,
}


def fit(kind: Kind, value: Any) -> Any:
    """The value as one of that kind; only what JSON can hold, and dates.

    Raises
    ------
    ValueError
        Saying in words why it does not fit.
    """
    _jsonable(value)
    match kind.word:
        case "any":
            return value
        case "no":
            raise ValueError(f"a value of type {kind.values[0]} cannot be passed, only what JSON can hold, and dates")
        case "union":
            for part in sorted(kind.parts, key=lambda part: part.word == "float"):
                try:
                    return fit(part, value)
                except ValueError:
                    continue
        case "literal":
            if any(value == option and type(value) is type(option) for option in kind.values):
                return value
        case "date" | "datetime":
            if isinstance(value, str):
                return _read_date(kind, value)
            if isinstance(value, datetime) == (kind.word == "datetime") and isinstance(value, date):
                return value
        case "list" if isinstance(value, list):
            return [fit(kind.parts[0], item) for item in value] if kind.parts else value
        case "dict" if isinstance(value, dict):
            return {k: fit(kind.parts[-1], item) for k, item in value.items()} if kind.parts else value
        case "float" if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case word if type(value).__name__ == word or (value is None and word == "None"):
            return value
    raise _unfit(kind, value)


def _jsonable(value: Any) -> None:
    match value:
        case None | bool() | int() | str() | date():
            return
        case float():
            _finite(value)
        case list():
            for item in value:
                _jsonable(item)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise ValueError(f"the key {key!r} is not text")
                _jsonable(item)
        case _:
            raise ValueError(f"a value of type {type(value).__name__} cannot be passed, only what JSON can hold")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return value


def _unfit(kind: Kind, value: Any) -> ValueError:
    shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    article = "" if kind.word in ("literal", "None") else "an " if str(kind)[0] in "aeiou" else "a "
    return ValueError(f"{shown[:60]} is not {article}{kind}")


def yaml_loader() -> type[yaml.SafeLoader]:
    """YAML in which a date stays the text that it is: the parameter's type decides."""
    import yaml

    known = yaml.SafeLoader.yaml_implicit_resolvers.items()
    kept = {first: [(tag, like) for tag, like in pairs if not tag.endswith(":timestamp")] for first, pairs in known}
    return type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": kept})
