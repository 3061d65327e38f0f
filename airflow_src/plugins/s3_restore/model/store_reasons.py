"""Reasons of the object store: what S3 refuses, what its objects lack, what breaks on the way. Pure.

The value in brackets at the end is S3's own error code, or the kind of the error; the object's address may follow it.
"""

from __future__ import annotations

from s3_restore.model.reasons import Group

# --- the object ----------------------------------------------------------------------------------------------------

OBJECT = Group("S3: the object")

MISSING = OBJECT.reason(
    "object_missing",
    "Object is not in S3 (…)",
    "check bucket and prefix in the report; was it deleted, or never uploaded (backup_status)?",
)
DELETED = OBJECT.reason(
    "object_deleted",
    "Object was deleted in S3 (its newest version is a delete marker) (…)",
    "have the version before restored",
)
VERSION_MISSING = OBJECT.reason(
    "version_missing",
    "Object version is not in S3 any more (…)",
    "trigger again: the newest version is taken",
)
NO_BUCKET = OBJECT.reason(
    "bucket_missing",
    "Bucket does not exist in S3 (…)",
    "check s3_upload_path and the endpoint_url of the connection",
)
ARCHIVED = OBJECT.reason(
    "object_archived",
    "Object is archived in class … and must be restored in S3 first (…)",
    "restore it from the archive in S3, wait until that is done (hours), trigger again; or let the DAG do that: "
    "s3_download.restore_archived",
)
ARCHIVED_SOMEHOW = OBJECT.reason(
    "object_archived_in_unknown_class", "Object is archived and must be restored in S3 first (…)", ARCHIVED.what_to_do
)
WRONG_SIZE = OBJECT.reason(
    "wrong_size",
    "Object in S3 has … bytes, file_info says … (wrong size)",
    "the object is not the backup of this file; nothing was fetched. Look for another version of it",
)
SIZE_CHANGED = OBJECT.reason(
    "size_changed",
    "Object in S3 has … bytes, it was … (wrong size)",
    "somebody uploads to this key. Trigger again when that is done",
)
TOO_SHORT = OBJECT.reason(
    "object_too_short",
    "Object in S3 is shorter than it should be (…)",
    "the object is not the backup of this file. Look for another version of it",
)
REPLACED = OBJECT.reason(
    "object_replaced",
    "Object was replaced in S3 during the download (…)",
    "somebody uploads to this key. Trigger again when that is done",
)
HASH_MISMATCH = OBJECT.reason(
    "hash_mismatch",
    "Hash mismatch after download: expected …, got …; the download was deleted",
    "the object has other bytes than the instrument's file. Look for another version of it; as long as there is none, "
    "the backup is bad",
)
BACKUP_MISMATCH = OBJECT.reason(
    "backup_mismatch",
    "Hash mismatch in S3: expected …, got …; the object is not the file",
    "verify only: the object has other bytes than the instrument's file. Keep the original, and have it uploaded anew",
)
ONLY_OLDER_VERSION = OBJECT.reason(
    "only_older_version",
    "Only an older version in S3 is the backup, that of …: S3 may delete it",
    "verify only: a restore takes that version as long as S3 keeps it. Keep the original, and have that version made "
    "the newest",
)
MAY_NOT_LIST_VERSIONS = OBJECT.part(
    "may_not_list_versions",
    "older versions cannot be looked at: that takes s3:ListBucketVersions",
    "the newest version is not the backup; an older one may be. Grant s3:ListBucketVersions and s3:GetObjectVersion, "
    "then trigger again",
)
MAY_NOT_READ_VERSIONS = OBJECT.part(
    "may_not_read_versions",
    "older versions cannot be looked at: that takes s3:GetObjectVersion",
    "the newest version is not the backup; an older one may be. Grant s3:GetObjectVersion, then trigger again",
)
LIST_UNREADABLE = OBJECT.part(
    "list_unreadable",
    "older versions cannot be looked at: its key makes the list unreadable",
    "the key has control characters, which a list of versions cannot spell: look for an older version by hand",
)
NO_VERSION_FITS = OBJECT.part(
    "no_version_fits",
    "none of … older versions is it",
    "those of the right size were all fetched, and none has the bytes of the instrument's file: the backup is bad",
)

