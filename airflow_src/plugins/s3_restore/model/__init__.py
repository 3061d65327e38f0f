"""What is known and decided: values without I/O."""
