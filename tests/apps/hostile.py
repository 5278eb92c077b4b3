"""Values that a careless writer of code would turn into code."""

from __future__ import annotations

_QUOTES = [
    "'",
    '"',
    "'''",
    '"""',
    "\\",
    "\\'",
    '\\"',
    "\\\\'",
    "\n",
    "\r\n",
    "\x00",
    "{",
    "}",
    "{}",
    "%s",
    "${x}",
    "#",
    ";",
]
_TAILS = [
    "",
    "import os",
    "__import__('os').system('x')",
    ")\nraise SystemExit",
    "\\N{DIGIT ONE}",
    "\\x41",
    "é",
    "\ud800",
    "🙂",
]

HOSTILE = [
    *(quote + tail + quote for quote in _QUOTES for tail in _TAILS),
    *({key: [key, {"k": key}]} for key in ("'", '"', "\n", "a b", "\\")),
    *([True, None, -1, 1.5, [], {}, 10**30, -0.0]),
]
