"""A person's names and e-mail addresses, as the lists of names have them: found by an id, and replaced."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, text


def ids_beside(connection: Connection, provider: str, account: str, identifier: str) -> frozenset[str]:
    """The id and e-mail addresses of the user that has ``identifier`` as its id or address; itself included. A plain
    name finds nobody: several may have it."""
    rows = connection.execute(
        text(
            "SELECT id, name, detail FROM dimension_names WHERE provider = :provider AND account = :account"
            " AND dimension = 'user_id' AND (id = :id OR position('@' IN :id) > 0 AND (lower(name) = lower(:id)"
            " OR EXISTS (SELECT 1 FROM jsonb_each_text(detail) AS d WHERE lower(d.value) = lower(:id))))"
        ),
        {"provider": provider, "account": account, "id": identifier},
    )
    found = {identifier}
    for id_, name, detail in rows:
        found |= {id_, *(told for told in (name, *detail.values()) if "@" in told)}
    return frozenset(found)


def replace_in_names(
    connection: Connection, provider: str, account: str, pseudonym_of: Callable[[str], str | None]
) -> int:
    """Replace erased ids in an account's names: an erased thing keeps neither name nor detail. The number of rows."""
    changed = 0
    key = {"provider": provider, "account": account}
    rows = connection.execute(
        text(
            "SELECT dimension, id, name, detail FROM dimension_names WHERE provider = :provider AND account = :account"
        ),
        key,
    )
    for dimension, id_, name, detail in rows.all():
        pseudonym = pseudonym_of(id_)
        after: tuple[str, str, dict[str, str]]
        if pseudonym is not None:
            after = (pseudonym, pseudonym, {})
        else:
            after = (
                id_,
                pseudonym_of(name) or name,
                {fact: pseudonym_of(told) or told for fact, told in detail.items()},
            )
        if after == (id_, name, detail):
            continue
        changed += connection.execute(
            text(
                "UPDATE dimension_names SET id = :new_id, name = :name, detail = CAST(:detail AS jsonb)"
                " WHERE provider = :provider AND account = :account AND dimension = :dimension AND id = :id"
            ),
            {
                **key,
                "dimension": dimension,
                "id": id_,
                "new_id": after[0],
                "name": after[1],
                "detail": msgspec.json.encode(after[2], order="sorted").decode(),
            },
        ).rowcount
    return changed
