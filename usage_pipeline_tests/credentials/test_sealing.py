"""A sealed secret opens for its own row, with a key of the ring, unaltered; everything else has its own error."""

from __future__ import annotations

import dataclasses
import pickle
import traceback

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from usage_pipeline.credentials import sealing
from usage_pipeline.credentials.key_ring import KeyRing
from usage_pipeline.credentials.sealing import (
    SEALING_ERROR_CODES,
    CredentialBinding,
    SealingError,
    key_id_of,
    open_sealed,
    rewrap,
    seal,
)
from usage_pipeline.credentials.secret import SECRET_BYTES_MAX, Secret
from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline_tests.credentials.material import BINDING, CANARY, bindings, entry, ring, secret_texts

# Where each field starts for the key id "k1" (see the format in the module's docstring).
_KEY_ID = 6
_DIGEST = 8
_DATA_KEY_NONCE = 40
_WRAPPED = 52
_SECRET_NONCE = 100
_LENGTH = 112
_SECRET = 116


def _code(sealed: bytes, binding: CredentialBinding = BINDING, opening_ring: KeyRing | None = None) -> str:
    """The code of the error that opening gives; the error must be the documented one and show no secret."""
    with pytest.raises(SealingError) as caught:
        open_sealed(sealed, binding, opening_ring or ring("k1"))
    error = caught.value
    assert isinstance(error, PermanentError)
    assert error.code in SEALING_ERROR_CODES
    assert "\n" not in str(error)
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(pickle.dumps(error))
    assert CANARY not in shown
    return error.code


def _flip(sealed: bytes, position: int, mask: int = 1) -> bytes:
    return sealed[:position] + bytes([sealed[position] ^ mask]) + sealed[position + 1 :]


@given(secret_texts, bindings)
def test_any_secret_opens_again_for_its_own_row(text: str, binding: CredentialBinding) -> None:
    sealed = seal(Secret(text), binding, ring("k2", "k1"))
    assert open_sealed(sealed, binding, ring("k1", "k2")).reveal() == text


def test_the_longest_secret_opens_again() -> None:
    sealed = seal(Secret("x" * SECRET_BYTES_MAX), BINDING, ring("k1"))
    assert len(open_sealed(sealed, BINDING, ring("k1")).reveal()) == SECRET_BYTES_MAX


@given(bindings, bindings)
def test_no_other_row_opens_it(own: CredentialBinding, other: CredentialBinding) -> None:
    assume(own != other)
    assert _code(seal(Secret(CANARY), own, ring("k1")), other) == "sealed_secret_moved"


@pytest.mark.parametrize(
    "other",
    [
        CredentialBinding("acm", "eopenai", "main", 3),
        CredentialBinding("acme", "openaim", "ain", 3),
        CredentialBinding("openai", "acme", "main", 3),
        CredentialBinding("other", "openai", "main", 3),
        CredentialBinding("acme", "anthropic", "main", 3),
        CredentialBinding("acme", "openai", "second", 3),
        CredentialBinding("acme", "openai", "main", 2),
    ],
)
def test_a_swapped_row_does_not_open(other: CredentialBinding) -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    assert _code(sealed, other) == "sealed_secret_moved"
    forged = sealed[:_DIGEST] + seal(Secret("x"), other, ring("k1"))[_DIGEST:_DATA_KEY_NONCE] + sealed[_DATA_KEY_NONCE:]
    assert _code(forged, other) == "sealed_secret_wrong_key"


def test_the_inner_layer_is_bound_to_its_row_too() -> None:
    """A holder of the key ring who wraps one row's data key for another row still cannot move the secret there."""
    other = CredentialBinding("acme", "openai", "second", 1)
    mine = sealing._parse(seal(Secret(CANARY), BINDING, ring("k1")), "test")
    nonce, wrapped = sealing._wrap(sealing._unwrap(mine, BINDING, ring("k1")), other, ring("k1"))
    digest = seal(Secret("x"), other, ring("k1"))[_DIGEST:_DATA_KEY_NONCE]
    moved = dataclasses.replace(mine, binding_digest=digest, data_key_nonce=nonce, wrapped_data_key=wrapped)
    assert _code(moved.encode(), other) == "sealed_secret_tampered"


def test_every_single_flipped_bit_gives_a_documented_error() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    for position in range(len(sealed)):
        for bit in range(8):
            _code(_flip(sealed, position, 1 << bit))


def test_every_single_removed_or_doubled_byte_gives_a_documented_error() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    for position in range(len(sealed)):
        _code(sealed[:position] + sealed[position + 1 :])
        _code(sealed[:position] + sealed[position : position + 1] + sealed[position:])


def test_every_cut_is_told_as_a_cut() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    assert {_code(sealed[:length]) for length in range(len(sealed))} == {"sealed_secret_cut"}
    assert _code(sealed + b"\0") == "sealed_secret_cut"


@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_a_documented_error(data: bytes) -> None:
    for sealed in (data, b"USEC\x01" + data, b"USEC\x01\x02k1" + data):
        _code(sealed)


@pytest.mark.parametrize(
    ("position", "code"),
    [
        (0, "sealed_secret_cut"),
        (4, "sealed_secret_cut"),
        (_KEY_ID, "encryption_key_missing"),
        (_DIGEST, "sealed_secret_moved"),
        (_DATA_KEY_NONCE, "sealed_secret_wrong_key"),
        (_WRAPPED, "sealed_secret_wrong_key"),
        (_SECRET_NONCE, "sealed_secret_tampered"),
        (_LENGTH, "sealed_secret_cut"),
        (_SECRET, "sealed_secret_tampered"),
        (-1, "sealed_secret_tampered"),
    ],
)
def test_each_field_has_its_own_error(position: int, code: str) -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    assert _code(_flip(sealed, position % len(sealed))) == code


