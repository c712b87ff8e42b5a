"""The description of the service: the answers' models, the request bodies' schemas, and an example of each payload.

Belongs here: what OpenAPI cannot learn from the routes. The published schema of payload v3 is the file beside its
parser (``hermes/payload_v3.schema.json``); here it is put among the components of the description.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]

V3_SCHEMA_TEXT: Final = files("usage_pipeline.hermes").joinpath("payload_v3.schema.json").read_text(encoding="utf-8")
"""The published JSON Schema of payload v3, as it is served."""

_V3_COMPONENT: Final = "HermesPayloadV3"


class Accepted(BaseModel):
    """A batch that is stored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rowsWritten": 42,
                    "sourceLabel": "hermes on build-7",
                    "syncedAt": "2025-11-20T08:15:02.000Z",
                    "batchId": 17,
                    "duplicate": False,
                    "changedDays": ["2025-11-19", "2025-11-20"],
                    "findings": [],
                }
            ]
        }
    )
    rowsWritten: int = Field(description="Rows that the batch holds; the same for a repeat, 0 for a heartbeat.")  # noqa: N815 - the plugin's own words
    sourceLabel: str = Field(description="The batch's own label of its sender.")  # noqa: N815
    syncedAt: str = Field(description="When this request's batch was received, UTC.")  # noqa: N815
    batchId: int = Field(description="The batch in the inbox.")  # noqa: N815
    duplicate: bool = Field(description="True where the same batch was there already: nothing was written.")
    changedDays: list[str] = Field(description="UTC days for which this batch is now the newest word.")  # noqa: N815
    findings: list[str] = Field(description="Codes of what is odd about the batch, though it was accepted.")


class Refused(BaseModel):
    """A request that was not served."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": "rollups[3].inputTokens: must not be negative. Nothing of the payload was used.",
                    "code": "payload_contract",
                    "field": "rollups[3].inputTokens",
                }
            ]
        }
    )
    error: str = Field(description="What was wrong, for people.")
    code: str = Field(description="The same, for programs; it does not change between releases.")
    field: str | None = Field(default=None, description="The offending field, where one is to blame.")


class CronRun(BaseModel):
    """A run that pulls days of a key."""

    key: str = Field(description="The key's slug.")
    runId: str = Field(description="The run's id in Dagster.")  # noqa: N815
    firstDay: str = Field(description="The first UTC day.")  # noqa: N815
    lastDay: str = Field(description="The last UTC day.")  # noqa: N815


class SkippedKey(BaseModel):
    """A key that is not asked."""

    key: str
    reason: str


class CronStarted(BaseModel):
    """The runs that wait or run now."""

    started: bool = Field(description="False where they are an earlier call's, or no key may be asked.")
    runs: list[CronRun]
    skipped: list[SkippedKey]


class State(BaseModel):
    """Whether the service lives, or is ready."""

    status: str


def describe(status: int, words: str) -> dict[int | str, Json]:
    """The entry of a refusal in a route's ``responses``."""
    return {status: {"model": Refused, "description": words}}


REFUSALS: Final[dict[int | str, Json]] = {
    **describe(400, "The payload breaks the contract; it is kept for the operator, and nothing of it is used."),
    **describe(401, "The token is missing, unknown or revoked."),
    **describe(403, "The feed is disabled."),
    **describe(408, "The body did not arrive in time."),
    **describe(413, "The payload is too large, unpacked."),
    **describe(415, "A content encoding other than gzip."),
    **describe(429, "The feed sends more batches than it may."),
    **describe(503, "No feed has a token, or the store cannot be used now."),
}

CRON_RESPONSES: Final[dict[int | str, Json]] = {
    202: {"model": CronStarted, "description": "Runs were started."},
    200: {"model": CronStarted, "description": "Nothing was started: runs are under way, or no key may be asked."},
    **describe(400, "days is no number from 0 to 366, or is said twice."),
    **describe(401, "The token is missing or wrong."),
    **describe(408, "The body did not arrive in time."),
    **describe(413, "The body is too large."),
    **describe(415, "The body has a content encoding."),
    **describe(503, "CRON_SECRET is not set, or the store or Dagster's instance cannot be used now."),
}

METRICS_RESPONSES: Final[dict[int | str, Json]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format."},
    **describe(401, "The token is missing or wrong."),
    **describe(403, "USAGE_METRICS_TOKEN is not set, and others than this machine can reach the service."),
    **describe(503, "The store cannot be used now."),
}

METRICS_EXTRA: Final[Json] = {"security": [{"metricsToken": []}, {}]}

_DAYS: Final[Json] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 366,
    "description": "Closed days beside the open one. Left out, as many as the look-back takes.",
}

CRON_EXTRA: Final[Json] = {
    "security": [{"cronSecret": []}],
    "parameters": [{"name": "days", "in": "query", "required": False, "schema": _DAYS}],
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"days": _DAYS}, "additionalProperties": False}
            }
        },
    },
}

