"""S3: client from the Airflow connection, transfer settings, path reconstruction, download of a single object."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from common.secrets_in_logs import (
    blank_credentials_of_botocore,
    mask_credentials_of,
    mask_credentials_of_proxies,
    user_of_url,
    without_secrets,
)
from impl import refusals
from s3_restore.disk.destination import Destination
from s3_restore.model import store_reasons
from s3_restore.model.exceptions import ObjectStoreError, StoreUnreachableError, UnusableValueError
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.object_download import download_object
from s3_restore.s3.s3_errors import as_client_error, is_passing
from s3_restore.s3.s3_object_store import S3ObjectStore, client_config

T = TypeVar("T")

_MIB = 1024**2
# What a wrong connection raises in Airflow's provider and in boto3.
_ERRORS_OF_CONNECTIONS = (
    BotoCoreError, ClientError, ValueError, TypeError, AttributeError, LookupError, RuntimeError, ImportError,
    FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError,  # of a token's file
)  # fmt: skip
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS")  # of the environment; boto3 reads them
_TOKEN_SERVICE_S = 30.0  # for which a token service that does not answer is asked again
_TOKEN_SERVICE_WAIT_S = 2.0


def get_s3_client(region: str, aws_conn_id: str = "aws_default", *, settings: RestoreSettings | None = None) -> Any:
    """Make a boto3 S3 client from an Airflow connection: credentials; endpoint and more from its extra (S3).

    ``config_kwargs`` in the extra, such as an addressing style or proxies, count where we need no setting of our own.

    Args:
        region: AWS region.
        aws_conn_id: Airflow connection.
        settings: for time-outs and the number of connections.

    Raises:
        ValueError: if the connection cannot be used; one line that names it.
        StoreUnreachableError: if AWS cannot be asked for credentials now (an assumed role).

    """
    # Here and not above: the provider takes a second to import, and the DAG file is parsed every few.
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: PLC0415
    from airflow.providers.common.compat.sdk import AirflowException  # noqa: PLC0415

    settings = settings or RestoreSettings()
    blank_credentials_of_botocore()
    try:
        hook = S3Hook(aws_conn_id=aws_conn_id, region_name=region)
        with contextlib.suppress(AirflowException):  # without such a connection, boto3 looks for keys by itself
            extra = hook.get_connection(aws_conn_id).extra_dejson
            mask_credentials_of_proxies(extra.get("config_kwargs"))
            _refuse_user_in_endpoint(extra)
        _refuse_user_in_endpoint(*({"endpoint_url": os.environ.get(name)} for name in _ENDPOINTS))
        of_connection = hook.conn_config.botocore_config
        config = client_config(settings.max_concurrency, settings.stall_timeout_s, of_connection)

        def make() -> Any:
            client = hook.get_client_type(config=of_connection.merge(config) if of_connection else config)
            mask_credentials_of(client)
            return client

        client = _retrying_token_service(make, min(_TOKEN_SERVICE_S, settings.patience_s))
        _check_endpoint(client.meta.endpoint_url)
    except (AirflowException, *_ERRORS_OF_CONNECTIONS) as error:
        if is_passing(error):
            # An ordinary exception: Airflow tries again. Without the text, which may show pieces of a proxy's password.
            kind = type(error).__name__
            raise StoreUnreachableError(store_reasons.TOKEN_SERVICE_AWAY.of(kind), kind) from None
        text = " ".join(without_secrets(str(error)).split())
        failure = refusals.BAD_CONNECTION.of(repr(aws_conn_id), text, type(error).__name__)
        raise UnusableValueError(failure) from None
    return client


def _retrying_token_service(make: Callable[[], T], patience_s: float) -> T:
    """Make a client; where a role is to be assumed, AWS STS is asked for that, which may fail in passing."""
    until = time.monotonic() + patience_s
    while True:
        try:
            return make()
        except Exception as error:
            if not is_passing(error) or time.monotonic() > until:
                raise
            logging.warning("The AWS token service gives no credentials now (%s): trying again", type(error).__name__)
            time.sleep(min(_TOKEN_SERVICE_WAIT_S, patience_s / 10))


def _refuse_user_in_endpoint(*extras: Any) -> None:
    """Refuse a user and a password in ``endpoint_url``: S3 would not get them, and errors of libraries show them.

    Raises:
        ValueError: that shows neither.

    """
    services = [extra.get("service_config") for extra in extras if isinstance(extra, dict)]
    of_s3 = [each.get("s3") for each in services if isinstance(each, dict)]
    for settings in (*extras, *of_s3):
        url = settings.get("endpoint_url") if isinstance(settings, dict) else None
        if isinstance(url, str) and user_of_url(url):
            raise ValueError("endpoint_url has a user or password in it: they belong into login and password")


def _check_endpoint(url: str) -> None:
    """Refuse what botocore lets pass until the first request.

    Raises:
        ValueError: if it is no address of a web server.

    """
    _refuse_user_in_endpoint({"endpoint_url": url})  # it may be from a configuration file, too
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:  # a wrong port raises by itself
        raise ValueError(f"Invalid endpoint: {url}: expected https://host or http://host:port")


def get_transfer_config(chunk_size_mb: float) -> TransferConfig:
    """Settings of a transfer, as boto3 has them.

    Args:
        chunk_size_mb: bytes of one request and threshold for several, in MiB.

    Raises:
        ValueError: if it is not a number above 0.

    """
    is_number = isinstance(chunk_size_mb, (int, float)) and not isinstance(chunk_size_mb, bool)
    if not is_number or not 0 < chunk_size_mb < float("inf"):
        raise ValueError(f"chunk_size_mb: expected a number above 0, got {chunk_size_mb!r}")
    chunk_bytes = max(1, int(chunk_size_mb * _MIB))
    return TransferConfig(multipart_threshold=chunk_bytes, multipart_chunksize=chunk_bytes)


def download_file_from_s3(  # noqa: PLR0913, PLR0917 (the signature that the host calls)
    bucket_name: str,
    s3_key: str,
    local_path: Path,
    region: str,
    chunk_size_mb: int = 500,
    aws_conn_id: str = "aws_default",
) -> None:
    """Download a single object as the DAG does it; ``local_path`` appears complete or not at all.

    Passing errors are tried again, and what a killed call had fetched is not fetched again. Proves nothing about the
    bytes but their number: where there is a hash, restore as the DAG does.

    Args:
        bucket_name: name of the bucket.
        s3_key: key of the object.
        local_path: final path; folders above it are made, a file there is replaced.
        region: AWS region.
        chunk_size_mb: MiB that one connection fetches.
        aws_conn_id: Airflow connection for credentials and endpoint.

    Raises:
        ValueError: if an argument makes no sense.
        ClientError: if S3 refuses, or does not deliver for as long as the patience lasts.
        OSError: if the local file system does.

    """
    for name, text in (("bucket_name", bucket_name), ("s3_key", s3_key)):
        if not isinstance(text, str) or not text:  # of the bucket itself, S3's answer would be waited for in vain
            raise ValueError(f"{name}: expected a text, got {text!r}")
    local_path = Path(local_path)  # a text is taken as well
    settings = RestoreSettings()
    chunk_bytes = get_transfer_config(chunk_size_mb).multipart_chunksize
    try:
        store = S3ObjectStore(get_s3_client(region, aws_conn_id, settings=settings))
    except ObjectStoreError as error:
        raise as_client_error(error, "AssumeRole") from None
    nearest = next((folder for folder in local_path.parents if folder.is_dir()), local_path.parent)
    Destination(nearest).make_folders(local_path)  # and brings their names to the storage
    logging.info("Downloading s3://%s/%s to %s", bucket_name, s3_key, local_path)
    begun = time.monotonic()
    try:
        size = download_object(store, bucket_name, s3_key, local_path, chunk_bytes, settings)
    except ObjectStoreError as error:
        raise as_client_error(error, "GetObject") from None
    seconds = time.monotonic() - begun
    logging.info(
        "Downloaded %s: %.1f MB in %.1fs (%.1f MB/s)",
        local_path,
        size / _MIB,
        seconds,
        size / _MIB / max(seconds, 1e-6),
    )


def split_s3_upload_path(s3_upload_path: str) -> tuple[str, str]:
    """Cut what the database stores into bucket and key prefix (S1).

    Args:
        s3_upload_path: such as ``s3://bucket/prefix/``, ``bucket``, ``bucket/``, ``bucket/prefix/``.

    Returns:
        Name of the bucket; prefix without slashes at its ends, empty for none.

    Raises:
        ValueError: if there is no name of a bucket in it.

    """
    text = s3_upload_path.strip() if isinstance(s3_upload_path, str) else ""
    if text.lower().startswith("s3://"):
        text = text[len("s3://") :]
    components = [component for component in text.split("/") if component]
    # With a colon it is another scheme, or an ARN, for which botocore would ask another host than the connection's.
    if not components or ":" in components[0]:
        raise UnusableValueError(refusals.BAD_UPLOAD_PATH.of(repr(s3_upload_path)))
    return components[0], "/".join(components[1:])


def reconstruct_s3_paths(s3_upload_path: str, file_info: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Reconstruct bucket and key of each file in ``file_info``.

    Args:
        s3_upload_path: of the RawFile, see ``split_s3_upload_path``.
        file_info: of the RawFile; its keys are relative paths.

    Returns:
        Relative path -> (bucket, key), such as ``{"file.raw": ("alphakraken-prid001", "prefix/file.raw")}``.

    Raises:
        ValueError: if ``s3_upload_path`` has no name of a bucket.

    """
    bucket, prefix = split_s3_upload_path(s3_upload_path)
    return {path: (bucket, f"{prefix}/{path}" if prefix else path) for path in file_info}
