#!/usr/bin/env bash
# Brings the metadata database to the state the services need. Runs at every start, so each step may find its work done.
set -euo pipefail

POOL=s3_download_pool
POOL_SLOTS=2

: "${AIRFLOW_ADMIN_USER:?airflow-init.sh: AIRFLOW_ADMIN_USER is not set}"
: "${AIRFLOW_ADMIN_PASSWORD:?airflow-init.sh: AIRFLOW_ADMIN_PASSWORD is not set}"
: "${AIRFLOW_ADMIN_EMAIL:?airflow-init.sh: AIRFLOW_ADMIN_EMAIL is not set}"

echo "airflow-init: migrating the metadata database"
airflow db migrate

# Only when missing: an operator may have given the pool other slots, and a restart must not undo that.
if airflow pools get "$POOL" >/dev/null 2>&1; then
  echo "airflow-init: pool $POOL exists"
else
  airflow pools set "$POOL" "$POOL_SLOTS" "Limit concurrent S3 downloads"
fi

# Leaves an existing user and its password alone.
airflow users create --username "$AIRFLOW_ADMIN_USER" --password "$AIRFLOW_ADMIN_PASSWORD" --email "$AIRFLOW_ADMIN_EMAIL" \
  --firstname Kraken --lastname Admin --role Admin

echo "airflow-init: done"
