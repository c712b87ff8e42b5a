"""How a charge reads in FOCUS: providers, services, meters, prices and units, accounts and tags, and our own columns.

In: a charge with its key and its cell. Out: the values of a row by the column's name, for every version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.exports.billing_periods import BillingPeriod
from usage_pipeline.exports.focus_charges import Charge, ChargeKey, DayCharges, pricing_unit
from usage_pipeline.exports.parts import PRICE_DIMENSIONS
from usage_pipeline.hermes.routes import UNKNOWN
from usage_pipeline.ledger.dimension_names import names_by_id
from usage_pipeline.ledger.export_rows import accounts_of
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.providers.registry import providers
from usage_pipeline.reconcile.cells import biller_of
from usage_pipeline.utc_days import day_end, day_start

SERVICE_CATEGORY: Final = "AI and Machine Learning"
SERVICE_SUBCATEGORY: Final = "Generative AI"
CORRECTION: Final = "Correction"

_METERS: Final = {
    "uncached_input": "Input Tokens",
    "cache_read": "Cached Input Tokens",
    "cache_write_5m": "Cache Write Tokens, 5 Minutes",
    "cache_write_30m": "Cache Write Tokens, 30 Minutes",
    "cache_write_1h": "Cache Write Tokens, 1 Hour",
    "cache_write_12h": "Cache Write Tokens, 12 Hours",
    "cache_write_unsplit": "Cache Write Tokens",
    "output": "Output Tokens",
}
_TAX: Final = re.compile(r"\b(?:tax|vat|gst)\b", re.IGNORECASE)
_ZERO: Final = Decimal(0)
_HOUR: Final = timedelta(hours=1)


class FocusWords:
    """Charges in FOCUS' words. Accounts and names are asked for once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._titles = {one.name: one.title for one in providers()}
        self._accounts: dict[str, Mapping[str, frozenset[str]]] = {}
        self._names: dict[tuple[str, str, str], Mapping[str, str]] = {}

    def row(
        self, key: ChargeKey, charge: Charge, of: DayCharges, period: BillingPeriod, *, is_correction: bool
    ) -> dict[str, Any]:
        """The values of a row by the column's name, for every version."""
        place, told = key.place, key.dimensions
        biller = biller_of(place.provider, place.route)
        provider = self._title(biller)
        account = told["account"] or self._account(place.workspace, biller)
        start, end = (key.hour, key.hour + _HOUR) if key.hour else (day_start(place.day), day_end(place.day))
        publisher = self._title(place.provider) if place.provider != UNKNOWN else provider
        return {
            **self._costs(key, charge),
            **self._what(key, provider, charge),
            **self._who(told, biller, account),
            **_ours(key, of),
            "x_EffectiveCostKnown": charge.effective_usd is not None,
            "x_BilledCostKnown": charge.billed_usd is not None,
            "BillingAccountId": account,
            "BillingAccountType": "Organization",
            "BillingCurrency": "USD",
            "BillingPeriodStart": period.start,
            "BillingPeriodEnd": period.end,
            "ChargeClass": CORRECTION if is_correction else None,
            "ChargePeriodStart": start,
            "ChargePeriodEnd": end,
            "HostProviderName": provider,
            "InvoiceIssuerName": provider,
            "ProviderName": provider,
            "PublisherName": publisher,
            "ServiceCategory": SERVICE_CATEGORY,
            "ServiceName": f"{provider} API",
            "ServiceProviderName": provider,
            "ServiceSubcategory": SERVICE_SUBCATEGORY,
        }

    def _costs(self, key: ChargeKey, charge: Charge) -> dict[str, Any]:
        """Costs and quantities. No cost may be null in FOCUS: what nobody knows is 0, and said in columns of ours."""
        billed = charge.billed_usd or _ZERO
        values: dict[str, Any] = {"BilledCost": billed, "EffectiveCost": charge.effective_usd or _ZERO}
        if key.measure is None or charge.quantity is None:
            return {**values, "ListCost": billed, "ContractedCost": billed}
        unit = pricing_unit(key.measure)
        word = "Tokens" if key.measure in TOKEN_CLASSES else key.measure.replace("_", " ").title()
        with exact_arithmetic():
            priced = Decimal(charge.quantity) / unit
            listed = charge.list_price * priced if charge.list_price is not None else billed
            contracted = charge.contracted_price * priced if charge.contracted_price is not None else billed
        return {
            **values,
            "ConsumedQuantity": Decimal(charge.quantity),
            "ConsumedUnit": word,
            "ContractedCost": contracted,
            "ContractedUnitPrice": charge.contracted_price,
            "ListCost": listed,
            "ListUnitPrice": charge.list_price,
            "PricingCategory": "Standard",
            "PricingQuantity": priced,
            "PricingUnit": word if unit == 1 else f"{unit} {word}",
        }

    def _what(self, key: ChargeKey, provider: str, charge: Charge) -> dict[str, Any]:
        """What kind of charge it is, and of which product."""
        place, told = key.place, key.dimensions
        model = told["reported_model"] or place.model or place.family
        if key.measure is None:
            amount = charge.billed_usd or charge.effective_usd or _ZERO
            category = "Tax" if _TAX.search(model) else "Credit" if amount < 0 else "Adjustment"
            return {
                "ChargeCategory": category,
                "ChargeDescription": f"{provider}: {model}",
                "ChargeFrequency": "One-Time",
            }
        meter = _METERS.get(key.measure, key.measure.replace("_", " ").title())
        variant = PriceVariant(*(told[name] for name in PRICE_DIMENSIONS))
        sku = f"{place.provider}/{model}/{key.measure}"
        selected = {"x_Model": model, "x_Measure": key.measure, "x_Variant": variant.text}
        return {
            "ChargeCategory": "Usage",
            "ChargeDescription": f"{provider}: {model}, {meter}",
            "ChargeFrequency": "Usage-Based",
            "SkuId": sku,
            "SkuMeter": meter,
            "SkuPriceDetails": _json(selected),
            "SkuPriceId": f"{sku}/{variant.text}",
        }

    def _who(self, told: Mapping[str, str | None], biller: str, account: str) -> dict[str, Any]:
        """Project, key, place and tags."""
        project, key, region = told["project"], told["api_key"], told["inference_geo"]
        names = {name: self._called(biller, account, name) for name in ("project_id", "api_key_id")}
        tags = {
            "workspace": told["workspace"],
            "feed": told["feed"],
            "user_id": told["user"],
            "service_account_id": told["service_account"],
        }
        return {
            "RegionId": region,
            "RegionName": region,
            "ResourceId": key,
            "ResourceName": names["api_key_id"].get(key) if key else None,
            "ResourceType": "API Key" if key else None,
            "SubAccountId": project,
            "SubAccountName": names["project_id"].get(project, project) if project else None,
            "SubAccountType": "Project" if project else None,
            "Tags": _json({name: value for name, value in tags.items() if value is not None}),
        }

    def _title(self, provider: str) -> str:
        return self._titles.get(provider, provider)

    def _account(self, workspace: str, biller: str) -> str:
        """The only account that the workspace has a key of, else a name of the workspace's own for it."""
        if workspace not in self._accounts:
            self._accounts[workspace] = accounts_of(self._connection, workspace)
        found = self._accounts[workspace].get(biller, frozenset())
        return next(iter(found)) if len(found) == 1 else f"{workspace}.{biller}"

    def _called(self, provider: str, account: str, dimension: str) -> Mapping[str, str]:
        place = provider, account, dimension
        if place not in self._names:
            self._names[place] = names_by_id(self._connection, *place)
        return self._names[place]


def _ours(key: ChargeKey, of: DayCharges) -> dict[str, Any]:
    place, told, cell = key.place, key.dimensions, of.cells.get(key.place)
    return {
        "x_Workspace": place.workspace,
        "x_Feed": told["feed"],
        "x_Source": told["source"],
        "x_Decision": cell.row.decision if cell else None,
        "x_CostBasis": cell.row.costs["counted"].basis if cell else None,
        "x_ModelVendor": place.provider,
        "x_Model": place.model or None,
        "x_ReportedModel": told["reported_model"],
        "x_Family": place.family,
        "x_Route": place.route,
        "x_TokenClass": key.measure,
        "x_UserId": told["user"],
        "x_ServiceAccountId": told["service_account"],
        "x_ServiceTier": told["service_tier"],
        "x_Batch": told["batch"],
        "x_ContextWindow": told["context_window"],
        "x_Speed": told["speed"],
        "x_UpstreamProvider": told["upstream"],
        "x_PriceVersion": cell.row.costs["computed"].version if cell else None,
        "x_CostCenter": told["cost_center"],
        "x_Team": told["team"],
    }


def _json(value: Mapping[str, str | None]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
