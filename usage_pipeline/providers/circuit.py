"""The circuit breaker: after many failures in a row, a provider is left alone for a while.

Comes in: each attempt's outcome, and seconds of a monotonic clock. Goes out: whether to ask at all.
"""

from __future__ import annotations

from collections.abc import Callable


class Circuit:
    """Opens after ``failures_max`` failures in a row, for ``cooldown_s`` seconds; then one attempt decides again.

    Only a provider that is down counts as a failure: a refusal or a 429 comes from one that works.
    """

    def __init__(self, failures_max: int, cooldown_s: float, monotonic: Callable[[], float]) -> None:
        self._failures_max = failures_max
        self._cooldown_s = cooldown_s
        self._monotonic = monotonic
        self._failures = 0
        self._open_until: float | None = None

    @property
    def failures(self) -> int:
        """Failures in a row so far."""
        return self._failures

    @property
    def is_open(self) -> bool:
        """Whether nothing may be asked now."""
        return self._open_until is not None and self._monotonic() < self._open_until

    def failed(self) -> None:
        """One more failure; opens the circuit at the limit, and again at each failure after a cool-down."""
        self._failures += 1
        if self._failures >= self._failures_max:
            self._open_until = self._monotonic() + self._cooldown_s

    def worked(self) -> None:
        """The provider answered: the count begins anew."""
        self._failures = 0
        self._open_until = None
