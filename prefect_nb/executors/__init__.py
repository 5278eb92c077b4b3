"""Where task bodies run; one adapter a module."""
