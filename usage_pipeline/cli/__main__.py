"""``python -m usage_pipeline.cli``: the command line where its script is not on the path."""

from usage_pipeline.cli import main

main()
