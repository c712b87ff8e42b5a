"""The plugin's version, as plugin.yaml states it too (a test compares them)."""

PLUGIN_VERSION = "0.1.0"
