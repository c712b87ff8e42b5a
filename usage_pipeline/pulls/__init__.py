"""From a provider to raw pages: whole ranges, complete or nothing."""
