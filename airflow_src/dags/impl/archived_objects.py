"""Objects in an archive class: asks S3 to bring them back, and says that the restore has to wait (S6)."""

from collections.abc import Sequence

from impl import refusals
from impl.patient_operator import NotReadyYetError
from impl.refusals import refusal
from s3_restore.model.exceptions import ObjectStoreError, TransientStoreError
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectVersion
from s3_restore.run.restore_plan import RestorePlan
from s3_restore.s3.s3_object_store import S3ObjectStore

_ARCHIVE_DAYS = 7  # how long S3 keeps an object readable that it brought back


def wait_for_archived(plan: RestorePlan, store: S3ObjectStore) -> None:
    """Ask S3 for the archived objects of a plan, and wait for them; returns when there is none.

    Raises:
        NotReadyYetError: when there are some, as they take hours to come, or when S3 could not be asked in passing.
        AirflowFailException: if S3 refuses.

    """
    archived = [(file.spec, file.archived) for file in plan.files if file.archived]
    asked = _ask_for(store, [(spec, version) for spec, version in archived if not version.coming_back])
    if plan.is_passing:
        # Whether more of them are archived is not known: a download that is begun now would fail for them.
        raise NotReadyYetError(f"S3 could not be asked for every file ({plan.unasked_because})")
    if archived:
        raise NotReadyYetError(
            f"{len(archived)} archived objects are coming back, {asked} of them were asked for now "
            f"(class {', '.join(sorted({version.storage_class for _, version in archived}))}: it takes S3 hours)"
        )


def _ask_for(store: S3ObjectStore, objects: Sequence[tuple[FileSpec, ObjectVersion]]) -> int:
    for count, (spec, version) in enumerate(objects):
        try:
            store.bring_back(spec.bucket, spec.key, version, _ARCHIVE_DAYS)
        except TransientStoreError as error:
            raise NotReadyYetError(
                f"{count} archived objects were asked for, then S3 failed in passing: {error}"
            ) from None
        except ObjectStoreError as error:
            raise refusal(refusals.MAY_NOT_BRING_BACK.of(error).because_of(error.failure)) from None
    return len(objects)
