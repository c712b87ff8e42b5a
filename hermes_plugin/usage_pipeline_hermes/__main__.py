"""The same commands without the ``hermes`` command, for a system's cron.

``python -m usage_pipeline_hermes sync`` from the folder that holds the plugin, or ``python /path/to/the/plugin sync``.
"""

import sys
from importlib import import_module
from pathlib import Path

if __package__:
    from .cli import main
else:  # started as a folder: Python knows no package then, so make it one
    _FOLDER = Path(__file__).resolve().parent
    sys.path.insert(0, str(_FOLDER.parent))
    main = import_module(f"{_FOLDER.name}.cli").main

if __name__ == "__main__":
    sys.exit(main())
