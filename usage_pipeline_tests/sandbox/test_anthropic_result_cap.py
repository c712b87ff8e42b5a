from __future__ import annotations

import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.sandbox import SandboxServer
from usage_pipeline_tests.sandbox.conftest import MESSAGES, Caller

WEEK = (("starting_at", "2026-11-09T00:00:00Z"), ("ending_at", "2026-11-16T00:00:00Z"))
FINE = tuple(("group_by[]", name) for name in ("model", "api_key_id", "workspace_id"))


def test_too_many_results_are_refused_with_the_largest_limit_that_fits(
    anthropic: Caller, sandbox: SandboxServer
) -> None:
    counts = [len(bucket["results"]) for bucket in anthropic.page(MESSAGES, *WEEK, *FINE)["data"]]
    sandbox.switch(anthropic_results_max=sum(counts[:3]))
    message = anthropic.refused(MESSAGES, *WEEK, *FINE)
    assert message == (
        "Response would exceed the maximum number of results. Reduce limit to 3 or specify fewer group_by[] dimensions."
    )
    assert len(anthropic.page(MESSAGES, *WEEK, *FINE, ("limit", 3))["data"]) == 3
    assert "Reduce limit to 3" in anthropic.refused(MESSAGES, *WEEK, *FINE, ("limit", 4))
    assert anthropic.page(MESSAGES, *WEEK)["data"]


def test_when_no_limit_fits_only_fewer_dimensions_are_named(anthropic: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(anthropic_results_max=1)
    assert anthropic.refused(MESSAGES, *WEEK, *FINE).endswith("results. Specify fewer group_by[] dimensions.")


def test_the_number_of_dimensions_is_a_switch(anthropic: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(anthropic_group_by_max=2)
    assert anthropic.refused(MESSAGES, *WEEK, *FINE) == "Cannot specify more than 2 group_by[] dimensions."
    assert anthropic.page(MESSAGES, *WEEK, *FINE[:2])["data"]


@pytest.mark.parametrize("value", [0, -1, 1.5, "7", True])
def test_a_cap_that_is_no_count_is_not_taken(sandbox: SandboxServer, value: object) -> None:
    with pytest.raises(InvalidInputError, match="anthropic_results_max"):
        sandbox.switch(anthropic_results_max=value)
