"""Measures the budgets: `make bench` loads made-up days and prints each figure beside a bare COPY of the same rows.

Belongs here: the made-up pages, the clockwork and the table. Nothing of the package imports it, and it needs nothing
beyond the package's own dependencies.
"""
