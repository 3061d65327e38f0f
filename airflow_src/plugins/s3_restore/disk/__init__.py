"""What stands on the destination, and every change to it."""
