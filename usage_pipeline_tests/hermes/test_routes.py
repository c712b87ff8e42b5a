"""Whose model a name means, and which calls are on the vendor's own account."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.hermes.routes import provider_slug, route_of, vendor_of_model, vendor_of_native_model

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
OPENROUTER_URL = "https://openrouter.ai/api/v1"


@pytest.mark.parametrize(
    ("model", "vendor"),
    [
        ("gpt-5.4", "openai"),
        ("GPT-5-2025-08-07", "openai"),
        ("o3", "openai"),
        ("o4-mini", "openai"),
        ("ft:gpt-4.1:acme::abc", "openai"),
        ("openai/gpt-5.4", "openai"),
        ("openai/gpt-oss-120b:free", "openai"),
        ("claude-sonnet-4-6", "anthropic"),
        ("claude-sonnet-4@20250514", "anthropic"),
        ("anthropic/claude-sonnet-4.6", "anthropic"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic"),
        ("global.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic"),
        ("openrouter/anthropic/claude-opus-4.6", "anthropic"),
        ("gemini-2.5-pro", "google"),
        ("models/gemini-2.5-pro", "google"),
        ("google/gemma-3-27b-it:free", "google"),
        ("accounts/fireworks/models/deepseek-v3p1", "deepseek"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "meta"),
        ("x-ai/grok-4", "xai"),
        ("tencent/hy3-20260706:free", "tencent"),
        ("openrouter/auto", "unknown"),
        ("unknown", "unknown"),
        ("o1x", "unknown"),
        ("omnipotent", "unknown"),
        ("my-gpt-5", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_vendor_follows_from_the_prefixes_of_a_name(model: str, vendor: str) -> None:
    assert vendor_of_model(model) == vendor


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-4.6", "us.anthropic.claude-sonnet-4", "ft:gpt-4.1:a::b"])
def test_a_prefixed_name_is_not_the_vendors_own(model: str) -> None:
    assert vendor_of_native_model(model) == "unknown"


@pytest.mark.parametrize(
    ("billing_provider", "base_url", "mode", "vendor", "route"),
    [
        ("openai", None, None, "openai", "account"),
        ("openai", "", "", "openai", "account"),
        ("openai-api", OPENAI_URL, "official_docs_snapshot", "openai", "account"),
        ("OpenAI", "https://eu.api.openai.com/v1", "", "openai", "account"),
        ("anthropic", ANTHROPIC_URL, "unknown", "anthropic", "account"),
        ("anthropic", "api.anthropic.com", "", "anthropic", "account"),
        ("", OPENAI_URL, "", "openai", "account"),
        ("custom", ANTHROPIC_URL, "", "anthropic", "account"),
        ("openai-codex", "https://chatgpt.com/x", "subscription_included", "openai", "off_account:openai-codex"),
        ("openai", "https://chatgpt.com/backend-api/codex", "", "openai", "off_account:openai-codex"),
        ("openai", OPENAI_URL, "subscription_included", "openai", "off_account:openai"),
        ("anthropic", "", "subscription_included", "anthropic", "off_account:anthropic"),
        ("openrouter", OPENROUTER_URL, "official_models_api", "anthropic", "off_account:openrouter"),
        ("openai", OPENROUTER_URL, "", "openai", "off_account:openrouter"),
        ("", OPENROUTER_URL, "", "openai", "off_account:openrouter"),
        ("bedrock", "", "", "anthropic", "off_account:bedrock"),
        ("", "https://bedrock-runtime.us-east-1.amazonaws.com", "", "anthropic", "off_account:bedrock"),
        ("anthropic", "https://eu-west1-aiplatform.googleapis.com/v1", "", "anthropic", "off_account:vertex"),
        ("openai", "https://acme.openai.azure.com/openai", "", "openai", "off_account:azure"),
        ("openai", "https://llm-proxy.example/v1", "", "openai", "off_account:openai"),
        ("openai", "https://api.openai.com.evil.example/v1", "", "openai", "off_account:openai"),
        ("openai", "https://api.openai.com@evil.example/v1", "", "openai", "off_account:openai"),
        ("openai", "http://[half", "", "openai", "off_account:openai"),
        ("openai", OPENAI_URL, "", "anthropic", "off_account:openai"),
        ("openai", OPENAI_URL, "", "unknown", "off_account:openai"),
        ("custom", "http://localhost:11434/v1", "", "unknown", "off_account:local"),
        ("local", "", "", "alibaba", "off_account:local"),
        ("gemini", "", "", "google", "off_account:gemini"),
        ("nous", "", "", "nous", "off_account:nous"),
        ("custom", "https://llm.example", "", "openai", "off_account:custom"),
        (None, None, None, "openai", "off_account:unknown"),
        ("", "https://llm.example/v1", "", "openai", "off_account:unknown"),
        ("auto", "", "", "openai", "off_account:unknown"),
        ("moa", "", "", "unknown", "off_account:unknown"),
    ],
)  # fmt: skip
def test_only_what_the_vendor_bills_through_its_own_api_is_on_account(
    billing_provider: str | None, base_url: str | None, mode: str | None, vendor: str, route: str
) -> None:
    assert route_of(billing_provider, base_url, mode, vendor) == route


@given(st.text(), st.text(), st.text(), st.text())
def test_every_call_has_a_route_and_a_vendor(provider: str, url: str, mode: str, model: str) -> None:
    route = route_of(provider, url, mode, vendor_of_model(model))
    assert route == "account" or (route.startswith("off_account:") and route != "off_account:")


@pytest.mark.parametrize(
    ("label", "slug"), [("OpenAI", "openai"), (" Mistral AI ", "mistral-ai"), ("", "unknown"), ("—", "unknown")]
)
def test_a_label_becomes_a_slug(label: str, slug: str) -> None:
    assert provider_slug(label) == slug
