"""The rules of FOCUS for the columns that we write, as data; ``focus_checker`` holds files against them.

From the requirements models of the specification (1.2 and 1.4, dataset Cost and Usage): what a column's type and format
are, when it must or must not be null, which values it may have, and how columns hang together. Rules that no program
can check in a file (what an invoice says) are left out. Where an export of ours cannot keep a rule, ``DEVIATIONS`` says
which, when and why; the checker leaves those rows out, and only those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

Cells = Mapping[str, str]
"""A row of a CSV file: texts by column, "" for null."""

Condition = Callable[[Cells], bool]


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """A column of a version. ``kind`` is ``string``, ``decimal``, ``datetime``, ``json`` or ``currency``.

    ``present`` is False where the column is conditional and may be left out. ``allowed`` empty allows every value.
    """

    name: str
    kind: str
    nullable: bool
    present: bool = True
    allowed: frozenset[str] = frozenset()
    least: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule about a row: its id in the requirements models, its words, and what must hold."""

    rule: str
    words: str
    holds: Condition
    versions: tuple[str, ...] = ("1.2", "1.4")


@dataclass(frozen=True, slots=True)
class Deviation:
    """A rule that rows for which ``when`` holds do not keep, and why they cannot."""

    rule: str
    why: str
    when: Condition


def _category(*names: str) -> Condition:
    return lambda row: row["ChargeCategory"] in names


_USED: Final = _category("Usage", "Purchase")


def _is_correction(row: Cells) -> bool:
    return row["ChargeClass"] == "Correction"


def _null(name: str) -> Condition:
    return lambda row: not row[name]


def _implies(when: Condition, then: Condition) -> Condition:
    return lambda row: not when(row) or then(row)


def _product(price: str, cost: str) -> Condition:
    def holds(row: Cells) -> bool:
        if not row[price] or not row["PricingQuantity"] or (_is_correction(row) and not row[cost]):
            return True
        return Decimal(row[price]) * Decimal(row["PricingQuantity"]) == Decimal(row[cost])

    return holds


def _not_null_when_used(name: str) -> Condition:
    return _implies(lambda row: _USED(row) and not _is_correction(row), lambda row: bool(row[name]))


_TAX: Final = _category("Tax")
_CATEGORIES: Final = frozenset({"Usage", "Purchase", "Tax", "Credit", "Adjustment"})
_SERVICES: Final = frozenset(
    {
        "AI and Machine Learning",
        "Analytics",
        "Business Applications",
        "Compute",
        "Databases",
        "Developer Tools",
        "Multicloud",
        "Identity",
        "Integration",
        "Internet of Things",
        "Management and Governance",
        "Media",
        "Migration",
        "Mobile",
        "Networking",
        "Security",
        "Storage",
        "Web",
        "Other",
    }
)
_AI_SUBCATEGORIES: Final = frozenset(
    {
        "AI Platforms",
        "Bots",
        "Generative AI",
        "Machine Learning",
        "Natural Language Processing",
        "Other (AI and Machine Learning)",
    }
)

_BOTH: Final = (
    ColumnRule("BilledCost", "decimal", nullable=False),
    ColumnRule("BillingAccountId", "string", nullable=False),
    ColumnRule("BillingAccountName", "string", nullable=True),
    ColumnRule("BillingAccountType", "string", nullable=False, present=False),
    ColumnRule("BillingCurrency", "currency", nullable=False),
    ColumnRule("BillingPeriodEnd", "datetime", nullable=False),
    ColumnRule("BillingPeriodStart", "datetime", nullable=False),
    ColumnRule("ChargeCategory", "string", nullable=False, allowed=_CATEGORIES),
    ColumnRule("ChargeClass", "string", nullable=True, allowed=frozenset({"Correction"})),
    ColumnRule("ChargeDescription", "string", nullable=True),
    ColumnRule(
        "ChargeFrequency",
        "string",
        nullable=False,
        present=False,
        allowed=frozenset({"One-Time", "Recurring", "Usage-Based"}),
    ),
    ColumnRule("ChargePeriodEnd", "datetime", nullable=False),
    ColumnRule("ChargePeriodStart", "datetime", nullable=False),
    ColumnRule("ConsumedQuantity", "decimal", nullable=True, present=False),
    ColumnRule("ConsumedUnit", "string", nullable=True, present=False),
    ColumnRule("ContractedCost", "decimal", nullable=False),
    ColumnRule("ContractedUnitPrice", "decimal", nullable=True, present=False, least=Decimal(0)),
    ColumnRule("EffectiveCost", "decimal", nullable=False),
    ColumnRule("InvoiceIssuerName", "string", nullable=False),
    ColumnRule("ListCost", "decimal", nullable=False),
    ColumnRule("ListUnitPrice", "decimal", nullable=True, present=False, least=Decimal(0)),
    ColumnRule(
        "PricingCategory",
        "string",
        nullable=True,
        present=False,
        allowed=frozenset({"Standard", "Committed", "Dynamic", "Other"}),
    ),
    ColumnRule("PricingQuantity", "decimal", nullable=True),
    ColumnRule("PricingUnit", "string", nullable=True),
    ColumnRule("RegionId", "string", nullable=True, present=False),
    ColumnRule("RegionName", "string", nullable=True, present=False),
    ColumnRule("ResourceId", "string", nullable=True, present=False),
    ColumnRule("ResourceName", "string", nullable=True, present=False),
    ColumnRule("ResourceType", "string", nullable=True, present=False),
    ColumnRule("ServiceCategory", "string", nullable=False, allowed=_SERVICES),
    ColumnRule("ServiceName", "string", nullable=False),
    ColumnRule("ServiceSubcategory", "string", nullable=False, present=False, allowed=_AI_SUBCATEGORIES),
    ColumnRule("SkuId", "string", nullable=True, present=False),
    ColumnRule("SkuMeter", "string", nullable=True, present=False),
    ColumnRule("SkuPriceDetails", "json", nullable=True, present=False),
    ColumnRule("SkuPriceId", "string", nullable=True, present=False),
    ColumnRule("SubAccountId", "string", nullable=True, present=False),
    ColumnRule("SubAccountName", "string", nullable=True, present=False),
    ColumnRule("SubAccountType", "string", nullable=True, present=False),
    ColumnRule("Tags", "json", nullable=True, present=False),
)
COLUMN_RULES: Final = {
    "1.2": (
        *_BOTH,
        ColumnRule("InvoiceId", "string", nullable=True, present=False),
        ColumnRule("ProviderName", "string", nullable=False),
        ColumnRule("PublisherName", "string", nullable=False),
    ),
    "1.4": (
        *_BOTH,
        ColumnRule("HostProviderName", "string", nullable=False),
        ColumnRule("ServiceProviderName", "string", nullable=False),
    ),
}
"""The columns of each version that we write, and every one that a dataset of it must have."""

