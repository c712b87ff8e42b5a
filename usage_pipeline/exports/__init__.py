"""Exports: what counts, as files that other programs read: CSV, Parquet, and FOCUS 1.2 and 1.4.

Everything goes one way::

    query = ExportQuery(kind, first_day, end_day, workspace, by=…, group_by=…, focus_version=…)   # query.py
    with snapshot(engine) as connection:                     # ledger/snapshot.py: one repeatable-read state
        export = open_export(connection, query)              # export.py: columns, rows, control totals
        for chunk in csv_chunks(export): ...                 # csv_file.py, bytes of UTF-8
        for chunk in parquet_chunks(export): ...             # parquet_file.py, bytes, a row group at a time
        export.control                                       # rows, totals, provisional days, after the last chunk

``kind`` is ``"events"``, ``"summary"`` or ``"focus"``. Nothing is held but a day's groups and a batch of rows. The
last chunk comes only after the sums of what was written equal those of the reconciled rows in the same snapshot, else
:class:`InvariantError` ``export_does_not_add_up`` is raised: who streams must then break off the transfer, and
``files.write_file`` never gives such a file its name. Bad questions raise :class:`InvalidInputError` from
``ExportQuery.checked`` before anything is read. Columns, their types, units and meanings are data:
``export.columns``, also without a database by ``columns_of(query)``.
"""
