"""What a child of these tests imports, imported once in the server that children are forked from."""

import gc

from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: F401

import impl.handler_impl  # noqa: F401
import tests.stores.lab  # noqa: F401

# What is loaded here is never garbage: collections in the children need not look through it.
gc.collect()
gc.freeze()
