"""Groups of single days that were told before, kept while what decides them stays the same.

Summing single rows costs seconds a million events, and most of a month is over and unchanged: of a question about it,
only the days that changed are summed again. A day is found by the digest of all that decides it
(:mod:`usage_pipeline.ledger.answer_state`), so what is kept is never stale; the oldest unused go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from usage_pipeline.service.usage_figures import Group

GROUPS_MAX: Final = 50_000
"""Of all kept days together: at most about a hundred megabytes."""


class DayGroups:
    """Kept groups by day and question. Threads may share it; nobody may change what it gives."""

    def __init__(self, groups_max: int = GROUPS_MAX) -> None:
        self._kept: OrderedDict[Hashable, Sequence[Group]] = OrderedDict()
        self._groups_max = groups_max
        self._groups = 0
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Sequence[Group] | None:
        """What was kept, None where nothing is."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def keep(self, key: Hashable, groups: Sequence[Group]) -> None:
        """Keep a day's groups; a day without any takes room too."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = groups
            self._groups += len(groups) + 1
            while self._groups > self._groups_max:
                _, gone = self._kept.popitem(last=False)
                self._groups -= len(gone) + 1