ROW_RULES: Final = (
    RowRule(
        "ConsumedQuantity-C-004-C",
        "ConsumedQuantity is null when ChargeCategory is not Usage",
        _implies(lambda row: row["ChargeCategory"] != "Usage", _null("ConsumedQuantity")),
    ),
    RowRule(
        "ConsumedQuantity-C-006-C",
        "ConsumedQuantity is not null for usage that is no correction",
        _implies(
            lambda row: row["ChargeCategory"] == "Usage" and not _is_correction(row),
            lambda row: bool(row["ConsumedQuantity"]),
        ),
    ),
    RowRule(
        "ConsumedUnit-C-005-C",
        "ConsumedUnit is null exactly when ConsumedQuantity is",
        lambda row: bool(row["ConsumedUnit"]) == bool(row["ConsumedQuantity"]),
    ),
    RowRule(
        "PricingUnit-C-005-C",
        "PricingUnit is null exactly when PricingQuantity is",
        lambda row: bool(row["PricingUnit"]) == bool(row["PricingQuantity"]),
    ),
    RowRule("PricingQuantity-C-004-C", "PricingQuantity is null for Tax", _implies(_TAX, _null("PricingQuantity"))),
    RowRule("PricingQuantity-C-005-C", "PricingQuantity is not null for usage", _not_null_when_used("PricingQuantity")),
    RowRule("PricingCategory-C-003-C", "PricingCategory is null for Tax", _implies(_TAX, _null("PricingCategory"))),
    RowRule("PricingCategory-C-004-C", "PricingCategory is not null for usage", _not_null_when_used("PricingCategory")),
    RowRule("SkuId-C-004-C", "SkuId is null for Tax", _implies(_TAX, _null("SkuId"))),
    RowRule("SkuId-C-005-C", "SkuId is not null for usage", _not_null_when_used("SkuId")),
    RowRule("SkuPriceId-C-004-C", "SkuPriceId is null for Tax", _implies(_TAX, _null("SkuPriceId"))),
    RowRule("SkuPriceId-C-005-C", "SkuPriceId is not null for usage", _not_null_when_used("SkuPriceId")),
    RowRule("SkuMeter-C-004-C", "SkuMeter is null when SkuId is", _implies(_null("SkuId"), _null("SkuMeter"))),
    RowRule(
        "SkuPriceDetails-C-004-C",
        "SkuPriceDetails is null when SkuPriceId is",
        _implies(_null("SkuPriceId"), _null("SkuPriceDetails")),
    ),
    RowRule(
        "SkuPriceDetails-C-017-C",
        "Keys of SkuPriceDetails begin with x_ (none of the specification's own fits)",
        lambda row: all(name.startswith("x_") for name in json.loads(row["SkuPriceDetails"] or "{}")),
    ),
    RowRule("ListUnitPrice-C-004-C", "ListUnitPrice is null for Tax", _implies(_TAX, _null("ListUnitPrice"))),
    RowRule("ListUnitPrice-C-005-C", "ListUnitPrice is not null for usage", _not_null_when_used("ListUnitPrice")),
    RowRule(
        "ListUnitPrice-C-010-C",
        "ListUnitPrice times PricingQuantity is ListCost",
        _product("ListUnitPrice", "ListCost"),
    ),
    RowRule(
        "ContractedUnitPrice-C-005-C",
        "ContractedUnitPrice is null for Tax",
        _implies(_TAX, _null("ContractedUnitPrice")),
    ),
    RowRule(
        "ContractedUnitPrice-C-006-C",
        "ContractedUnitPrice is not null for usage",
        _not_null_when_used("ContractedUnitPrice"),
    ),
    RowRule(
        "ContractedUnitPrice-C-011-C",
        "ContractedUnitPrice times PricingQuantity is ContractedCost",
        _product("ContractedUnitPrice", "ContractedCost"),
    ),
    RowRule(
        "ListCost-C-008-C",
        "Without a ListUnitPrice, ListCost is BilledCost",
        _implies(_null("ListUnitPrice"), lambda row: row["ListCost"] == row["BilledCost"]),
    ),
    RowRule(
        "ContractedCost-C-008-C",
        "Without a ContractedUnitPrice, ContractedCost is BilledCost",
        _implies(_null("ContractedUnitPrice"), lambda row: row["ContractedCost"] == row["BilledCost"]),
    ),
    RowRule(
        "EffectiveCost-C-010-C",
        "EffectiveCost is BilledCost: nothing here covers other charges",
        lambda row: row["EffectiveCost"] == row["BilledCost"],
    ),
    RowRule(
        "ChargeFrequency-C-004-C",
        "A Purchase is not Usage-Based",
        lambda row: (row["ChargeCategory"], row["ChargeFrequency"]) != ("Purchase", "Usage-Based"),
    ),
    RowRule(
        "BillingPeriodEnd-C-004-M",
        "BillingPeriodEnd is after BillingPeriodStart",
        lambda row: row["BillingPeriodStart"] < row["BillingPeriodEnd"],
    ),
    RowRule(
        "ChargePeriodEnd-C-004-M",
        "ChargePeriodEnd is after ChargePeriodStart",
        lambda row: row["ChargePeriodStart"] < row["ChargePeriodEnd"],
    ),
    RowRule(
        "ChargeClass-C-003-C",
        "What is no correction lies in its billing period; a correction is of an earlier one",
        lambda row: (
            (row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"]) != _is_correction(row)
        ),
    ),
    RowRule(
        "RegionName-C-004-C",
        "RegionName is null exactly when RegionId is",
        lambda row: bool(row["RegionName"]) == bool(row["RegionId"]),
    ),
    RowRule(
        "ResourceType-C-004-C",
        "ResourceType is null exactly when ResourceId is",
        lambda row: bool(row["ResourceType"]) == bool(row["ResourceId"]),
    ),
    RowRule(
        "ResourceName-C-004-C",
        "ResourceName is null when ResourceId is",
        _implies(_null("ResourceId"), _null("ResourceName")),
    ),
    RowRule(
        "SubAccountName-C-004-C",
        "SubAccountName is null exactly when SubAccountId is",
        lambda row: bool(row["SubAccountName"]) == bool(row["SubAccountId"]),
    ),
    RowRule(
        "SubAccountType-C-004-C",
        "SubAccountType is null exactly when SubAccountId is",
        lambda row: bool(row["SubAccountType"]) == bool(row["SubAccountId"]),
    ),
    RowRule(
        "ListUnitPrice-C-012-C",
        "ConsumedQuantity, PricingQuantity and ListUnitPrice are null when SkuPriceId is",
        _implies(
            _null("SkuPriceId"),
            lambda row: not (row["ConsumedQuantity"] or row["PricingQuantity"] or row["ListUnitPrice"]),
        ),
        versions=("1.4",),
    ),
    RowRule(
        "ListUnitPrice-C-013-C",
        "ListUnitPrice is not null when SkuPriceId is not",
        lambda row: bool(row["ListUnitPrice"]) or not row["SkuPriceId"],
        versions=("1.4",),
    ),
    RowRule(
        "HostProviderName-C-010-M",
        "HostProviderName is ServiceProviderName where nobody chose or tells another",
        lambda row: row["HostProviderName"] == row["ServiceProviderName"],
        versions=("1.4",),
    ),
)

DEVIATIONS: Final = (
    Deviation(
        "ListUnitPrice-C-005-C",
        "nobody knows a public price of the model, and none is made up",
        lambda row: not row["ListUnitPrice"],
    ),
    Deviation(
        "ListUnitPrice-C-013-C",
        "nobody knows a public price of the model, and none is made up",
        lambda row: not row["ListUnitPrice"],
    ),
    Deviation(
        "ContractedUnitPrice-C-006-C",
        "nobody knows any price of the model, and none is made up",
        lambda row: not row["ContractedUnitPrice"],
    ),
    Deviation(
        "EffectiveCost-C-010-C",
        "until the bill is final BilledCost is what it says so far, and EffectiveCost the estimate that counts",
        lambda row: row["x_CostBasis"] != "billed" or row["x_BilledCostKnown"] == "false",
    ),
)
