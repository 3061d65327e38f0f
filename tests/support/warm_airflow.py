"""Does once, in a process that others are forked from, what Airflow and botocore do anew for each client.

They import half a hundred modules, read the description of S3 and the list of services, and walk the whole stack for
the name of an operator, for the header User-Agent. Without this a task in a process of its own takes a second and more
before its first request; with it a tenth.
"""

from functools import lru_cache

import airflow.providers.amazon.aws.hooks.s3
import airflow.sdk.execution_time.supervisor  # noqa: F401
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from botocore.loaders import JSONFileLoader, Loader

_parse = lru_cache(JSONFileLoader().load_file)
_services = lru_cache(Loader().list_available_services)

JSONFileLoader.load_file = lambda _self, path: _parse(path)
Loader.list_available_services = lambda _self, type_name: _services(type_name)
AwsGenericHook._get_caller = lambda _self, *_: "Unknown"
