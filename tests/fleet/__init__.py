"""A real distributed run: PostgreSQL, Redis, Airflow and two Celery workers, configured by docker-compose.yaml."""
