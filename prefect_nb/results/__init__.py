"""Where values live: bytes in signed envelopes, addressed by their content."""
