"""Source text to names and fingerprints, values to digests; knows no IPython, no kernel, no store."""