# --- access --------------------------------------------------------------------------------------------------------

ACCESS = Group("S3: access")

ACCESS_DENIED = ACCESS.reason(
    "access_denied",
    "S3 denies access: the connection's user needs s3:GetObject on this bucket (…)",
    "grant it. Without s3:ListBucket it may also mean that the object is missing, or deleted",
)
ACCESS_DISABLED = ACCESS.reason(
    "access_disabled",
    "S3 denies access: all access to this object is disabled (…)",
    "ask the owner of the AWS account",
)
ACCOUNT_PROBLEM = ACCESS.reason(
    "account_problem",
    "S3 denies access: there is a problem with the AWS account (…)",
    "ask the owner of the AWS account",
)
CANNOT_BE_ASKED = ACCESS.reason(
    "cannot_be_asked",
    "S3 cannot be asked: … (…)",
    "for NoCredentialsError, the connection aws_default is missing or has no keys; else correct it as the line says",
)
UNKNOWN_ACCESS_KEY = ACCESS.reason(
    "unknown_access_key",
    "S3 does not know the access key: check the Airflow connection (…)",
    "correct login of the connection",
)
WRONG_SECRET_KEY = ACCESS.reason(
    "wrong_secret_key",
    "S3 refuses the signature: check the secret key in the Airflow connection (…)",
    "correct password of the connection",
)
CREDENTIALS_EXPIRED = ACCESS.reason(
    "credentials_expired",
    "S3 credentials have expired: renew the Airflow connection (…)",
    "put new credentials into the connection",
)
WRONG_SESSION_TOKEN = ACCESS.reason(
    "wrong_session_token",
    "S3 refuses the session token: renew the Airflow connection (…)",
    "put new credentials into the connection",
)
CLOCK_SKEWED = ACCESS.reason(
    "clock_skewed",
    "The clock of this worker differs too much from that of S3 (…)",
    "correct the worker's clock",
)
OTHER_REGION = ACCESS.reason(
    "other_region",
    "Bucket is in another region: check backup.s3.region in the YAML (…)",
    "correct backup.s3.region in the settings file",
)
REDIRECTED = ACCESS.reason(
    "redirected",
    "S3 redirects to …: check endpoint_url in the Airflow connection (…)",
    "put the address that it names into endpoint_url (often https in place of http); a login page means a proxy or a "
    "captive network in between",
)
REDIRECTED_NOWHERE = ACCESS.reason(
    "redirected_nowhere",
    "S3 redirects and does not say where to: check endpoint_url in the Airflow connection (…)",
    "correct endpoint_url (often https in place of http)",
)
WEB_PAGE = ACCESS.reason(
    "firewall_refuses",
    "A firewall or proxy between worker and S3 refuses the request with a web page (…) (…)",
    "it is not S3 that refuses: the page's title is in brackets. Have the worker let through to the store, or correct "
    "endpoint_url",
)
PROXY_REFUSES = ACCESS.reason(
    "proxy_refuses",
    "A firewall or proxy between worker and S3 refuses the connection (…)",
    "the proxy of config_kwargs does not let this worker through to the store: have it allowed, or go without a proxy",
)
PROXY_PASSWORD = ACCESS.reason(
    "proxy_password",
    "A proxy before S3 asks for a password: check proxies in config_kwargs of the Airflow connection (…)",
    "put user and password into the URL of the proxy there",
)
TOKEN_SERVICE_REFUSES = ACCESS.reason(
    "token_service_refuses",
    "S3 cannot be asked: the AWS token service gives no credentials: … (…)",
    "the role of the connection (role_arn) cannot be assumed; the service's own words are in the line",
)
BAD_BUCKET_NAME = ACCESS.reason(
    "bad_bucket_name", "Not a valid bucket name (…)", "correct s3_upload_path in the host system"
)
KEY_TOO_LONG = ACCESS.reason(
    "key_too_long",
    "The key is too long for S3 (…)",
    "correct s3_upload_path in the host system; a key may have 1024 bytes",
)
CERTIFICATE = ACCESS.reason(
    "certificate_not_trusted",
    "The certificate of S3 is not trusted: check endpoint_url and verify in the Airflow connection (SSLError)",
    "name the right host, or the CA file in verify of the connection's extra",
)
BAD_REQUEST = ACCESS.reason(
    "bad_request", "S3 refuses the request (…)", "the log has no more; ask whoever runs the store"
)
REFUSED = ACCESS.reason(
    "store_refuses",
    "S3 refuses: … (…)",
    "the store's own words are in the line; ask whoever runs the store",
)

