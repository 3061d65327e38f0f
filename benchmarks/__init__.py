"""How fast a restore is against other ways to get the same files: ``make bench``, results in README.md."""
