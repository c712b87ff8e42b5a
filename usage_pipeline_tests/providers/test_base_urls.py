"""A credential is sent only where it is safe."""

from __future__ import annotations

import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.providers.base_urls import checked_base_url


@pytest.mark.parametrize(
    "url", ["https://api.openai.com", "http://localhost:1", "http://[::1]:80", "http://sandbox:80"]
)
def test_an_encrypted_or_near_host_is_taken(url: str) -> None:
    assert checked_base_url(f" {url}/ ", "base URL").geturl() == url


@pytest.mark.parametrize("url", ["http://api.openai.com", "http://10.0.0.1:8080", "http://8.8.8.8"])
def test_a_far_host_without_encryption_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="base_url_insecure"):
        checked_base_url(url, "base URL")


@pytest.mark.parametrize(
    "url", ["", "api.openai.com", "ftp://x", "https://", "https://u:p@x.example", "https://x.example?a=1", "https://[x"]
)
def test_what_is_no_base_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInputError, match="base_url_malformed") as caught:
        checked_base_url(url, "base URL")

    assert "u:p" not in str(caught.value)
