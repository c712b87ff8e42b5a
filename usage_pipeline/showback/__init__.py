"""Showback: which cost centre and team what counts belongs to.

``rules`` holds a rule and says whether it takes a row, ``assigning`` applies the rules of a day to rows, ``reach`` says
which rules get nothing, or less than they seem to, because others come first. A view over what counts: no figure hangs
on it, and the rules of today hold for every report, also for one of what was believed at a past instant.
"""
