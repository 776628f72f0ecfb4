# `make help` lists the targets. Build results are in build/ and .venv/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
MODELS := build/models
TESTHOSTS := $(BIN)/python -m testhosts
REPORTS := build/reports

export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## Show this list of targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(STAMP) ## Create .venv with the dependencies of the controller and the tests

$(STAMP): requirements/controller.txt pyproject.toml tools/make_venv.sh
	tools/make_venv.sh $(VENV)
	touch $@

.PHONY: lock
lock: $(STAMP) ## Lock requirements/*.in to exact versions with hashes
	tools/lock.sh

.PHONY: model
model: $(MODELS)/mms.conf ## Train the digits model; write its archive, mms.conf and test images

$(MODELS)/mms.conf: $(STAMP) examples/digits.py $(wildcard mms_server/export/*.py)
	@echo "== Training the digits model"
	$(BIN)/python examples/digits.py --output $(MODELS)

# Prerequisites of all test hosts.
.PHONY: hosts-prepare
hosts-prepare: $(STAMP)
	@echo "== Test hosts: packages, image, shared file system"
	$(TESTHOSTS) prerequisites
	$(TESTHOSTS) image
	$(TESTHOSTS) nfs start

.PHONY: hosts
hosts: hosts-prepare ## Boot the test hosts of inventory/local and the shared file system
	$(TESTHOSTS) create --group mms

.PHONY: up
up: hosts model ## Boot two test hosts, run site.yml on them and make a prediction
	@echo "== Configuring the hosts: ansible-playbook -i inventory/local site.yml"
	$(BIN)/ansible-playbook -i inventory/local site.yml

.PHONY: down
down: ## Undo `make up`: remove hosts, network, shared files, build/ and .venv
	if [ -x $(BIN)/python ]; then $(TESTHOSTS) down --image; fi
	rm -rf build $(VENV)

.PHONY: format
format: $(STAMP) ## Format the Python code
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format

.PHONY: generate
generate: $(STAMP) ## Write the files that are made from others: role variables, READMEs, tables
	$(BIN)/python tools/generate.py

.PHONY: lint
lint: $(STAMP) ## Check style, types, imports, playbooks, shell scripts and generated files
	tools/lint.sh

.PHONY: unit
unit: $(STAMP) ## Run the unit tests: fast, no network
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q -n 2 --junitxml=$(REPORTS)/unit.xml tests/unit

.PHONY: http
http: $(STAMP) ## Run the HTTP tests against a real server process on loopback
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q -n 2 --junitxml=$(REPORTS)/http.xml tests/http

.PHONY: compat
compat: $(STAMP) ## Compare our responses with the recorded ones of MXNet Model Server 0.4
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q --junitxml=$(REPORTS)/compat.xml tests/compat

.PHONY: compat-record
compat-record: $(STAMP) ## Build MXNet Model Server 0.4 (Python 2.7) and record its responses again
	tests/compat/record/setup.sh $(CURDIR)/build/compat/original
	$(BIN)/python -m tests.compat.record.make_pictures
	build/compat/original/venv/bin/python tests/compat/record/python2/make_archives.py $(CURDIR)/tests/compat/archives
	$(BIN)/python -m tests.compat.record.record

.PHONY: fuzz-quick
fuzz-quick: $(STAMP) ## Fuzz for a minute, with the same examples in every run
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q --junitxml=$(REPORTS)/fuzz.xml tests/fuzz

.PHONY: fuzz
fuzz: SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
fuzz: $(STAMP) ## Fuzz for a long time, from a random seed (SEED=... repeats a run)
	@echo "== Fuzzing from seed $(SEED)"
	$(BIN)/pytest -q --timeout=0 --hypothesis-profile=long --hypothesis-seed=$(SEED) tests/fuzz

# Tests that use one core each, run one after the other. `make test` runs them in parallel with aws-e2e, which also uses one
# core most of the time.
.PHONY: test-single-core
test-single-core:
	$(MAKE) --jobs=1 compat
	$(MAKE) --jobs=1 fuzz-quick
	$(MAKE) --jobs=1 aws

.PHONY: aws
aws: $(STAMP) ## Test the AWS roles in an emulated account: create, repeat, check mode, tear down
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q --junitxml=$(REPORTS)/aws.xml --ignore=tests/aws/test_end_to_end.py tests/aws

.PHONY: aws-e2e
aws-e2e: hosts-prepare model ## End-to-end test: from an empty emulated AWS account to test hosts that serve
	mkdir -p $(REPORTS)
	$(BIN)/pytest -v --junitxml=$(REPORTS)/aws-e2e.xml tests/aws/test_end_to_end.py

.PHONY: molecule
molecule: $(STAMP) model ## Test the roles and playbooks on test hosts, and run the integration tests there
	$(TESTHOSTS) prerequisites
	mkdir -p $(REPORTS)
	$(BIN)/molecule destroy
	$(BIN)/molecule test --no-command-borders --destroy=never
	$(BIN)/pytest -v -m fleet --junitxml=$(REPORTS)/fleet.xml tests/integration tests/hosts
	$(BIN)/molecule destroy

.PHONY: soak
soak: export MMS_SOAK := 1
soak: molecule aws aws-e2e ## Run molecule, aws and aws-e2e in full length: 200 swaps, a kill at every step (an hour)

.PHONY: fleet
fleet: hosts-prepare model ## Test roll-outs and failures on three hosts behind HAProxy, under load (long)
	mkdir -p $(REPORTS) build/testhosts/efs/fleet
	$(TESTHOSTS) create --group fleet
	$(TESTHOSTS) create --group fleet_balancer
	$(BIN)/ansible-playbook -i inventory/local site.yml -e mms_hosts=fleet
	MMS_SOAK=1 MMS_TEST_GROUP=fleet MMS_TEST_BALANCER=fleet-lb \
		$(BIN)/pytest -v --junitxml=$(REPORTS)/fleet.xml tests/integration/fleet
	$(TESTHOSTS) destroy fleet-1 fleet-2 fleet-3 fleet-lb

.PHONY: bench
bench: $(STAMP) model ## Benchmark against a bare MXNet loop and other servers (half an hour)
	$(BIN)/python -m tests.bench --window-s 10 \
		--peers mms-0.4 multi-model-server multi-model-server-batches litserve torchserve

.PHONY: bench-quick
bench-quick: $(STAMP) model ## Benchmark against a bare MXNet loop (about three minutes)
	$(BIN)/python -m tests.bench

.PHONY: test-fast
test-fast: $(STAMP) ## Run the fast unit tests and the fast half of lint, in under a minute
	$(BIN)/pytest -q -n 2 -m "not slow" tests/unit
	tools/lint.sh --fast

.PHONY: test
test: ## Run everything: lint, unit, HTTP, host and AWS tests; prints the total at the end
	rm -rf $(REPORTS)
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) http
	$(MAKE) molecule
	$(MAKE) --jobs=2 --output-sync=target aws-e2e test-single-core
	$(BIN)/python tools/sum_reports.py $(REPORTS)

# Names of version 0.1, kept for one version.
.PHONY: fuzz-ci aws-hosts
fuzz-ci: fuzz-quick
aws-hosts: aws-e2e
