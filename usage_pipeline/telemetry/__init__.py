"""What the pipeline says of itself: logs without secrets, records of its stages, metrics.

``redaction`` masks what looks like a key or is known to be one; ``logs`` writes events as JSON or for people;
``stage_runs`` records what a stage did; ``metrics`` exposes the store's figures to Prometheus. No Dagster here.
"""