def test_an_id_rewritten_to_another_key_of_the_ring_does_not_open() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    renamed = sealed.replace(b"k1", b"k2", 1)
    assert _code(renamed, opening_ring=ring("k1", "k2")) == "sealed_secret_wrong_key"


def test_an_unknown_key_is_named() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    with pytest.raises(SealingError) as caught:
        open_sealed(sealed, BINDING, ring("k3", "k2"))
    assert caught.value.code == "encryption_key_missing"
    assert "encryption key k1" in caught.value.what
    assert "acme.openai.main version 3" in str(caught.value)


def test_another_key_under_the_same_id_is_told_as_a_wrong_key() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    assert _code(sealed, opening_ring=KeyRing.parse(entry("k1", "another"))) == "sealed_secret_wrong_key"
    with pytest.raises(SealingError) as caught:
        rewrap(sealed, BINDING, KeyRing.parse(entry("k1", "another")))
    assert caught.value.code == "sealed_secret_wrong_key"


def test_two_seals_of_one_secret_share_no_key_nonce_or_text() -> None:
    one, other = (seal(Secret(CANARY), BINDING, ring("k1")) for _ in range(2))
    for start, end in (
        (_DATA_KEY_NONCE, _WRAPPED),
        (_WRAPPED, _SECRET_NONCE),
        (_SECRET_NONCE, _LENGTH),
        (_SECRET, None),
    ):
        assert one[start:end] != other[start:end]


def test_sealed_bytes_hold_neither_the_secret_nor_the_rows_name() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    assert not any(word in sealed for word in (CANARY.encode(), b"acme", b"openai"))


def test_the_newest_key_seals_and_its_id_can_be_read_without_the_ring() -> None:
    assert key_id_of(seal(Secret(CANARY), BINDING, ring("k2", "k1"))) == "k2"
    with pytest.raises(SealingError) as caught:
        key_id_of(b"nonsense")
    assert caught.value.code == "sealed_secret_cut"


@given(secret_texts, bindings)
def test_after_a_rewrap_the_old_key_can_be_dropped(text: str, binding: CredentialBinding) -> None:
    sealed = seal(Secret(text), binding, ring("k1"))
    rewrapped = rewrap(sealed, binding, ring("k2", "k1"))
    assert key_id_of(rewrapped) == "k2"
    assert open_sealed(rewrapped, binding, ring("k2")).reveal() == text
    assert _code(rewrapped, binding, ring("k1")) == "encryption_key_missing"


def test_a_rewrap_leaves_the_inner_layer_as_it_is() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    rewrapped = rewrap(sealed, BINDING, ring("k2", "k1"))
    assert rewrapped[_SECRET_NONCE:] == sealed[_SECRET_NONCE:]
    assert rewrapped[_DATA_KEY_NONCE:_WRAPPED] != sealed[_DATA_KEY_NONCE:_WRAPPED]


def test_a_rewrap_never_sees_the_secret() -> None:
    """An altered secret passes through a rewrap, as only opening decrypts it, and is still refused afterwards."""
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    rewrapped = rewrap(_flip(sealed, _SECRET), BINDING, ring("k2", "k1"))
    assert _code(rewrapped, opening_ring=ring("k2")) == "sealed_secret_tampered"


def test_a_rewrap_under_the_same_key_changes_nothing() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k2", "k1"))
    assert rewrap(sealed, BINDING, ring("k2", "k1")) == sealed


def test_a_rewrap_refuses_a_moved_row_and_a_missing_key() -> None:
    sealed = seal(Secret(CANARY), BINDING, ring("k1"))
    for binding, new_ring, code in (
        (CredentialBinding("other", "openai", "main", 3), ring("k2", "k1"), "sealed_secret_moved"),
        (BINDING, ring("k2"), "encryption_key_missing"),
    ):
        with pytest.raises(SealingError) as caught:
            rewrap(sealed, binding, new_ring)
        assert caught.value.code == code


@given(bindings, bindings)
def test_no_two_bindings_have_the_same_encoding(one: CredentialBinding, other: CredentialBinding) -> None:
    assert (one.encode() == other.encode()) is (one == other)


@pytest.mark.parametrize(
    "parts", [("", "p", "n", 1), ("w", "", "n", 1), ("w", "p", "", 1), ("w", "p", "\ud800", 1), ("w", "p", "n", -1)]
)
def test_a_malformed_binding_is_refused(parts: tuple[str, str, str, int]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        CredentialBinding(*parts)
    assert caught.value.code == "credential_binding_malformed"


def test_format_1_stays_readable() -> None:
    """A seal made by the first release: this must open for ever."""
    sealed = bytes.fromhex(FORMAT_1)
    assert open_sealed(sealed, BINDING, ring("k2", "k1")).reveal() == CANARY


FORMAT_1 = (
    "5553454301026b3140fcfadfd76e6db254222eefb9a427d6f95e442fa0b5f73b630f36fcb1b96de0f9249ce02968e4e3e0a1"
    "db7be64426febca940772e9c719f84aa424691305149f5904c736d78e6f0084d76096a5d361f8af4ede1fcede3e09343d969"
    "e9e0f07ec5bc6dc3d854f92a00000024d857a392c75a8268ab23be92c2ea247a6393e552fb532d54e6ca85f59a0db5fc6b4e"
    "bbbf"
)
