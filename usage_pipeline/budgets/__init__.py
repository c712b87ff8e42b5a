"""Budgets and unusual days: what may be spent, what was, and which days cost far more than the days before them.

``budget`` holds a budget and its periods, ``spending`` what counts by day for what budgets are of, ``status`` the two
held against each other, with a forecast; ``unusual`` the rule about days. Costs are counted costs, exact; what becomes
an alert is said in ``alerts.budget_facts``.
"""
