"""The restore as it runs: from specs to outcomes."""
