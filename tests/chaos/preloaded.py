"""Everything that a child of the chaos suite imports, imported once in the server that children are forked from."""

import gc

import boto3

import impl.handler_impl  # noqa: F401
import tests.chaos.child
import tests.support.warm_airflow  # noqa: F401 (before the first session)
from tests.support.airflow_lines import task_timeout

task_timeout()

SESSION = boto3.session.Session()
"""Has read the model of S3 already, which takes longer than most restores here."""
SESSION.client("s3", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b").close()
# What is loaded here is never garbage: collections in the children need not look through it.
gc.collect()
gc.freeze()
