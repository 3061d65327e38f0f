# Two commands do everything: `make demo` and `make test`. The others are their parts.
.DEFAULT_GOAL := help
.PHONY: help setup lock demo test test-unit test-functional test-dags test-system screenshots lint format image-check up down clean

PYTHON ?= python3.11
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Airflow has 1,400 modules: a machine that forbids to keep them compiled would compile them in each of a hundred processes.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPATH := $(CURDIR)/airflow_src/dags:$(CURDIR)/airflow_src/plugins
UV_COMPILE := $(BIN)/uv pip compile --quiet --python-version 3.11 --custom-compile-command "make lock"
PYTEST := $(BIN)/python -m pytest
COMPOSE ?= docker compose
AIRFLOW_SERVICES := airflow-apiserver airflow-scheduler airflow-dag-processor airflow-triggerer airflow-worker

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with everything that demo, tests and lint need

$(STAMP): tests/requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@echo "Installing the locked requirements into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --requirements tests/requirements.lock
	@touch $@

lock: setup ## resolve requirements.txt files into the lock files
	$(UV_COMPILE) requirements.txt --output-file requirements.lock
	$(UV_COMPILE) tests/requirements.txt --constraints requirements.lock --output-file tests/requirements.lock
	$(UV_COMPILE) airflow_src/docker/requirements.txt --constraints requirements.lock \
	    --output-file airflow_src/docker/requirements.lock
	$(UV_COMPILE) tests/airflow2/requirements.txt --override tests/airflow2/overrides.txt \
	    --output-file tests/airflow2/requirements.lock

demo: setup ## restore sample files with a real Airflow, then stay up (DEMO_EXIT=1: end by itself)
	@$(BIN)/python -m demo

test: setup lint ## lint, types and all tests, in two processes
	$(PYTEST) tests --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-unit: setup ## pure logic, seconds
	$(PYTEST) tests/unit

test-functional: setup ## real S3 and MongoDB servers over sockets
	$(PYTEST) tests/functional

test-dags: setup ## DAG structure and import
	$(PYTEST) tests/dags

test-system: setup ## a whole Airflow
	$(PYTEST) tests/system

screenshots: setup ## make the pictures in design_docs/screenshots anew, with the browser test (needs chromium)
	@command -v chromium >/dev/null || { echo "No chromium. Debian: apt-get install chromium" >&2; exit 1; }
	folder=$$(mktemp -d /tmp/kraken.XXX) && trap 'rm -rf "$$folder"' EXIT && \
	    SCREENSHOTS=design_docs/screenshots $(PYTEST) tests/system/test_browser.py --basetemp="$$folder/s"

lint: setup ## ruff, mypy and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## let ruff rewrite the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

image-check: setup ## run the install steps of the Dockerfile in a clean environment, without an engine
	$(PYTEST) tests/packaging/test_image.py

# The one-shot services are not waited for: `up --wait` takes a container that has ended well for a failure.
up: .env ## start docker-compose.yaml and wait until it is healthy (writes .env when there is none)
	@output=$$(sed -n 's/^KRAKEN_OUTPUT_DIR=//p' .env); test -d "$$output" || \
	    { echo "KRAKEN_OUTPUT_DIR=$$output in .env is no folder: is the share mounted?" >&2; exit 1; }
	$(COMPOSE) up --build --detach
	$(COMPOSE) up --detach --wait $(AIRFLOW_SERVICES)

down: ## stop what `make up` started; volumes and restored files stay
	$(COMPOSE) down

.env:
	@python3 airflow_src/docker/make_env.py

clean: ## remove the environment and everything generated
	rm -rf $(VENV) $(VENV2) $(FLEET_VENV) .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- benchmarks: their own environment, because aws-cli and the product pin botocore differently ---
.PHONY: bench bench-setup bench-lock
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed

