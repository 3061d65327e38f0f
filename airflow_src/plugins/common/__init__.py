"""Names and callbacks that DAGs share."""
