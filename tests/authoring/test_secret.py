"""Secrets: where their values come from, and that only their names travel."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from prefect_nb import Secret, flow, task
from prefect_nb.analysis import redaction
from prefect_nb.analysis.values import fingerprint
from prefect_nb.errors import PrefectNBError, UsageError

VALUE = "correct-horse"


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a working folder, a store and a registry of its own, and no keyring."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(redaction, "_values", {})
    monkeypatch.setattr(redaction, "_known", None)
    monkeypatch.setitem(sys.modules, "keyring", None)


def stored() -> bytes:
    """Everything that lies in the store."""
    return b"".join(p.read_bytes() for p in Path(".prefect_nb").rglob("*") if p.is_file())


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over .env, .env over the keyring, and a function of the author's over all."""
    asked = []
    ring = types.SimpleNamespace(get_password=lambda service, name: asked.append((service, name)) or "from-the-ring")
    monkeypatch.setitem(sys.modules, "keyring", ring)
    assert Secret("S").get() == "from-the-ring"
    Path(".env").write_text("OTHER=1\nS=from-the-file\n")
    assert Secret("S").get() == "from-the-file"
    monkeypatch.setenv("S", "from-the-environment")
    assert Secret("S").get() == "from-the-environment"
    assert Secret("S", lambda: "from-a-function").get() == "from-a-function"
    assert asked == [("prefect_nb", "S")]
    assert redaction.without("from-the-ring from-the-file from-a-function") == "*** *** ***"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("S=plain text # a comment", "plain text"),
        ("export S='quoted # not one'", "quoted # not one"),
        ('  S = "double = quoted"  # yes', "double = quoted"),
        ("S=with#sign", "with#sign"),
        ("S=first\nS=second", "second"),
    ],
)
def test_lines_of_the_file(line: str, value: str) -> None:
    """Lines of .env are read as shells and other tools write them, from a folder above too."""
    Path(".env").write_text(f"# S=comment\n\n{line}\nSS=other\n")
    below = Path("a/b")
    below.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(below)
        assert Secret("S").get() == value
        Path("../pyproject.toml").touch()
        with pytest.raises(UsageError, match="no secret S"):
            Secret("S").get()  # what lies outside the project is not its own


def test_what_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing, short or strange value is an error that names the secret and never the value."""
    with pytest.raises(UsageError, match="there is no secret NOWHERE") as caught:
        Secret("NOWHERE").get()
    assert "keyring set prefect_nb NOWHERE" in caught.value.hint
    monkeypatch.setenv("SHORT", "qz!")
    with pytest.raises(UsageError, match="fewer than 4 characters") as caught:
        Secret("SHORT").get()
    assert "qz!" not in str(caught.value) + caught.value.hint
    with pytest.raises(UsageError, match="gave a int"):
        Secret("S", lambda: 12345).get()  # type: ignore[arg-type, return-value]
    with pytest.raises(UsageError, match="no name"):
        Secret("")


def test_a_broken_keyring_is_one_place_of_several(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A keyring that fails is told of, and the secret is missing as if there were none."""

    def fail(service: str, name: str) -> str:
        raise RuntimeError("no back end")

    monkeypatch.setitem(sys.modules, "keyring", types.SimpleNamespace(get_password=fail))
    with pytest.raises(UsageError, match="there is no secret S"):
        Secret("S").get()
    assert "the keyring cannot be asked for S: RuntimeError" in capsys.readouterr().err


def test_only_the_name_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed, formatted, copied, pickled and in a key a secret is its name, whatever its value is."""
    monkeypatch.setenv("S", VALUE)
    secret = Secret("S")
    before = fingerprint(secret)
    secret.get()
    assert (repr(secret), str(secret), f"{secret}", f"{secret!r}") == ("Secret('S')", "***", "***", "Secret('S')")
    assert VALUE.encode() not in pickle.dumps(secret)
    for other in (pickle.loads(pickle.dumps(secret)), copy.deepcopy(secret), Secret("S")):
        assert (other == secret, hash(other) == hash(secret)) == (True, True)
    assert Secret("T") != secret
    monkeypatch.setenv("S", "another-value")
    assert fingerprint(secret) == before == fingerprint(Secret("S"))
    assert fingerprint(Secret("T")) != before


@task
def login(secret: Secret) -> int:
    return len(secret.get())


@task
def leak(secret: Secret) -> Any:
    return {"user": "ada", "password": [secret.get()]}


@task
def wrong(secret: Secret) -> None:
    raise ValueError(f"cannot log in with {secret.get()}")


@task(executor="processes")
def far(secret: Secret, fails: bool) -> Any:
    print("far away:", secret.get())
    if fails:
        raise ValueError(f"cannot log in with {secret.get()}")
    return [secret.get()]


@pytest.mark.parametrize("fails", [False, True])
def test_a_body_in_another_process(monkeypatch: pytest.MonkeyPatch, capsys: Any, fails: bool) -> None:
    """What a worker process reveals is masked here, where its texts and values arrive."""
    monkeypatch.setenv("S", VALUE)

    @flow
    def etl() -> Any:
        return far(Secret("S"), fails)

    run = etl.submit()
    assert run.wait(60).name == ("Failed" if fails else "Success")
    assert "".join(run.tasks["far"].logs()) == "far away: ***\n"
    assert VALUE not in "".join(capsys.readouterr())
    assert VALUE.encode() not in stored()
    assert fails == (b"cannot log in with ***" in stored())


def test_a_value_that_holds_a_secret_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task succeeds and those downstream get its value; the store does not, and the task says why."""
    monkeypatch.setenv("S", VALUE)

    @flow
    def etl() -> Any:
        return [login(Secret("S")), leak(Secret("S"))]

    run = etl.submit()
    assert run.result() == [len(VALUE), {"user": "ada", "password": [VALUE]}]
    assert "holds the value of the secret S" in run.tasks["leak"].why()
    assert VALUE.encode() not in stored()


def test_an_error_that_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who calls gets the exception as it was raised; the record of it does not hold the value."""
    monkeypatch.setenv("S", VALUE)

    @flow
    def etl() -> Any:
        return wrong(Secret("S"))

    with pytest.raises(ValueError, match=VALUE):
        etl()
    found = stored()
    assert VALUE.encode() not in found
    assert b"cannot log in with ***" in found


def test_parameters_and_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is refused as a parameter and in a target, where it would be kept; the Secret itself is welcome."""
    monkeypatch.setenv("S", VALUE)

    @task(target="out/{name}.json")
    def save(name: str) -> int:
        return 1

    @flow
    def etl(password: Any, where: bool = False) -> Any:
        return save(password.get()) if where else login(password)

    assert etl(Secret("S")) == len(VALUE)
    with pytest.raises(PrefectNBError, match="the parameter password holds the value of a secret"):
        etl(VALUE)
    with pytest.raises(UsageError, match="would show a secret in name"):
        etl(Secret("S"), True)
    assert VALUE.encode() not in stored()
    assert not Path("out").exists()
