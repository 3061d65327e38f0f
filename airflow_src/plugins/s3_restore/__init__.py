"""Restore of files from an object store: verified, self-healing, resumable.

Knows no Airflow, no MongoDB and no YAML. The way of the data, one direction, each step a value handed to the next::

    FileSpec  -> what should be there          (model: file_specs, expected_hash)
    look      -> what is there                 (run: look; disk: destination, hash_service)
    decide    -> skip, download, heal          (model: decisions)
    act       -> fetch, prove, swap            (run: file_restore, transfer; disk; s3)
    outcome   -> report, log, summary          (model: outcomes, status_report)

Four rooms, imports in one direction: ``run`` > ``disk`` | ``s3`` > ``model``.

What a restore leaves behind, however it ends: a final path holds proved bytes, the bytes that were there before, or
nothing. Beside it there may be ``.s3dl.*`` (temporary, resumable) and ``<name>.corrupted`` (set aside, not yet healed).
"""
