"""Which figure counts: the rules of docs/reconciliation.md, in the order in which a day goes through them.

``aliases`` names the model on which both sides meet, ``coverage`` says what each slice covers, ``leaders`` which of two
overlapping feeds counts, ``families`` what each provider covers, ``hermes_rows`` which cell a Hermes row falls into,
``sides`` puts both sides of the cells together, ``decision`` holds the table of decisions and its arithmetic,
``shares`` and ``money`` spread and price what it decides, ``findings`` (with ``excess_findings`` and
``feed_findings``) say what is worth a look, and ``day`` stores the result. ``report`` reads it back.
"""
