"""Where secrets are kept: sealed in the store, or referred to; plain only in memory, inside a ``Secret``.

Belongs here: the value that does not print itself (``secret``), the key-encryption keys (``key_ring``), envelope
encryption (``sealing``), references to secrets kept elsewhere (``references``). Comes in: secret texts, sealed bytes,
the environment. Goes out: ``Secret`` values and sealed bytes. Rows and tables belong to the ledger.
"""
