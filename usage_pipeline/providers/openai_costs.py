"""OpenAI's costs: the lines of one UTC day's bill, in exact US dollars.

In come a day's raw results, out go billed lines. ``amount.value`` is US dollars, a JSON number or a string of up to 39
decimals. What a line item's text says is read in ``openai_line_items``.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from usage_pipeline.providers.contract import BilledLine, Drift
from usage_pipeline.providers.openai_line_items import read_line_item
from usage_pipeline.providers.rows import RowReader, broken, exact_amount, note_total_off


class _Amount(msgspec.Struct, gc=False):
    value: Decimal | None = None
    currency: str | None = None


class _StrictAmount(_Amount, gc=False, forbid_unknown_fields=True):
    pass


class _Cost(msgspec.Struct, gc=False):
    amount: _Amount | None = None
    line_item: str | None = None
    quantity: Decimal | None = None
    quantity_unit: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    api_source: str | None = None
    object: msgspec.Raw = msgspec.Raw()
    organization_id: msgspec.Raw = msgspec.Raw()
    organization_name: msgspec.Raw = msgspec.Raw()
    project_name: msgspec.Raw = msgspec.Raw()
    user_email: msgspec.Raw = msgspec.Raw()


class _StrictCost(_Cost, gc=False, forbid_unknown_fields=True):
    amount: _StrictAmount | None = None


_COSTS: Final = RowReader[_Cost](_StrictCost, _Cost, nested={"amount": _Amount})


def cost_lines(results: msgspec.Raw, asked: tuple[str, ...], drift: Drift, where: str) -> Iterator[BilledLine]:
    """Billed lines of one UTC day. Raises ``ContractBrokenError``: those of ``RowReader.read``, ``amount_unreadable``,
    ``currency_unknown``."""
    for row in _COSTS.read(results, drift, where):
        line = read_line_item(row.line_item) if row.line_item else None
        told = {
            "project_id": row.project_id or None,
            "label": row.line_item or None,
            "api_key_id": row.api_key_id or None,
            "user_id": row.user_id or None,
        }
        drift.answered_dimensions.update(name for name in asked if told[name] is not None)
        yield BilledLine(
            amount_usd=_amount_usd(row.amount, drift, where),
            label=told["label"],
            model=line.model if line else None,
            cost_type="tokens" if line and line.token_type else None,
            token_type=line.token_type if line else None,
            project_id=told["project_id"],
            user_id=told["user_id"],
            api_key_id=told["api_key_id"],
            service_tier=line.service_tier if line else None,
            context_window=None,
            inference_geo=None,
            quantity=row.quantity,
            quantity_unit=row.quantity_unit or None,
        )


def _amount_usd(amount: _Amount | None, drift: Drift, where: str) -> Decimal:
    """The line's dollars. A line without a value is documented as possible: it is kept as 0 and counted in
    ``drift.totals_off["amount.value"]``, so that a finding tells that the day's bill is not complete."""
    if amount is None or amount.value is None:
        note_total_off(drift, "amount.value")
        return Decimal(0)
    value = exact_amount(amount.value, where)
    if value and (amount.currency or "").lower() != "usd":
        raise broken("currency_unknown", "an amount is not in US dollars", where)
    return value
