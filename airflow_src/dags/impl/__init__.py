"""What the DAGs do."""
