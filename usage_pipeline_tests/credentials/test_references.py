"""A reference finds its secret, and a secret given in a reference's place is not shown."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.references import REFERENCE_GROUP, SecretReference, known_schemes
from usage_pipeline.credentials.secret import SECRET_BYTES_MAX
from usage_pipeline.errors import InvalidInputError, PermanentError, TransientError, UsagePipelineError
from usage_pipeline_tests.credentials.material import CANARY

_PLUG_IN = f'''
import urllib.error
from usage_pipeline.errors import TransientError

def vault(target):
    match target:
        case "broken":
            raise ValueError("{CANARY}")
        case "denied":
            raise PermissionError(13, "{CANARY}")
        case "down":
            raise urllib.error.URLError("{CANARY}")
        case "busy":
            raise TransientError("vault_busy", "the vault is busy")
        case "bytes":
            return b"{CANARY}"
        case "empty":
            return ""
    return f"{CANARY}-{{target}}\\n"
'''


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with a plug-in for ``vault:``, one that does not load, and one that claims ``env``."""
    site = tmp_path / "site"
    metadata = site / "secret_vault-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "secret_vault_plug_in.py").write_text(_PLUG_IN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: secret-vault\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[{REFERENCE_GROUP}]\nvault = secret_vault_plug_in:vault\nlost = secret_vault_plug_in_lost:vault\n"
        "env = secret_vault_plug_in:vault\n"
    )
    monkeypatch.delitem(sys.modules, "secret_vault_plug_in", raising=False)
    monkeypatch.syspath_prepend(site)


def _failure(reference: SecretReference, environ: dict[str, str] | None = None) -> UsagePipelineError:
    with pytest.raises(UsagePipelineError) as caught:
        reference.resolve(environ or {})
    error = caught.value
    assert not isinstance(error, InvalidInputError)
    assert CANARY not in "".join(traceback.format_exception(error)) + repr(error) + repr(pickle.dumps(error))
    assert error.__cause__ is None
    assert str(reference) in str(error) or error.code == "vault_busy"
    return error


def _file(path: Path, content: bytes) -> SecretReference:
    path.write_bytes(content)
    return SecretReference.parse(f"file:{path}")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_an_environment_variable_gives_its_secret_without_the_newline(ending: str) -> None:
    reference = SecretReference.parse("env:OPENAI_ADMIN_KEY")
    assert reference == SecretReference("env", "OPENAI_ADMIN_KEY")
    assert reference.resolve({"OPENAI_ADMIN_KEY": CANARY + ending}).reveal() == CANARY


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}, {"KEY2": CANARY}])
def test_a_variable_that_is_missing_or_empty_is_named(environ: dict[str, str]) -> None:
    error = _failure(SecretReference.parse("env:KEY"), environ)
    assert isinstance(error, PermanentError)
    assert error.code == "secret_env_missing"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_file_gives_its_secret_without_the_newline(ending: bytes, tmp_path: Path) -> None:
    assert _file(tmp_path / "a key", CANARY.encode() + ending).resolve({}).reveal() == CANARY


def test_a_file_url_is_taken_as_its_path(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(CANARY)
    reference = SecretReference.parse(f"file://{path}")
    assert str(reference) == f"file:{path}"
    assert reference.resolve({}).reveal() == CANARY


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    references = [
        SecretReference.parse(f"file:{tmp_path / 'missing'}"),
        SecretReference.parse(f"file:{tmp_path}"),
        SecretReference.parse(f"file:{tmp_path / 'pipe'}"),
        SecretReference.parse("file:/dev/zero"),
        _file(tmp_path / "long", b"x" * (SECRET_BYTES_MAX + 3)),
        _file(tmp_path / "binary", CANARY.encode() + b"\xff"),
    ]
    for reference in references:
        error = _failure(reference)
        assert isinstance(error, PermanentError)
        assert error.code == "secret_file_unreadable"


def test_a_file_without_a_well_formed_secret_is_a_permanent_error(tmp_path: Path) -> None:
    assert _failure(_file(tmp_path / "empty", b"\n")).code == "secret_empty"
    assert _failure(_file(tmp_path / "lines", f"{CANARY}\n{CANARY}\n".encode())).code == "secret_malformed"


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"env:{CANARY}",
        f"file:{CANARY}",
        f"file://{CANARY}/x",
        f"file:/tmp/\0{CANARY}",
        f"https://user:{CANARY}@example.com",
        f"{CANARY}:x",
        f"Bearer:{CANARY}",
        f":{CANARY}",
        f"{CANARY}\nenv:X",
        f"nobody-knows:{CANARY}",
        "",
        "env:",
        "file:",
        "env",
        "file:relative/key",
        "file:~/key",
        "env:1X",
        "env:A B",
    ],
)
def test_what_is_no_reference_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        SecretReference.parse(text)
    assert caught.value.code in {"secret_reference_malformed", "secret_reference_scheme_unknown"}
    assert CANARY not in "".join(traceback.format_exception(caught.value)).replace(repr(text), "")
    assert CANARY not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_gives_a_documented_error(text: str) -> None:
    codes = set()
    for candidate in (text, f"env:{text}", f"file:{text}", f"file:/{text}"):
        try:
            reference = SecretReference.parse(candidate)
        except InvalidInputError as error:
            codes.add(error.code)
        else:
            assert SecretReference.parse(str(reference)) == reference
    assert codes <= {"secret_reference_malformed", "secret_reference_scheme_unknown"}


@pytest.mark.parametrize(("scheme", "target"), [("ENV", "X"), ("", "X"), ("env", ""), ("env", "x-y"), ("file", "x")])
def test_an_impossible_reference_cannot_be_built(scheme: str, target: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        SecretReference(scheme, target)
    assert caught.value.code == "secret_reference_malformed"


def test_the_built_in_schemes_are_always_known() -> None:
    assert known_schemes()[:2] == ("env", "file")


@pytest.mark.usefixtures("vault")
def test_an_installed_plug_in_adds_its_scheme() -> None:
    assert "vault" in known_schemes()
    reference = SecretReference.parse("vault:team/openai#admin")
    assert reference.resolve({}).reveal() == f"{CANARY}-team/openai#admin"


@pytest.mark.usefixtures("vault")
def test_a_plug_in_cannot_take_over_a_built_in_scheme() -> None:
    assert SecretReference.parse("env:KEY").resolve({"KEY": "from the environment"}).reveal() == "from the environment"
    assert known_schemes().count("env") == 1


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("vault:broken", PermanentError, "secret_reference_failed"),
        ("vault:denied", PermanentError, "secret_reference_failed"),
        ("vault:bytes", PermanentError, "secret_reference_failed"),
        ("lost:anything", PermanentError, "secret_reference_failed"),
        ("vault:empty", PermanentError, "secret_empty"),
        ("vault:down", TransientError, "secret_reference_unavailable"),
        ("vault:busy", TransientError, "vault_busy"),
    ],
)
def test_a_plug_in_that_fails_gives_a_coded_error_without_its_text(text: str, kind: type, code: str) -> None:
    error = _failure(SecretReference.parse(text))
    assert isinstance(error, kind)
    assert error.code == code


def test_a_plug_in_that_is_gone_is_named() -> None:
    assert _failure(SecretReference("gone", "x")).code == "secret_reference_scheme_missing"
