"""Servers and generators for tests: an S3 stand-in, a fault proxy, a webhook receiver, deterministic files."""
