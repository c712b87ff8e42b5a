"""The rules of scopes: which two keys answer for the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.accounts import Claim, overlap_notes, refuse_shared_secret, refuse_stated_overlap
from usage_pipeline.errors import InvalidInputError

projects = st.sets(st.sampled_from(["proj_a", "proj_b", "proj_c"])).map(lambda names: tuple(sorted(names)))
claims = st.builds(
    lambda workspace, account, scope: Claim(
        f"{workspace}.openai.x", workspace, account or f"unstated:{workspace}", account is not None, (scope,)
    ),
    st.sampled_from(["acme", "globex"]),
    st.sampled_from(["org-1", "org-2", None]),
    projects,
)


def refused(new: Claim, other: Claim) -> str:
    try:
        refuse_stated_overlap(new, [other])
    except InvalidInputError as error:
        return error.code
    return ""


@given(claims, claims)
def test_the_order_of_registration_does_not_matter(one: Claim, other: Claim) -> None:
    assert one.meets(other) == other.meets(one)
    assert refused(one, other) == refused(other, one)


@given(claims, claims)
def test_one_workspace_never_refuses_itself(one: Claim, other: Claim) -> None:
    if one.workspace == other.workspace:
        assert refused(one, other) == ""


@given(claims, claims)
def test_what_counts_twice_is_refused_and_what_does_not_is_not(one: Claim, other: Claim) -> None:
    if one.workspace == other.workspace or (one.account_known and other.account_known and one.account != other.account):
        return
    (ours,), (theirs,) = one.scopes, other.scopes
    shared = set(ours) & set(theirs)
    same_account = one.account_known and one.account == other.account
    assert refused(one, other) == ("scope_overlaps" if shared or (same_account and not (ours and theirs)) else "")


def test_a_former_scope_counts_as_well() -> None:
    moved = Claim("acme.openai.x", "acme", "org-1", True, (("proj_a",), ("proj_b",)))
    for project, code in (("proj_a", "scope_overlaps"), ("proj_b", "scope_overlaps"), ("proj_c", "")):
        assert refused(Claim("globex.openai.x", "globex", "org-1", True, ((project,),)), moved) == code


def test_a_shared_secret_with_only_one_stated_account_is_unclear() -> None:
    stated = Claim("acme.openai.a", "acme", "org-1", True, ((),))
    unstated = Claim("acme.openai.b", "acme", "unstated:acme", False, ((),))
    with pytest.raises(InvalidInputError, match="account_unclear") as caught:
        refuse_shared_secret(stated, [unstated])
    assert "without --organization" in caught.value.remedy
    with pytest.raises(InvalidInputError, match="account_unclear"):
        refuse_shared_secret(unstated, [stated])


def test_notes_tell_the_remedy_and_the_overlap() -> None:
    first = Claim("acme.openai.a", "acme", "unstated:acme", False, ((),))
    second = Claim("acme.openai.b", "acme", "unstated:acme", False, ((),))
    stated = Claim("acme.openai.c", "acme", "org-1", True, ((),))
    assert overlap_notes(stated, []) == ()
    one_account, overlap = overlap_notes(second, [first])
    assert "--organization" in one_account
    assert "acme.openai.a" in overlap
    assert "only some keys" in overlap_notes(stated, [first])[0]
