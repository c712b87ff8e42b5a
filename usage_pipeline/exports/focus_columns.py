"""The columns of the FOCUS exports: those of each version of the specification, then ours, with what we put there."""

from __future__ import annotations

from typing import Final

from usage_pipeline.exports.columns import USD, Column, Type

_COST: Final = (
    Column(
        "BilledCost",
        Type.DECIMAL,
        USD,
        "What the provider's bill says so far; 0 where it says nothing (yet). Sums to the report's billed cost.",
    ),
    Column("BillingAccountId", Type.TEXT, "", "The provider's account; where nobody told it, WORKSPACE.PROVIDER."),
    Column("BillingAccountName", Type.TEXT, "", "Null: providers do not tell it."),
    Column("BillingAccountType", Type.TEXT, "", "Organization."),
    Column("BillingCurrency", Type.TEXT, "", "USD."),
    Column("BillingPeriodEnd", Type.INSTANT, "", "The end of the month, exclusive, UTC."),
    Column(
        "BillingPeriodStart",
        Type.INSTANT,
        "",
        "The start of the month, inclusive, UTC.",
    ),
    Column(
        "ChargeCategory", Type.TEXT, "", "Usage; a line of the bill without a measure is Adjustment, Credit or Tax."
    ),
    Column("ChargeClass", Type.TEXT, "", "Correction: a change of a closed billing period. Otherwise null."),
    Column("ChargeDescription", Type.TEXT, "", "Provider, model and meter, or the bill's own words."),
    Column("ChargeFrequency", Type.TEXT, "", "Usage-Based; One-Time for a line of the bill without a measure."),
    Column("ChargePeriodEnd", Type.INSTANT, "", "The end of the day or hour of use, exclusive, UTC."),
    Column("ChargePeriodStart", Type.INSTANT, "", "The start of the day or hour of use, inclusive, UTC."),
    Column(
        "ConsumedQuantity",
        Type.QUANTITY,
        "ConsumedUnit",
        "What was used. Sums, by meter, to the report's counted figure.",
    ),
    Column("ConsumedUnit", Type.TEXT, "", "Tokens, or the measure's own unit."),
    Column(
        "ContractedCost",
        Type.DECIMAL,
        USD,
        "ContractedUnitPrice times PricingQuantity; BilledCost where no price is known.",
    ),
    Column(
        "ContractedUnitPrice",
        Type.DECIMAL,
        f"{USD} per PricingUnit",
        "The price with which the computed cost was made, negotiated prices included.",
    ),
    Column(
        "EffectiveCost",
        Type.DECIMAL,
        USD,
        "The counted cost: the bill once it is final, before that an estimate. Sums to the report's counted cost.",
    ),
)
_HOST: Final = Column(
    "HostProviderName", Type.TEXT, "", "As ServiceProviderName: providers do not tell whose machines."
)
_INVOICE_ID: Final = Column("InvoiceId", Type.TEXT, "", "Null: providers' cost reports do not name the invoice.")
_ISSUER: Final = Column("InvoiceIssuerName", Type.TEXT, "", "Who bills.")
_PRICE: Final = (
    Column(
        "ListCost", Type.DECIMAL, USD, "ListUnitPrice times PricingQuantity; BilledCost where no list price is known."
    ),
    Column("ListUnitPrice", Type.DECIMAL, f"{USD} per PricingUnit", "The public list price of the day."),
    Column("PricingCategory", Type.TEXT, "", "Standard for usage."),
    Column("PricingQuantity", Type.QUANTITY, "PricingUnit", "ConsumedQuantity in the unit that is priced."),
    Column("PricingUnit", Type.TEXT, "", "1000000 Tokens, or the measure's own unit of price."),
)
_PROVIDER: Final = Column("ProviderName", Type.TEXT, "", "Who bills and provides the service.")
_PUBLISHER: Final = Column("PublisherName", Type.TEXT, "", "Whose model it is; who bills, where nobody knows.")
_RESOURCE: Final = (
    Column("RegionId", Type.TEXT, "", "Where the model ran, where the provider tells it."),
    Column("RegionName", Type.TEXT, "", "As RegionId."),
    Column("ResourceId", Type.TEXT, "", "The API key's id, never the key."),
    Column("ResourceName", Type.TEXT, "", "What the API key is called, where it is known."),
    Column("ResourceType", Type.TEXT, "", "API Key where there is a ResourceId."),
    Column("ServiceCategory", Type.TEXT, "", "AI and Machine Learning."),
    Column("ServiceName", Type.TEXT, "", "The provider's API."),
)
_SERVICE_PROVIDER: Final = Column("ServiceProviderName", Type.TEXT, "", "Who bills and provides the service.")
_SKU: Final = (
    Column("ServiceSubcategory", Type.TEXT, "", "Generative AI."),
    Column("SkuId", Type.TEXT, "", "VENDOR/MODEL/MEASURE."),
    Column("SkuMeter", Type.TEXT, "", "The measure in words, such as Output Tokens."),
    Column("SkuPriceDetails", Type.TEXT, "", "JSON: the model, the measure and what else selects the price."),
    Column("SkuPriceId", Type.TEXT, "", "SkuId and the price's variant."),
    Column("SubAccountId", Type.TEXT, "", "The project (OpenAI) or workspace (Anthropic) id."),
    Column("SubAccountName", Type.TEXT, "", "What the project is called; its id where that is not known."),
    Column("SubAccountType", Type.TEXT, "", "Project where there is a SubAccountId."),
    Column("Tags", Type.TEXT, "", "JSON: workspace, and feed, user_id, service_account_id where they are told."),
)
_OURS: Final = (
    Column("x_Workspace", Type.TEXT, "", "The workspace's slug."),
    Column("x_Feed", Type.TEXT, "", "The provider key or Hermes feed that said it."),
    Column(
        "x_Source", Type.TEXT, "", "provider, or what tells it instead: unattributed, hermes_stand_in, billed_line …"
    ),
    Column("x_Decision", Type.TEXT, "", "Which side counts."),
    Column("x_Provisional", Type.FLAG, "", "Whether the figures of its cell may still change."),
    Column(
        "x_CostBasis", Type.TEXT, "", "What EffectiveCost rests on: billed, estimate, actual, estimated, unpriced …"
    ),
    Column(
        "x_EffectiveCostKnown", Type.FLAG, "", "False: nobody knows the cost, and EffectiveCost is 0 for want of null."
    ),
    Column("x_BilledCostKnown", Type.FLAG, "", "False: no bill says anything, and BilledCost is 0 for want of null."),
    Column("x_ModelVendor", Type.TEXT, "", "Whose model it is; unknown where nobody knows."),
    Column("x_Model", Type.TEXT, "", "The canonical name of the model."),
    Column("x_ReportedModel", Type.TEXT, "", "The model's name as reported."),
    Column("x_Family", Type.TEXT, "", "What kind of thing is used, like text or embeddings."),
    Column("x_Route", Type.TEXT, "", "account, or off_account: and who bills."),
    Column("x_TokenClass", Type.TEXT, "", "The measure's own name: uncached_input, cache_read, output …"),
    Column("x_UserId", Type.TEXT, "", "The user's id."),
    Column("x_ServiceAccountId", Type.TEXT, "", "The service account's id."),
    Column("x_ServiceTier", Type.TEXT, "", "The service tier."),
    Column("x_Batch", Type.TEXT, "", "Whether it came through the batch API: true or false."),
    Column("x_ContextWindow", Type.TEXT, "", "The class of context length that the price depends on."),
    Column("x_Speed", Type.TEXT, "", "The speed class."),
    Column("x_UpstreamProvider", Type.TEXT, "", "The vendor to which a reseller or a proxy passed the call on."),
    Column("x_PriceVersion", Type.TEXT, "", "The versions of the prices behind the cell's computed cost."),
    Column("x_CostCenter", Type.TEXT, "", "The cost centre that the rules of showback give, or unassigned."),
    Column("x_Team", Type.TEXT, "", "The team that the rules of showback give, or unassigned."),
)

FOCUS_COLUMNS: Final = {
    "1.2": (*_COST, _INVOICE_ID, _ISSUER, *_PRICE, _PROVIDER, _PUBLISHER, *_RESOURCE, *_SKU, *_OURS),
    "1.4": (*_COST, _HOST, _ISSUER, *_PRICE, *_RESOURCE, _SERVICE_PROVIDER, *_SKU, *_OURS),
}
"""The columns by version: the specification's in the order of the alphabet, then ours."""
