"""The search that finds no canary would find one: in a column of any kind, packed, encoded or cut, and in Dagster's."""

from __future__ import annotations

import base64

import dagster as dg
import zstandard

from usage_pipeline.ledger.server import connect_engine
from usage_pipeline_tests.end_to_end.canaries import Canaries


def test_a_canary_is_found_wherever_it_is_put(migrated_database: str) -> None:
    secret = "zqplanted-quiet-canary-of-the-test"
    planted = Canaries({"planted": secret})
    packed = zstandard.compress(f'{{"echo": "{secret}"}}'.encode())
    engine = connect_engine(migrated_database)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE canary_text (a text)",
            "CREATE TABLE canary_json (a jsonb)",
            "CREATE TABLE canary_bytes (a bytea)",
            "CREATE TABLE canary_packed (a bytea)",
        ):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("INSERT INTO canary_text VALUES (%s)", (f"said {secret[:9]}",))
        connection.exec_driver_sql("INSERT INTO canary_json VALUES (jsonb_build_object('a', %s::text))", (secret,))
        connection.exec_driver_sql(
            "INSERT INTO canary_bytes VALUES (%s)", (base64.b64encode(b"x" * 3 + secret.encode()),)
        )
        connection.exec_driver_sql("INSERT INTO canary_packed VALUES (%s)", (packed,))
    planted.look_at_database(engine)
    engine.dispose()
    assert {found.partition(".")[0] for found in planted.found} == {
        f"planted in table: canary_{of}" for of in ("bytes", "json", "packed", "text")
    }

    @dg.op
    def says() -> None:
        raise ValueError(secret)

    @dg.job(tags={"of": secret})
    def telling() -> None:
        says()

    planted.found.clear()
    with dg.DagsterInstance.ephemeral() as instance:
        telling.execute_in_process(instance=instance, raise_on_error=False)
        planted.look_at_instance(instance)
    assert any("in event: " in found for found in planted.found)
    assert any("in run: " in found for found in planted.found)
