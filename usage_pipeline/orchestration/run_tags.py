"""The tags by which our runs are told apart."""

from __future__ import annotations

from typing import Final

FROM_COMMAND: Final = "usage_pipeline/from_command"
"""A person waits for the run: what fails is told at once instead of being tried again after a pause."""
