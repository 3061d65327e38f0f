"""The restore on real parts, on one machine: `make demo`, and the servers that tests use.

| module            | holds                                                                          |
| ----------------- | ------------------------------------------------------------------------------ |
| `processes`       | child processes that never outlive us, ports, waiting with a clear error       |
| `s3_server`       | an S3 server (stand-in: moto)                                                  |
| `mongo_server`    | a MongoDB server with users and roles (stand-in: SecantusDB)                   |
| `sample_files`    | seeded raw files, uploaded and documented as the uploader of the host does     |
| `airflow_stack`   | a whole Airflow 3: api-server, scheduler, dag-processor; SQLite, LocalExecutor |
| `airflow_api`     | the few REST calls to trigger and to follow a run                              |
| `stand`           | all of the above wired together, with the settings YAML                        |
| `story`           | what `make demo` shows, and the checks that it really happened                 |
| `__main__`        | lock, signals, exit code                                                       |
"""
