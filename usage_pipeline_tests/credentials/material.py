"""What the credential tests share: rings made from a seed letter, one binding, strategies, and the canary."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import strategies as st

from usage_pipeline.credentials.key_ring import KeyRing
from usage_pipeline.credentials.sealing import CredentialBinding
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvalidInputError

CANARY = "sk-canary-7f3e91d2c4"
BINDING = CredentialBinding("acme", "openai", "main", 3)


def entry(key_id: str, seed: str | None = None) -> str:
    """``id:base64`` of a key that depends on ``seed`` alone (on the id, without one)."""
    material = hashlib.sha256((seed or key_id).encode()).digest()
    return f"{key_id}:{base64.b64encode(material).decode()}"


def ring(*key_ids: str) -> KeyRing:
    return KeyRing.parse(",".join(entry(key_id) for key_id in key_ids))


def _is_secret(text: str) -> bool:
    try:
        Secret(text)
    except InvalidInputError:
        return False
    return True


secret_texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=200).filter(_is_secret)
parts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
bindings = st.builds(CredentialBinding, parts, parts, parts, st.integers(0, 2**63 - 1))
