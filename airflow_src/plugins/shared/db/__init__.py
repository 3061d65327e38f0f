"""Read-only access to the database."""
