"""The ledger's whole database as one file, and a database made from it, with PostgreSQL's own programs."""
