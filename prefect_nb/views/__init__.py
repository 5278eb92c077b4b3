"""One ViewModel and the renderers that draw it."""
