"""Where the service's database work runs: a few threads, and a bound on how many bodies are held at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, ParamSpec, TypeVar

from usage_pipeline.service.answers import RETRY_SECONDS, RefusedRequestError

THREADS: Final = 4
"""Of each pool. There is one for senders and one for readers; each thread has one connection open at a time."""

BODIES_MAX: Final = 32

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs blocking work beside the event loop. ``one_large_body`` is held while a large payload is decoded."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="service")
        self._bodies = 0
        self.one_large_body = asyncio.Lock()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``work``; it goes on to its end also where nobody waits for it any longer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))

    @asynccontextmanager
    async def body_slot(self) -> AsyncIterator[None]:
        """The right to hold a body. Raises :class:`RefusedRequestError` 503 where too many are held."""
        if self._bodies >= BODIES_MAX:
            raise RefusedRequestError(
                503,
                "service_busy",
                "Too many batches arrive at once. Send it again.",
                retry_after=RETRY_SECONDS,
                unread=True,
            )
        self._bodies += 1
        try:
            yield
        finally:
            self._bodies -= 1

    def close(self) -> None:
        """Let the running work end."""
        self._pool.shutdown(wait=True)
