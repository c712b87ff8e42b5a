"""The store: PostgreSQL's schema, and every statement that reads or writes it.

``server`` says where the database is, ``database`` connects, ``migrate`` keeps the schema, ``registry`` holds
workspaces and feeds, ``slices`` replaces what a source said about a day, ``bills`` the same for billed lines, and the
other modules have one subject each. SQL lives here and nowhere else.
"""
