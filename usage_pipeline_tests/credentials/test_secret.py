"""A secret shows itself nowhere but through ``reveal``."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.secret import SECRET_BYTES_MAX, Secret
from usage_pipeline.errors import InvalidInputError
from usage_pipeline_tests.credentials.material import CANARY, secret_texts


@dataclasses.dataclass(frozen=True)
class _Holder:
    secret: Secret


@given(secret_texts)
def test_a_secret_gives_back_the_text_it_was_made_of(text: str) -> None:
    assert Secret(text).reveal() == text


def test_no_way_of_printing_shows_the_secret() -> None:
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>90}", f"{secret:>40}", "%s %r" % (secret, secret)]  # noqa: UP031
    shown += [repr([secret]), repr(_Holder(secret)), repr(dataclasses.asdict(_Holder(secret)))]
    shown.append(json.dumps({"secret": secret}, default=str))
    shown.append(logging.LogRecord("x", logging.INFO, "x", 1, "key %s", (secret,), None).getMessage())
    assert all("***" in text for text in shown)
    assert not any(CANARY in text for text in shown)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_cannot_be_pickled(protocol: int) -> None:
    for value in (Secret(CANARY), _Holder(Secret(CANARY))):
        with pytest.raises(TypeError, match="cannot be pickled") as caught:
            pickle.dumps(value, protocol)
        assert CANARY not in str(caught.value)


def test_json_encoders_refuse_a_secret() -> None:
    for encode in (json.dumps, msgspec.json.encode, msgspec.to_builtins):
        with pytest.raises(TypeError) as caught:
            encode(Secret(CANARY))
        assert CANARY not in str(caught.value)


def test_a_secret_has_no_attributes_to_dump_and_none_to_set() -> None:
    secret = Secret(CANARY)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        secret.__getstate__()
    with pytest.raises(AttributeError):
        secret.text = "x"
    with pytest.raises(AttributeError):
        del secret.reveal
    assert copy.deepcopy(secret) is secret
    assert copy.copy(secret) is secret


@given(secret_texts, secret_texts)
def test_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) is (one == other)
    assert Secret(one) == Secret(one)
    assert len({Secret(one), Secret(one)}) == 1


def test_a_secret_never_equals_a_plain_text() -> None:
    assert Secret(CANARY) != CANARY


def test_two_hashes_say_nothing_about_their_secrets() -> None:
    assert hash(Secret("a")) == hash(Secret("b"))


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_one_newline_at_the_end_of_a_text_is_not_part_of_the_secret(ending: str) -> None:
    assert Secret.from_text(f"{CANARY}{ending}").reveal() == CANARY


@pytest.mark.parametrize("ending", ["\n\n", "\r", "\n\r", "\r\r\n"])
def test_more_than_one_newline_is_refused(ending: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Secret.from_text(f"{CANARY}{ending}")
    assert caught.value.code == "secret_malformed"


@pytest.mark.parametrize("text", ["", " ", "\n", "\t \r\n"])
def test_an_empty_secret_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Secret(text)
    assert caught.value.code == "secret_empty"


@given(st.sampled_from("\0\n\r\t\x1b\x7f\x85\u200b\ufeff\u2028\ud800"), st.integers(0, len(CANARY)))
def test_a_control_or_invisible_character_is_refused_without_showing_the_secret(bad: str, position: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Secret(CANARY[:position] + bad + CANARY[position:], where="acme.openai.main")
    assert caught.value.code == "secret_malformed"
    assert f"character {position + 1} " in str(caught.value)
    assert "acme.openai.main" in str(caught.value)
    assert CANARY[:position] + CANARY[position:] not in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_secret_longer_than_the_limit_is_refused() -> None:
    assert Secret("x" * SECRET_BYTES_MAX).reveal()
    with pytest.raises(InvalidInputError) as caught:
        Secret("é" * (SECRET_BYTES_MAX // 2) + "x")
    assert caught.value.code == "secret_malformed"


def test_only_text_becomes_a_secret() -> None:
    with pytest.raises(TypeError) as caught:
        Secret(CANARY.encode())  # type: ignore[arg-type]
    assert CANARY not in str(caught.value)