# --- passing -------------------------------------------------------------------------------------------------------

PASSING = Group("S3: passing")

UNREACHABLE = PASSING.reason(
    "store_unreachable",
    "Network error: S3 cannot be reached (…)",
    "check network and endpoint_url, trigger again",
)
PROXY_UNREACHABLE = PASSING.reason(
    "proxy_unreachable",
    "Network error: the proxy between worker and S3 cannot be reached (…)",
    "check proxies in the connection's config_kwargs, trigger again",
)
TOKEN_SERVICE_AWAY = PASSING.reason(
    "token_service_away",
    "Network error: the AWS token service gives no credentials now (…)",
    "trigger again; check the network between worker and AWS STS",
)
TLS_FAILED = PASSING.reason(
    "tls_failed",
    "Network error: TLS connection to S3 failed (SSLError)",
    "trigger again; if it repeats, look at the network between worker and S3",
)
BROKE = PASSING.reason(
    "connection_broke",
    "Connection to S3 broke (…)",
    "trigger again; if it repeats, look at the network between worker and S3",
)
ENDED_EARLY = PASSING.reason(
    "connection_ended_early",
    "Connection to S3 ended too early",
    "trigger again; if it repeats, look at the network between worker and S3",
)
TOO_SLOW = PASSING.reason(
    "connection_too_slow",
    "Connection to S3 is too slow (… bytes in …s, min_speed_bytes_s is …)",
    "look at the network; where the line is that slow, lower min_speed_bytes_s (0: no limit) or max_concurrency",
)
OVERLOADED = PASSING.reason(
    "store_overloaded",
    "S3 is overloaded or not well (…)",
    "trigger again later; lower max_concurrency or the pool's slots",
)

_NOT_LIKE_S3 = "something in between, or a store that is not S3-compatible enough; open endpoint_url from the worker"
NO_SENSE = PASSING.reason("answer_without_sense", "S3 gave an answer that makes no sense (…)", _NOT_LIKE_S3)
OTHER_RANGE = PASSING.reason("other_range", "S3 sent another range (…) than asked for (…)", _NOT_LIKE_S3)
BAD_RANGE = PASSING.reason("range_without_sense", "S3 sent a range that makes no sense (…)", _NOT_LIKE_S3)
PART_NOT_WHOLE = PASSING.reason("part_not_whole", "S3 sent a part (…), the whole was asked for", _NOT_LIKE_S3)
OTHER_LENGTH = PASSING.reason("other_length", "S3 announced … bytes where … were asked for", _NOT_LIKE_S3)
NO_LENGTH = PASSING.reason("no_length", "S3 did not say how long the object is", _NOT_LIKE_S3)
DOCUMENT = PASSING.reason(
    "document_not_object",
    "S3 sent a document (…) in the object's stead",
    "a login page or an error page of something in between: open endpoint_url from the worker with curl",
)
IGNORES_RANGES = PASSING.reason(
    "ignores_ranges",
    "S3 ignores ranges: it sent another part of the object than asked for",
    "retried only where the store has answered ranges before: " + _NOT_LIKE_S3,
)
