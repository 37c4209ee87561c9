# DATUM: `make` lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
DEMO ?= demo
OVERLAY ?= default

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench base-model lock clean doctor kfp deploy undeploy

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

demo: .venv/runtime ## Run the whole method on drawn street scenes, on this machine; the report lies in demo/report
	$(BIN)/datum run --profile demo --output $(DEMO)

test: .venv/test lint ## Check and test everything
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/test ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy datum components pipelines

bench: .venv/test ## Measure the speed of what is meant to be fast
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

base-model: .venv/runtime ## Make the demo's base model anew (15 minutes on a GPU, hours without); resumable
	$(BIN)/python -m datum.base_model.train --work build/base-model --output datum/base_model/streetscenes

lock: .venv/test ## Resolve the lock files anew from pyproject.toml
	@# opencv-python needs a display's libraries, its headless twin does not; `typing` is in Python itself.
	$(BIN)/pip install --quiet pip-tools==7.6.2
	@for extra in "" test; do \
	  $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-annotate --no-emit-index-url \
	    --no-emit-find-links --no-emit-trusted-host --unsafe-package opencv-python --unsafe-package typing \
	    $${extra:+--extra $$extra} --output-file requirements$${extra:+-$$extra}.lock pyproject.toml; \
	done

doctor: .venv/runtime ## Check the cluster of the current kube context: OVERLAY=default|minio|kind
	$(BIN)/datum doctor --settings manifests/overlays/$(OVERLAY)/settings.env

kfp: ## Install Kubeflow Pipelines 2.17.0 into a cluster that has none
	manifests/deploy.sh kfp

deploy: .venv/runtime ## Install into the cluster, or bring up to date: OVERLAY=default|minio|kind, SKIP_IMAGES=1
	SKIP_IMAGES=$(SKIP_IMAGES) manifests/deploy.sh deploy $(OVERLAY)

undeploy: .venv/runtime ## Remove from the cluster what deploy made: OVERLAY=...; data stays
	manifests/deploy.sh undeploy $(OVERLAY)

clean: ## Remove the environment and the demo's output
	rm -rf .venv build $(DEMO)

# The lock files are complete, so nothing is resolved at installation (--no-deps).
.venv/runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "make: $(PYTHON) is not Python 3.11, which this project is pinned to; set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test: .venv/runtime requirements-test.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements-test.lock
	@touch $@
