"""Measures the budgets: `make bench` loads made-up days and prints each figure beside a bare COPY of the same rows.

Belongs here: the made-up pages, the clockwork and the table. Nothing of the package imports it. What it is held
against beside PostgreSQL itself comes with the extra ``bench``, and is left out without it.
"""
