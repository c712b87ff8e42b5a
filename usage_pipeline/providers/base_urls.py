"""Which base URLs a credential may be sent to.

Comes in: the base URL that a person gave. Goes out: the same without its slash at the end, or a refusal. What path
belongs to an API is the provider's own knowledge.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from usage_pipeline.errors import InvalidInputError


def checked_base_url(base_url: str, where: str) -> SplitResult:
    """The parts of the base URL, its path without slashes at the end.

    Plain ``http`` is taken only for this machine (loopback) and for single-label names (a service in the same container
    network, such as the sandbox); anything else would send the credential in the clear.

    Raises ``InvalidInputError``: ``base_url_malformed``, ``base_url_insecure``.
    """
    try:
        parts = urlsplit(base_url.strip())
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", SplitResult("", "", "", "", "")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidInputError(
            "base_url_malformed",
            "the base URL is not of the form https://host or https://host/path",
            where=where,
            remedy="Leave it out for the provider's own host.",
        )
    if parts.scheme == "http" and not _is_near(host):
        raise InvalidInputError(
            "base_url_insecure",
            "the base URL would send the credential without encryption",
            where=where,
            remedy="Use https://.",
        )
    return parts._replace(path=parts.path.rstrip("/"))


def _is_near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." not in host
