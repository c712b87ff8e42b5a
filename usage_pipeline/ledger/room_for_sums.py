"""Memory for the database's large sums: a day of a million events by model and price variant.

75,000 groups of 25 sums take 180 MB. With less memory than that the database sorts them out on its disk and takes twice
as long; what is not needed is not taken.
"""

from __future__ import annotations

from sqlalchemy import Connection, text


def give_room_for_sums(connection: Connection) -> None:
    """Until the transaction ends, let a statement use up to 256 MB before it goes to the disk."""
    connection.execute(text("SET LOCAL work_mem = '256MB'"))
