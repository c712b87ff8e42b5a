"""Holding a provider's own dashboard exports against the store, window by window.

In come CSV files that a person exported; out comes a report of what is equal, what differs and what is missing on
either side. ``check.run_parity`` is the whole; ``openai_export``, ``anthropic_export`` and ``openrouter_export`` say
what the files of a provider look like, one file a provider, and ``registry`` names them.
"""
