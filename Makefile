# DATUM: `make` lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
DEMO ?= demo
BENCHMARK ?= benchmark
OVERLAY ?= default
SETTINGS := manifests/overlays/$(OVERLAY)/settings.env
# No value holds a `!`: the line above make's own says what is wrong with the file.
sound = $(if $(findstring !,$1),$(error $(SETTINGS) is refused),$1)
REGISTRY ?= $(call sound,$(shell manifests/setting.sh $(SETTINGS) REGISTRY || echo !))
TAG ?= $(call sound,$(shell manifests/setting.sh $(SETTINGS) TAG || echo !))
OUTPUT ?= build/manifests/$(OVERLAY)
ENGINE ?=
PLATFORM_BASE ?=
STAGES ?=
KEY ?=
BUILD = $(PYTHON) images/build.py --engine "$(ENGINE)" --registry "$(REGISTRY)" --tag "$(TAG)" \
  --base "$(PLATFORM_BASE)" --stages "$(STAGES)" --key "$(KEY)" $(addprefix --output ,$(IMAGES))

.DEFAULT_GOAL := help
.PHONY: help demo benchmark test lint faults bench base-model start-network lock clean images push pin-bases sbom sign scan \
  test-images doctor kfp deploy undeploy manifests mirror test-cluster

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

demo: .venv/runtime ## Run the whole method on drawn street scenes, on this machine; the report lies in demo/report
	$(BIN)/datum run --profile demo --set generation.labels=source --baselines --output $(DEMO)

benchmark: .venv/runtime ## Measure what drawings and labels in them are worth: five seeds, the report lies in benchmark/report
	$(BIN)/datum run --profile demo --cells --set run.seeds=[1,2,3,4,5] \
		--set adaptation.iterations=1500 --set generation.labeled_count=384 --output $(BENCHMARK)

test: .venv/test lint ## Check and test everything
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/test ## Check style, types, imports, dependencies and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy datum components pipelines
	$(BIN)/mypy images/*.py
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/deptry tests --exclude build --ignore DEP002,DEP004
	$(BIN)/hadolint images/Dockerfile

faults: .venv/test ## Kill, stop and starve every stage, and feed it hostile input, as often as the README says
	DATUM_FAULTS=all DATUM_FAULT_EXAMPLES=10000 $(BIN)/python -m pytest tests/faults
	$(BIN)/python -m tests.faults.run --kills 30 --terms 30

bench: .venv/test ## Measure the speed of what is meant to be fast
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

base-model: .venv/runtime ## Make the demo's base model and its ControlNet anew (15 minutes on a GPU, hours without); resumable
	$(BIN)/python -m datum.streetscenes.model.train --work build/base-model --output datum/streetscenes/model/weights \
	  --controlnet datum/streetscenes/model/controlnet

start-network: .venv/runtime ## Train anew the network that the demo starts from (half an hour on a core); resumable
	$(BIN)/python -m datum.streetscenes.model.start_network --work build/start-network --output datum/streetscenes/model/start

# opencv-python needs a display's libraries, its headless twin does not; `typing` is in Python itself.
LOCK = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-annotate --no-emit-index-url \
  --no-emit-find-links --no-emit-trusted-host --unsafe-package opencv-python --unsafe-package typing \
  --unsafe-package datum

lock: .venv/test ## Resolve the lock files anew from pyproject.toml, the images' among them
	$(BIN)/pip install --quiet pip-tools==7.6.2
	$(LOCK) --extra all --output-file requirements.lock pyproject.toml
	$(LOCK) --extra test --output-file requirements-test.lock pyproject.toml
	$(MAKE) .venv/test
	$(BIN)/python images/lock.py

images: ## Build the five images: REGISTRY= TAG= ENGINE=docker|podman|buildah PLATFORM_BASE= STAGES=
	$(BUILD) build

push: ## Push the images to REGISTRY; build/images.json keeps the digests that pipelines are compiled with
	$(BUILD) push

pin-bases: ## Pin the Dockerfile's Python image to the digest that its registry gives
	$(BUILD) pin-bases

sbom: ## List what each image holds, as CycloneDX, in build/sbom
	$(BUILD) sbom

sign: ## Sign what was pushed, by digest, with cosign: KEY=file or KMS URI; without it, with your identity (Sigstore)
	$(BUILD) sign

scan: ## Look through what was pushed for grave vulnerabilities that can be mended, with trivy
	$(BUILD) scan

# A registry is not needed: without PLATFORM_BASE, debootstrap makes a base.
test-images: IMAGES = build/test-images.json
test-images: .venv/test ## Build the images with buildah and run the whole pipeline in them, with podman
	$(BIN)/python tests/images/containers/base.py
	. build/test-images.env && $(MAKE) images ENGINE=buildah REGISTRY=localhost TAG=test IMAGES=$(IMAGES)
	. build/test-images.env && $(BIN)/python -m pytest tests/images/containers

CLUSTER_TESTS = test_installation test_runs $(if $(FAULTS),test_faults) test_removal
test-cluster: .venv/test ## Try everything on the cluster of the current kube context, after make deploy: OVERLAY=..., FAULTS=1, OUTAGE=seconds
	OVERLAY=$(OVERLAY) $(BIN)/python -m pytest -v $(CLUSTER_TESTS:%=tests/real_cluster/%.py)

doctor: .venv/cluster ## Check the cluster of the current kube context: OVERLAY=default|seaweedfs|minio|kind
	$(BIN)/datum doctor --settings $(SETTINGS)

kfp: ## Install Kubeflow Pipelines 2.17.0 into a cluster that has none
	manifests/deploy.sh kfp

deploy: .venv/cluster ## Install into the cluster, or bring up to date: OVERLAY=default|seaweedfs|minio|kind, SKIP_IMAGES=1
	SKIP_IMAGES=$(SKIP_IMAGES) manifests/deploy.sh deploy $(OVERLAY)

manifests: .venv/cluster ## Write what deploy applies, for Argo CD or Flux: OVERLAY=..., OUTPUT=build/manifests/$(OVERLAY)
	$(BIN)/datum manifests --settings $(SETTINGS) --output $(OUTPUT)

mirror: .venv/cluster ## List every image that an installation pulls, or copy them: OVERLAY=..., MIRROR=registry/path
	@manifests/mirror.sh $(OVERLAY) $(MIRROR)

undeploy: .venv/cluster ## Remove from the cluster what deploy made: OVERLAY=...; data stays
	manifests/deploy.sh undeploy $(OVERLAY)

clean: ## Remove the environment and the demo's output
	rm -rf .venv build $(DEMO)

# The lock files are complete, so nothing is resolved at installation (--no-deps).
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps

.venv/cluster: manifests/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "make: $(PYTHON) is not Python 3.11, which this project is pinned to; set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r manifests/requirements.lock
	$(INSTALL) --no-build-isolation --editable .
	@touch $@

.venv/runtime: .venv/cluster requirements.lock
	$(INSTALL) --require-hashes -r requirements.lock
	@touch $@

.venv/test: .venv/runtime requirements-test.lock
	$(INSTALL) --require-hashes -r requirements-test.lock
	@touch $@
