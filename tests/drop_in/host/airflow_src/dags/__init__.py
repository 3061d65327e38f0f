"""The host has one too."""
