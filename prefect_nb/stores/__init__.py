"""Where events and their rows live; one adapter a module."""
