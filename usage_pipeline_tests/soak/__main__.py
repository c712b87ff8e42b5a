"""``python -m usage_pipeline_tests.soak``; the work is in ``runner``, which its processes import by name."""

from __future__ import annotations

import sys

from usage_pipeline_tests.soak.runner import main

if __name__ == "__main__":
    sys.exit(main())
