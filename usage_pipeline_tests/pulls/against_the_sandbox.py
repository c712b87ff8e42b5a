"""A provider key whose provider is the sandbox."""

from __future__ import annotations

from usage_pipeline.ledger.provider_keys import NewProviderKey, ProviderKey, add_provider_key
from usage_pipeline.ledger.workspaces import find_workspace
from usage_pipeline.sandbox.faces import DEFAULT_ANTHROPIC_KEY, DEFAULT_OPENAI_KEY, DEFAULT_OPENAI_STANDARD_KEY
from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline_tests.scripted.scenario import Scenario


def register(
    scenario: Scenario, sandbox: SandboxServer, provider: str, grain: str = "1d", mode: str = "admin"
) -> ProviderKey:
    """Register a key of the sandbox's OpenAI or Anthropic organisation in the workspace ``acme``."""
    secrets = {
        ("openai", "admin"): DEFAULT_OPENAI_KEY,
        ("openai", "standard"): DEFAULT_OPENAI_STANDARD_KEY,
        ("anthropic", "admin"): DEFAULT_ANTHROPIC_KEY,
    }
    base_url = sandbox.openai_base_url if provider == "openai" else sandbox.anthropic_base_url
    variable = f"SANDBOX_{provider}_{mode}".upper()
    scenario.workspace()
    scenario.environ[variable] = secrets[provider, mode]
    with scenario.runtime.engine.begin() as connection:
        workspace = find_workspace(connection, "acme")
        assert workspace is not None
        new = NewProviderKey(
            workspace=workspace,
            provider=provider,
            name=mode,
            mode=mode,
            organization=None,
            projects=(),
            grain=grain,
            base_url=scenario.runtime.providers[provider].normalise_base_url(base_url),
            secret_sealed=None,
            secret_reference=f"env:{variable}",
        )
        return add_provider_key(connection, new, scenario.clock.now)
