"""From what the sources said to canonical usage events and billed lines, slice by slice, each replaced as a whole.

``provider_days`` does it for a provider's pulls, ``hermes_days`` for the newest word of a Hermes feed; ``frames`` are
the pandera schemas of the canonical frames at the boundaries (Dagster's column metadata, exports).
"""
