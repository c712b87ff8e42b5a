"""Prices and computed costs: what a list price says that measured tokens cost, apart from any bill.

``rates`` holds a price list's figures and multiplies them, ``variants`` says which of a model's prices a row asks for,
``model_names`` decides whether a price belongs to a model's name, ``library_prices`` reads the price library's tables,
``list_quotes`` makes quotes of them, ``overrides`` are prices of one's own before them, and ``price_book`` answers by
day. ``quotes`` has what all of them answer with. Nothing here contacts a network or a database.
"""
