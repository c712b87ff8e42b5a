"""Which figure counts: the rules of docs/reconciliation.md, in the order in which a day goes through them.

``aliases`` names the model on which both sides meet, ``coverage`` says what each slice covers, ``leaders`` which of two
overlapping feeds counts, ``decision`` the table of decisions and its arithmetic, ``money`` the cost, ``boundaries``
whether an excess is only a session that ended on another day, and ``day`` puts a day together.
"""
