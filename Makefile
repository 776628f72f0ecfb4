# `make help` lists the targets. What is built goes under build/ and .venv/.
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
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(STAMP) ## Make .venv with everything the controller and the tests need

$(STAMP): requirements/controller.txt pyproject.toml tools/make_venv.sh
	tools/make_venv.sh $(VENV)
	touch $@

.PHONY: lock
lock: $(STAMP) ## Lock requirements/*.in to versions with hashes
	tools/lock.sh

.PHONY: model
model: $(MODELS)/mms.conf ## Train the digits model and write its archive, mms.conf and images

$(MODELS)/mms.conf: $(STAMP) examples/digits.py $(wildcard mms_server/export/*.py)
	@echo "== Training the digits model"
	$(BIN)/python examples/digits.py --output $(MODELS)

# What all test hosts need.
.PHONY: share
share: $(STAMP)
	@echo "== Test hosts: packages, image, shared file system, boot"
	$(TESTHOSTS) prerequisites
	$(TESTHOSTS) image
	$(TESTHOSTS) nfs start

.PHONY: hosts
hosts: share ## Boot the test hosts of inventory/local and the shared file system
	$(TESTHOSTS) create --group mms

.PHONY: up
up: hosts model ## Boot two local hosts, run site.yml on them and make a prediction
	@echo "== Configuring the hosts: ansible-playbook -i inventory/local site.yml"
	$(BIN)/ansible-playbook -i inventory/local site.yml

.PHONY: down
down: ## Remove all that `make up` made: hosts, network, shared files, build/ and .venv
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
lint: $(STAMP) ## Check style, types, playbooks, shell scripts and generated files
	tools/lint.sh

.PHONY: unit
unit: $(STAMP) ## Unit tests: fast, no network
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q -n 2 --junitxml=$(REPORTS)/unit.xml tests/unit

.PHONY: http
http: $(STAMP) ## Tests against a real server process on loopback
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q -n 2 --junitxml=$(REPORTS)/http.xml tests/http

.PHONY: compat
compat: $(STAMP) ## What MXNet Model Server 0.4 answered, against what we answer
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q --junitxml=$(REPORTS)/compat.xml tests/compat

.PHONY: compat-record
compat-record: $(STAMP) ## Build MXNet Model Server 0.4 and record its answers again (Python 2.7)
	tests/compat/record/setup.sh $(CURDIR)/build/compat/original
	$(BIN)/python -m tests.compat.record.make_pictures
	build/compat/original/venv/bin/python tests/compat/record/python2/make_archives.py $(CURDIR)/tests/compat/archives
	$(BIN)/python -m tests.compat.record.record

.PHONY: fuzz-ci
fuzz-ci: $(STAMP) ## Fuzz for a minute, with the same examples on every run
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q --junitxml=$(REPORTS)/fuzz.xml tests/fuzz

.PHONY: fuzz
fuzz: SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
fuzz: $(STAMP) ## Fuzz for long, from a random seed (SEED=... repeats a run)
	@echo "== Fuzzing from seed $(SEED)"
	$(BIN)/pytest -q --timeout=0 --hypothesis-profile=long --hypothesis-seed=$(SEED) tests/fuzz

# What needs one core at a time, as hosts that start do: `make test` runs it beside those.
.PHONY: beside-hosts
beside-hosts:
	$(MAKE) --jobs=1 compat
	$(MAKE) --jobs=1 fuzz-ci
	$(MAKE) --jobs=1 aws

.PHONY: aws
aws: $(STAMP) ## The AWS roles against an emulated account: build, build again, check, tear down
	mkdir -p $(REPORTS)
	$(BIN)/pytest -q --junitxml=$(REPORTS)/aws.xml --ignore=tests/aws/test_end_to_end.py tests/aws

.PHONY: aws-hosts
aws-hosts: share model ## From an empty emulated account to test hosts that serve, one started by itself
	mkdir -p $(REPORTS)
	$(BIN)/pytest -v --junitxml=$(REPORTS)/aws-hosts.xml tests/aws/test_end_to_end.py

.PHONY: molecule
molecule: $(STAMP) model ## Roles, playbooks and situations on real hosts
	$(TESTHOSTS) prerequisites
	mkdir -p $(REPORTS)
	$(BIN)/molecule destroy
	$(BIN)/molecule test --no-command-borders --destroy=never
	$(BIN)/pytest -v -m fleet --junitxml=$(REPORTS)/fleet.xml tests/integration tests/hosts
	$(BIN)/molecule destroy

.PHONY: soak
soak: export MMS_SOAK := 1
soak: molecule aws aws-hosts ## The same with the long proofs whole: 200 swaps, every step killed (about an hour)

.PHONY: fleet
fleet: share model ## Rolling changes and failures of three hosts behind a balancer, under load (long)
	mkdir -p $(REPORTS) build/testhosts/efs/fleet
	$(TESTHOSTS) create --group fleet
	$(TESTHOSTS) create --group fleet_balancer
	$(BIN)/ansible-playbook -i inventory/local site.yml -e mms_hosts=fleet
	MMS_SOAK=1 MMS_TEST_GROUP=fleet MMS_TEST_BALANCER=fleet-lb \
		$(BIN)/pytest -v --junitxml=$(REPORTS)/fleet.xml tests/integration/fleet
	$(TESTHOSTS) destroy fleet-1 fleet-2 fleet-3 fleet-lb

.PHONY: bench
bench: $(STAMP) model ## Measure beside the raw limit, and beside what users would pick instead (half an hour)
	$(BIN)/python -m tests.bench --window-s 10 \
		--peers mms-0.4 multi-model-server multi-model-server-batches litserve torchserve

.PHONY: bench-quick
bench-quick: $(STAMP) model ## Measure beside the raw limit of the models, in about three minutes
	$(BIN)/python -m tests.bench

.PHONY: test-fast
test-fast: $(STAMP) ## Unit tests but the slow ones, and the quick half of lint, in under a minute
	$(BIN)/pytest -q -n 2 -m "not slow" tests/unit
	tools/lint.sh --fast

.PHONY: test
test: ## Everything: lint, unit, http, hosts and AWS; ends with the sum of all tests
	rm -rf $(REPORTS)
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) http
	$(MAKE) molecule
	$(MAKE) --jobs=2 --output-sync=target aws-hosts beside-hosts
	$(BIN)/python tools/sum_reports.py $(REPORTS)
