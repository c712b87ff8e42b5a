"""Alerts: what a person should know of now, told once, and told again when it is over.

Everything is derived anew at each tick: ``facts`` and Dagster's side give the conditions that hold (``conditions``, of
the ``causes``), ``life`` compares them with the alerts that are kept, ``message`` writes what is new for people,
``receivers`` delivers it through apprise, and ``tick`` does it in this order. Nothing depends on a cursor that could be
lost; an alert counts as told only when the receiver took it. No Dagster here.
"""
