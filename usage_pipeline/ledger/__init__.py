"""The store: PostgreSQL's schema, and every statement that reads or writes it.

``server`` says where the database is, ``migrate`` keeps the schema. ``workspaces``, ``provider_keys``, ``hermes_feeds``
and ``feed_settings`` hold who is registered; ``pulls`` and ``hermes_batches`` what the sources said, verbatim;
``slices``, ``event_copy`` and ``replacement`` make a slice equal to it; ``reconcile_inputs``, ``reconciled`` and
``findings`` are what reconciling reads and writes. The other modules have one subject each. SQL lives here only.
"""