INGEST_EXTRA: Final[Json] = {
    "security": [{"feedToken": []}],
    "requestBody": {
        "required": True,
        "description": "One batch. May be gzipped (Content-Encoding: gzip); limits hold for the unpacked size.",
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/HermesPayloadV2"},
                        {"$ref": f"#/components/schemas/{_V3_COMPONENT}"},
                    ]
                },
                "examples": {
                    "heartbeat": {
                        "summary": "A heartbeat of the plugin in use: nothing new, still alive",
                        "value": {
                            "schemaVersion": 2,
                            "environment": "production",
                            "generatedAt": "2025-11-20T08:15:00Z",
                            "sourceLabel": "hermes on build-7",
                            "workspace": {"slug": "hermes-usage", "name": "Hermes Usage", "provider": "Hermes"},
                            "rollups": [],
                            "repositoryRollups": [],
                        },
                    },
                    "v3": {
                        "summary": "A day of this project's plugin",
                        "value": json.loads(V3_SCHEMA_TEXT)["examples"][0],
                    },
                },
            }
        },
    },
}

_COUNT: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_COST: Final[Json] = {"type": "number", "minimum": 0, "exclusiveMaximum": 10**12}
_TEXT: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 500}
_USAGE_DATE: Final[Json] = {
    "type": "string",
    "description": "A UTC day, or the start of a UTC hour.",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:00:00Z)?$",
    "examples": ["2025-11-19", "2025-11-19T07:00:00Z"],
}


def _object(required: str, properties: Json) -> Json:
    return {"type": "object", "required": required.split(), "properties": properties}


def _v2_components() -> Json:
    """Payloads v1 and v2 as far as a schema can say it; that parts add up to their totals is checked beyond."""
    counts = dict.fromkeys(("requests", "inputTokens", "outputTokens", "reasoningTokens"), _COUNT)
    null_cost: Json = {"anyOf": [_COST, {"type": "null"}]}
    model = _object(
        "model requests",
        {
            "model": _TEXT,
            "provider": {"type": "string", "maxLength": 500},
            **counts,
            "tokens": _COUNT,
            "cacheReadTokens": _COUNT,
            "cacheWriteTokens": _COUNT,
            "estimatedCostUsd": null_cost,
            "actualCostUsd": null_cost,
        },
    )
    bucket = _object(
        "usageDate requests inputTokens outputTokens models",
        {
            "usageDate": _USAGE_DATE,
            **counts,
            "totalTokens": _COUNT,
            "cachedTokens": _COUNT,
            "estimatedCostUsd": null_cost,
            "actualCostUsd": null_cost,
            "models": {"type": "array", "items": model},
        },
    )
    share = _object(
        "usageDate repository attributionStatus requests totalTokens inputTokens outputTokens cachedTokens"
        " reasoningTokens estimatedCostUsd models",
        {
            "usageDate": _USAGE_DATE,
            "repository": _object("key name", {"key": _TEXT, "name": _TEXT}),
            "attributionStatus": {"enum": ["exact", "cwd-derived", "unknown"]},
            **counts,
            "totalTokens": _COUNT,
            "cachedTokens": _COUNT,
            "estimatedCostUsd": _COST,
            "models": {
                "type": "array",
                "items": _object(
                    "model requests tokens estimatedCostUsd",
                    {"model": _TEXT, "requests": _COUNT, "tokens": _COUNT, "estimatedCostUsd": _COST},
                ),
            },
        },
    )
    payload = _object(
        "environment generatedAt sourceLabel workspace rollups",
        {
            "schemaVersion": {"enum": [1, 2], "description": "Absent in the plugin's first builds."},
            "environment": _TEXT,
            "generatedAt": {"type": "string", "format": "date-time", "description": "UTC, written with Z."},
            "sourceLabel": {"type": "string", "maxLength": 500},
            "workspace": _object(
                "slug name",
                {"slug": _TEXT, "name": {"type": "string", "maxLength": 500}, "provider": {"type": "string"}},
            ),
            "rollups": {"type": "array", "items": {"$ref": "#/components/schemas/HermesBucketV2"}},
            "repositoryRollups": {
                "type": "array",
                "description": "With schemaVersion 2, and only with it.",
                "items": {"$ref": "#/components/schemas/HermesRepositoryV2"},
            },
        },
    )
    return {"HermesPayloadV2": payload, "HermesBucketV2": bucket, "HermesRepositoryV2": share}


def _v3_components() -> Json:
    """The published schema with its definitions as components of their own, since references start at the root."""
    moved = V3_SCHEMA_TEXT.replace('"#/$defs/', f'"#/components/schemas/{_V3_COMPONENT}_')
    schema = json.loads(moved)
    definitions = schema.pop("$defs")
    del schema["$schema"]
    return {_V3_COMPONENT: schema, **{f"{_V3_COMPONENT}_{name}": value for name, value in definitions.items()}}


def completed(described: Json) -> Json:
    """The description with the payloads' schemas and the token's scheme among its components."""
    components = described.setdefault("components", {})
    components.setdefault("schemas", {}).update(_v2_components() | _v3_components())
    components["securitySchemes"] = {
        "feedToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of one Hermes feed, as usage-pipeline hermes add-feed prints it once.",
        },
        "metricsToken": {"type": "http", "scheme": "bearer", "description": "The operator's USAGE_METRICS_TOKEN."},
        "cronSecret": {"type": "http", "scheme": "bearer", "description": "The operator's CRON_SECRET."},
    }
    return described
