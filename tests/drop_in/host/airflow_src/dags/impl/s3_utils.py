"""The host has a module of this name."""

UPLOADS = True
