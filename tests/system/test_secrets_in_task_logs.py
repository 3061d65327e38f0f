"""Issue 4, item 7, on a real Airflow: a task log with everything at DEBUG has no credential in it."""

import json
import shutil
from http import HTTPStatus

import pytest

from demo.airflow_stack import DAG_ID
from demo.sample_files import PAIR, differences
from demo.stand import Stand

pytestmark = pytest.mark.timeout(180)

SESSION_TOKEN = "IQoJb3JpZ2luX2VjE/a-session-token+that/no-log-may-show=="
LEVEL = "AIRFLOW__LOGGING__LOGGING_LEVEL"
CONNECTION = "AIRFLOW_CONN_AWS_DEFAULT"


def test_no_credential_is_in_the_task_logs_at_debug(stand: Stand):
    for folder in stand.output.iterdir():
        shutil.rmtree(folder)
    api = stand.airflow.api
    usual = stand.s3.airflow_connection()
    with_token = {**usual, "extra": {**usual["extra"], "aws_session_token": SESSION_TOKEN}}
    stand.airflow.restart_scheduler({LEVEL: "DEBUG", CONNECTION: json.dumps(with_token)})
    try:
        answer = api.trigger(DAG_ID, {"raw_file_id": PAIR.raw_file_id})
        assert answer.status == HTTPStatus.OK, answer.body
        state = api.wait_for_run(DAG_ID, answer.body["dag_run_id"])
    finally:
        stand.airflow.restart_scheduler({LEVEL: "INFO", CONNECTION: json.dumps(usual)})

    assert state == "success"
    assert differences(PAIR, stand.instrument, stand.project_output) == []
    logs = [path for path in (stand.airflow.home / "logs").rglob("*.log") if answer.body["dag_run_id"] in str(path)]
    assert len(logs) == 2
    text = "\n".join(path.read_text() for path in logs) + stand.airflow.scheduler.log_file.read_text()
    assert "Sending http request: <AWSPreparedRequest" in text, "else there would be nothing to find"
    assert "X-Amz-Security-Token" in text
    assert "pymongo.command" in text
    for secret in (stand.s3.secret_key, stand.s3.access_key, SESSION_TOKEN, stand.mongo.reader.password):
        assert secret not in text