bench-setup: setup $(BENCH_STAMP) ## the tools that make bench compares with (nginx needs root once)
	@sh benchmarks/install_nginx.sh

$(BENCH_STAMP): benchmarks/requirements.lock
	@test -x $(BENCH_VENV)/bin/python || $(BIN)/python -m venv --without-pip $(BENCH_VENV)
	@VIRTUAL_ENV=$(BENCH_VENV) $(BIN)/uv pip install --quiet --requirements benchmarks/requirements.lock
	@touch $@

bench: bench-setup ## compare with other tools (ROUNDS=5 CASES=http,tls SIZE_MIB=1024 PUBLISH=1: benchmarks/README.md)
	@$(BIN)/python -m benchmarks

bench-lock: setup ## resolve benchmarks/requirements.txt into its lock file
	$(BIN)/uv pip compile --quiet --python-version 3.11 --custom-compile-command "make bench-lock" benchmarks/requirements.txt --output-file benchmarks/requirements.lock

# --- endurance: what make test plays for seconds, for minutes ---
.PHONY: chaos soak

chaos: setup ## random faults against invariants (N=500 SEED=7; ONE=7000123 plays one scenario again)
	@$(BIN)/python -m tests.chaos

soak: setup ## 1,000 restores in one process: no growth of memory, files or threads (N=1000)
	@SOAK_RESTORES=$${N:-1000} $(PYTEST) -s tests/functional/test_soak.py

# --- hosts: the other Airflow line, and the way into a deployment with packages of its own ---
.PHONY: test-airflow2 drop-in
VENV2 := .venv-airflow2
STAMP2 := $(VENV2)/.installed
TESTS2 ?= tests/dags tests/drop_in tests/functional/test_batch.py tests/functional/test_database.py \
    tests/functional/test_ensure_local.py tests/functional/test_handler_*.py tests/functional/test_restore_metrics.py \
    tests/functional/test_s3_utils.py tests/functional/test_security.py tests/system/test_s3_downloader_runs.py \
    tests/system/test_task_ends.py::test_mark_failed_gives_a_report_at_once_and_clearing_resumes \
    tests/system/test_batch_runs.py

$(STAMP2): tests/airflow2/requirements.lock | setup
	@test -x $(VENV2)/bin/python || $(BIN)/python -m venv --without-pip $(VENV2)
	@echo "Installing Airflow 2.11 into $(VENV2) ..."
	@VIRTUAL_ENV=$(VENV2) $(BIN)/uv pip install --quiet --requirements tests/airflow2/requirements.lock
	@touch $@

test-airflow2: $(STAMP2) ## the same files on Airflow 2.11: DAGs, tasks, whole runs, drop-in (TESTS2=tests/dags for a part)
	$(VENV2)/bin/python -m pytest $(TESTS2) --numprocesses 2 --dist loadfile --no-loadscope-reorder

drop-in: ## copy the feature into a deployment with packages of its own (DEST=/path/to/host/airflow_src)
	@python3 airflow_src/drop_in/copy_into_host.py "$(DEST)"

# --- a fleet: the environment of the image, and the servers of docker-compose.yaml as Debian packages ---
.PHONY: test-fleet fleet-setup
FLEET_VENV := .venv-fleet
FLEET_STAMP := $(FLEET_VENV)/.installed

fleet-setup: setup $(FLEET_STAMP)
	@sh tests/fleet/install_servers.sh

$(FLEET_STAMP): airflow_src/docker/requirements.lock
	@test -x $(FLEET_VENV)/bin/python || $(BIN)/python -m venv --without-pip $(FLEET_VENV)
	@VIRTUAL_ENV=$(FLEET_VENV) $(BIN)/uv pip install --quiet --requirements airflow_src/docker/requirements.lock
	@touch $@

test-fleet: fleet-setup ## docker-compose.yaml without containers: two workers, Redis, PostgreSQL (needs root once, for these)
	$(PYTEST) tests/fleet
