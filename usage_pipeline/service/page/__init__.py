"""The analytics page: two HTML documents, a style sheet and small scripts, served as they are written.

The page reads the usage API as any other reader does; nothing here knows a figure. There is no build step: what the
browser runs is what stands in ``static``, and Plotly's own bundle from the installed package.
"""
