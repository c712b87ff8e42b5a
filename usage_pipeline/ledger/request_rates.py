"""The token bucket of a provider account's request rate, shared by every process through one row.

A request takes a token or learns how long to wait; the database's clock fills the bucket, so that machines whose
clocks differ share one rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from sqlalchemy import Engine, text

from usage_pipeline.errors import InvalidInputError

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_TAKE = text(
    "INSERT INTO request_rates AS r (provider, account, tokens, filled_at)"
    " VALUES (:provider, :account, :burst - 1, clock_timestamp())"
    " ON CONFLICT (provider, account) DO UPDATE SET"
    " tokens = least(:burst, r.tokens + extract(epoch FROM clock_timestamp() - r.filled_at) * :per_second) - 1,"
    " filled_at = clock_timestamp() RETURNING tokens"
)


class SharedRate:
    """Takes a token before each request and sleeps until it is due. Unlimited where no rate is set."""

    def __init__(
        self,
        engine: Engine,
        provider: str,
        account: str,
        *,
        requests_per_minute: int | None,
        burst: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._key = {"provider": provider, "account": account}
        self._per_minute = requests_per_minute
        self._burst = burst
        self._sleep = sleep

    @classmethod
    def of_key(
        cls, engine: Engine, provider: str, account: str, base_url: str, environ: Mapping[str, str]
    ) -> SharedRate:
        """The rate of an account: ``<PROVIDER>_ADMIN_REQUESTS_PER_MINUTE`` and ``<PROVIDER>_ADMIN_MAX_BURST``.

        By default 60 and 20; 0 is no limit, the default for a server on this machine (the sandbox). Raises
        :class:`InvalidInputError` ``setting_malformed``.
        """
        prefix = provider.upper().replace("-", "_")
        is_here = (urlsplit(base_url).hostname or "") in _LOOPBACK
        per_minute = _whole(environ, f"{prefix}_ADMIN_REQUESTS_PER_MINUTE", 0 if is_here else 60)
        burst = _whole(environ, f"{prefix}_ADMIN_MAX_BURST", 20)
        return cls(engine, provider, account, requests_per_minute=per_minute or None, burst=max(burst, 1))

    def wait(self) -> float:
        """Wait for a token; returns the seconds waited."""
        if self._per_minute is None:
            return 0.0
        per_second = self._per_minute / 60
        with self._engine.begin() as connection:
            tokens = float(
                connection.execute(
                    _TAKE, {**self._key, "burst": float(self._burst), "per_second": per_second}
                ).scalar_one()
            )
        due = max(0.0, -tokens / per_second)
        if due:
            self._sleep(due)
        return due


def _whole(environ: Mapping[str, str], variable: str, default: int) -> int:
    stated = environ.get(variable, "").strip()
    if not stated:
        return default
    if not stated.isdecimal():
        raise InvalidInputError(
            "setting_malformed",
            "the value is not a whole number that is not negative",
            where=variable,
            remedy="Correct or unset the variable; 0 is no limit.",
        )
    return int(stated)
