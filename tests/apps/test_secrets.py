"""Fifty canaries, told in every way a notebook knows, and every place where they could have been written down."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from apps_parts import Shell, write
from click.testing import CliRunner

from prefect_nb.apps.cli import cli

CANARIES = {f"CANARY_{n}": f'c4n-{n:02d}/"é\\{n * 7919:06d}+=&<% ' + "x" * (n % 5) for n in range(50)}

FIRST = """
%load_ext prefect_nb
import base64, html, json, logging, os, subprocess, sys
from urllib.parse import quote, quote_plus
from IPython.display import HTML, display
from prefect_nb import Secret, context, task
S = [Secret(f"CANARY_{n}") for n in range(50)]
def spelled(v):
    raw = v.encode()
    return [v, repr(v), json.dumps(v), quote(v), quote_plus(v), html.escape(v), base64.b64encode(raw).decode(),
            base64.b64encode(b"user:" + raw).decode(), base64.urlsafe_b64encode(b"xx" + raw).decode(),
            str(raw), raw.hex(), json.dumps(json.dumps({"k": v}))]
@task
def connect(secret, note):
    print("connected with", secret.get(), note)
    context.logger.warning("log of %s", secret.get())
    return {"host": "h", "password": secret.get()}
@task
def plain(value):
    return len(value)
"""

TOLD = """%%task told
values = [s.get() for s in S]
for v in values:
    for text in spelled(v):
        print(text)
        print("to stderr", text, file=sys.stderr)
"""

PIECES = """%%task pieces
for s in S[::5]:
    for letter in s.get():
        print(letter, end="", flush=True)
    print()
for s in S:
    logging.getLogger("app").warning("with %s", s.get())
    half = len(s.get()) // 2
    sys.stdout.write("a" + s.get()[:half]); sys.stdout.write(s.get()[half:] + "b")
"""

SHOWN = """%%task shown
both = {s.name: s.get() for s in S}
display(HTML("<p>" + " ".join(both.values()) + "</p>"))
display({"application/json": both, "text/plain": str(both)}, raw=True)
both
"""

OUTSIDE = """%%task outside
for s in S[:5]:
    subprocess.run(["sh", "-c", 'printf "%s" "$V"; printf "%s" "$V" >&2'], env={**os.environ, "V": s.get()})
    os.write(1, s.get().encode())
"""

CALLS = """%%task calls
got = [connect(s, s.get())["host"] for s in S[:20]] + [plain(s.get()) for s in S[:20]]
names = S
"""

PLAIN = """
for s in S:
    print("plain", s.get(), *spelled(s.get()))
display(HTML(S[0].get()))
print(S[3], S[3:5], f"{S[4]}")
[s.get() for s in S]
"""

LOOKED = """
%flow why told
%flow logs told
%flow why calls
%flow
"""

FAILED = """%%task failed --retries 1
class Odd(Exception):
    def __str__(self):
        return "odd " + S[7].get()
try:
    raise KeyError(S[8].get())
except KeyError as error:
    raise Odd(*[s.get() for s in S]) from error
"""


def forms(value: str) -> set[str]:
    """How a value could have been written down."""
    raw = value.encode()
    found = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    found |= {quote(value), quote(value, safe=""), quote_plus(value), html.escape(value), raw.hex(), repr(raw)[2:-1]}
    for before in (b"", b"x", b"xx"):
        code = base64.b64encode(before + raw).decode().rstrip("=")[4:-2]
        found |= {code, code.replace("+", "-").replace("/", "_")}
    return found | {value[:14], json.dumps(value[:14])[1:-1]}


def hits(where: str, data: bytes) -> list[str]:
    """Which canaries a place holds."""
    found = []
    for name, value in CANARIES.items():
        for form in forms(value):
            if any(form.encode(code) in data for code in ("utf-8", "utf-16-le", "utf-32-le")):
                found.append(f"{where}: {name} as {form!r}")
    return found


def test_no_canary_in_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed, shown, logged, passed on, returned and raised: no record, page, listing or terminal holds one."""
    cells = [FIRST, "# parameters\nregion: str = 'EU'", TOLD, PIECES, SHOWN, OUTSIDE, CALLS, PLAIN, LOOKED, FAILED]
    notebook = write(tmp_path / "n.ipynb", *(cell.lstrip("\n") for cell in cells))
    shell = Shell(tmp_path)
    shell.env |= CANARIES
    shell.env.pop("PYTEST_CURRENT_TEST", None)  # a kernel that finds it does not listen to its own file descriptors
    try:
        ran = shell("run", str(notebook), "out.ipynb")
        assert ran.returncode == 1, ran.stderr
        places = {"terminal": (ran.stdout + ran.stderr).encode()}
    finally:
        shell.close()
    monkeypatch.chdir(tmp_path)
    asked = [("status", "--json"), ("runs", "--json"), ("graph", "--json"), ("graph", "--svg", "-"), ("logs", "--all")]
    asked += [("logs", "--all", "--json"), *(("why", name, "--json") for name in ("told", "calls", "failed"))]
    for words in asked:
        answer = CliRunner().invoke(cli, list(words))
        assert answer.exit_code == 0, answer.output
        places[" ".join(words)] = answer.output.encode()
    for path in [tmp_path / "out.ipynb", *(tmp_path / ".prefect_nb").rglob("*")]:
        if path.is_file():
            places[path.name] = path.read_bytes()
    assert b"to stderr" in places["out.ipynb"]
    assert b"***" in places["state.db"] + places.get("state.db-wal", b"")
    found = [hit for place, data in places.items() for hit in hits(place, data)]
    assert not found, "\n".join(found[:20])
    states = {row["name"]: row["state"] for row in json.loads(places["status --json"])["tasks"]}
    assert states["failed"] == "Failed", (ran.stdout, ran.stderr)
    assert {states[name] for name in ("told", "pieces", "shown", "outside", "calls")} == {"Success"}, states
