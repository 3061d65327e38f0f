"""What can be wrong with the database, as data (see ``s3_restore.model.reasons``)."""

from s3_restore.model.reasons import Group

MONGODB = Group("MongoDB")

MONGODB_UNREACHABLE = MONGODB.reason(
    "mongodb_unreachable",
    "MongoDB cannot be reached: check MONGO_HOST and MONGO_PORT, and that it runs (…)",
    "Airflow retries it; do what the line says",
)
MONGODB_LOGIN = MONGODB.reason(
    "mongodb_wrong_password",
    "MongoDB refuses user or password: check MONGO_USER and MONGO_PASSWORD (code …)",
    "Airflow retries it; do what the line says",
)
MONGODB_DENIED = MONGODB.reason(
    "mongodb_denied",
    "MongoDB denies reading: the user needs the role 'read' on krakendb (code …)",
    "Airflow retries it; grant the role",
)
MONGODB_REFUSES = MONGODB.reason(
    "mongodb_refuses",
    "MongoDB refuses the query (code …)",
    "Airflow retries it; look up the code, ask whoever runs the database",
)
MONGODB_CANNOT_BE_ASKED = MONGODB.reason(
    "mongodb_cannot_be_asked",
    "MongoDB cannot be asked (…)",
    "Airflow retries it; ask whoever runs the database",
)
MONGO_PORT = MONGODB.reason(
    "mongo_port",
    "Environment variable MONGO_PORT: expected a number from 1 to …, got …",
    "Airflow retries it; correct it on the worker",
)
