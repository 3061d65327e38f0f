"""Restore of files from an object store: verified, self-healing, resumable.

Knows no Airflow, no MongoDB and no YAML. The way of the data, one direction, each step a value handed to the next::

    FileSpec  -> what should be there          (file_specs, expected_hash)
    look      -> what is there                 (local_files, hashing)
    decide    -> skip, download, heal, refuse  (decisions)
    act       -> fetch, prove, swap            (transfer, journal, object_store, local_files)
    outcome   -> report, log, summary          (outcomes, status_report)

What a restore leaves behind, however it ends: a final path holds proved bytes, the bytes that were there before, or
nothing. Beside it there may be ``.s3dl.*`` (temporary, resumable) and ``<name>.corrupted`` (set aside, not yet healed).
"""
