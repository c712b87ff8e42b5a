"""What a test of a key found, as a person or a script reads it: everything but the secret."""

from __future__ import annotations

from datetime import timedelta

from usage_pipeline.cli.key_view import account_in_words
from usage_pipeline.key_probe import KeyProbe
from usage_pipeline.ledger.last_pulls import LastPull


def lines_of(probe: KeyProbe) -> list[tuple[str, str]]:
    """The findings as pairs of a word and its value, the verdict first."""
    key = probe.key
    return [
        ("result", _verdict(probe)),
        ("account", _account(probe)),
        ("base URL", key.base_url),
        ("secret", _secret(probe)),
        ("pulled", "yes" if probe.skipped is None else f"no: {probe.skipped}"),
        *(("refused", f"{endpoint}: {said}; it is asked for less since") for endpoint, said in probe.limits),
        *(("last pull", _pull(pull)) for pull in probe.pulls),
        *([] if probe.pulls else [("last pull", "none yet; next: usage-pipeline backfill --from DAY --to DAY")]),
    ]


def as_json(probe: KeyProbe) -> dict[str, object]:
    """The findings as a JSON object."""
    key, error = probe.key, probe.error
    return {
        "slug": key.slug,
        "works": probe.works,
        "error": None if error is None else {"code": error.code, "what": error.what, "remedy": error.remedy},
        "endpoint": probe.endpoint,
        "account": key.account,
        "account_known": key.account_known,
        "account_answered": probe.account_answered,
        "base_url": key.base_url,
        "secret": key.secret_reference or "sealed",
        "secret_opens": probe.secret_opens,
        "pulled": probe.skipped is None,
        "not_pulled_because": probe.skipped,
        "learned_limits": [{"endpoint": endpoint, "said": said} for endpoint, said in probe.limits],
        "last_pulls": [
            {
                "endpoint": pull.endpoint,
                "started_at": pull.started_at.isoformat(),
                "from": pull.first_day.isoformat(),
                "to": (pull.end_day - timedelta(days=1)).isoformat(),
                "rows": pull.rows,
                "complete": pull.error is None,
                "error": pull.error,
            }
            for pull in probe.pulls
        ],
        "notes": list(probe.notes),
    }


def _verdict(probe: KeyProbe) -> str:
    if probe.error is not None:
        remedy = f" {probe.error.remedy}" if probe.error.remedy else ""
        return f"The key does not work: {probe.error.what.rstrip('.')}.{remedy}"
    whose = f" of {probe.account_answered}" if probe.account_answered else ""
    return f"The key works: {probe.title} answers {probe.endpoint}{whose}."


def _account(probe: KeyProbe) -> str:
    if probe.account_answered and probe.key.account_known == "assumed":
        return f"{probe.key.account} (assumed until the first pull, which takes {probe.account_answered} for it)"
    return account_in_words(probe.key)


def _secret(probe: KeyProbe) -> str:
    where = f"{probe.key.secret_reference or 'sealed'}, version {probe.key.secret_version}"
    return f"{where}, opens" if probe.secret_opens else f"{where}, was not used"


def _pull(pull: LastPull) -> str:
    last_day = pull.end_day - timedelta(days=1)
    outcome = f"complete, {pull.rows:,} rows" if pull.error is None else f"failed: {pull.error}"
    return f"{pull.endpoint}, {pull.started_at:%Y-%m-%d %H:%M} UTC, days {pull.first_day} to {last_day}: {outcome}"
