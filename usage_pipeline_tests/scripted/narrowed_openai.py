"""OpenAI's API with only the endpoints that a test is about: for rules of one family, pulled a thousand times."""

from __future__ import annotations

from usage_pipeline.providers.contract import Endpoint
from usage_pipeline.providers.openai import OpenAI


class NarrowedOpenAI(OpenAI):
    """The built-in provider with the endpoints that it is given."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.endpoints = endpoints  # type: ignore[assignment]
