"""The rules: frozen data and pure functions; no clock, no I/O, no randomness, no third parties."""
