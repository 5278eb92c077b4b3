"""What IPython's magics and shell escapes hide in strings: expressions, names and whole pieces of code.

Works on the text that IPython's transform produced; knows the spelling of magics, not IPython itself. Interpolation
never raises in IPython (a name that is missing is left as written), so everything found here is read softly.
"""

from __future__ import annotations

import ast
import re
import string
from dataclasses import dataclass

from prefect_nb.analysis.parsing import parse

__all__ = ["Escape", "escape", "expressions"]

_DOLLAR = re.compile(r"\$(\$?[\w.]+)")
_CODE_FLAGS = re.compile(r"\s*(?:-(?:[nrpslTD]\s*[\w./]+|\w+|-[\w-]+)\s+)*")
_BINDING = frozenset({"time", "prun", "capture"})  # they run their code in the notebook's namespace
_READING = frozenset({"timeit", "memit"})  # they run it inside a function of their own
_IMPURE = frozenset(
    [
        "cd",
        "pushd",
        "popd",
        "bookmark",
        "env",
        "set_env",
        "sx",
        "sc",
        "system",
        "pip",
        "conda",
        "mamba",
        "micromamba",
        "uv",
        "run",
        "script",
        "bash",
        "sh",
        "perl",
        "ruby",
        "writefile",
    ]
)
_UNKNOWN_NAMES = frozenset(
    ["run", "reset", "reset_selective", "store", "pylab", "edit", "rerun", "macro", "xdel", "load", "loadpy"]
)


@dataclass(frozen=True, slots=True)
class Escape:
    """One call that IPython put in the place of a magic or a shell command.

    Parameters
    ----------
    parts : tuple of ast.expr
        Interpolated expressions, in order.
    code : ast.Module, optional
        Python that the magic runs.
    binds : bool
        Whether that code runs in the notebook's namespace.
    target : str
        The name that ``%%capture name`` binds, or "".
    impure : str
        ``"!"``, ``"%cd"``, ``"%%bash"``, … or "" if it touches neither shell nor directory.
    unknown : str
        The magic whose effect on names nobody can see, or "".
    """

    parts: tuple[ast.expr, ...] = ()
    code: ast.Module | None = None
    binds: bool = False
    target: str = ""
    impure: str = ""
    unknown: str = ""


def expressions(text: str) -> tuple[ast.expr, ...]:
    """The expressions that IPython would put in the place of ``{…}`` and ``$name`` in `text`."""
    found: list[str] = []
    try:
        for literal, name, spec, _ in string.Formatter().parse(text):
            for match in _DOLLAR.finditer(literal):
                quoted = literal.count("'", match.end()) % 2  # inside '…' the dollar belongs to the shell
                if not match[1].startswith("$") and not quoted:
                    found.append(match[1])
            found.extend([name] if name else [])
            found.extend(ast.unparse(e) for e in (expressions(spec) if spec else ()))
    except ValueError:  # unbalanced braces: IPython leaves the whole text alone
        return ()
    parsed = [_expression(each) for each in found]
    return tuple(each for each in parsed if each is not None)


def _expression(text: str) -> ast.expr | None:
    try:
        return parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None


def escape(call: ast.Call) -> Escape | None:
    """What `call` means if IPython's transform made it, else None."""
    func = call.func
    if not (
        isinstance(func, ast.Attribute)
        and isinstance(func.value, ast.Call)
        and isinstance(func.value.func, ast.Name)
        and func.value.func.id == "get_ipython"
    ):
        return None
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if len(texts) != len(call.args) or not texts:
        return None
    if func.attr in ("system", "getoutput"):
        return Escape(parts=expressions(texts[0]), impure="!")
    if func.attr == "run_line_magic" and len(texts) >= 2:
        return _magic(texts[0], texts[1], "", "%")
    if func.attr == "run_cell_magic" and len(texts) >= 3:
        return _magic(texts[0], texts[1], texts[2], "%%")
    return None


def _magic(name: str, line: str, body: str, sign: str) -> Escape:
    shown = sign + name
    impure = shown if name in _IMPURE else ""
    if name in _BINDING | _READING:
        text = body if sign == "%%" else _CODE_FLAGS.sub("", line, count=1)
        target = next((w for w in line.split() if w.isidentifier()), "") if name == "capture" else ""
        try:
            return Escape(code=parse(text), binds=name in _BINDING, target=target)
        except (SyntaxError, ValueError):
            return Escape(unknown=shown)
    if name in ("pinfo", "pinfo2"):
        return Escape(parts=tuple(e for e in (_expression(re.split(r"[^\w]", line.strip(), maxsplit=1)[0]),) if e))
    unknown = shown if sign == "%%" or name in _UNKNOWN_NAMES else ""
    return Escape(parts=expressions(line), impure=impure, unknown=unknown)
