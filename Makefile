# `make` alone shows what there is.  All set-up is done by the targets themselves; see README.md.

PYTHON ?= python3
VENV   ?= .venv
DATA   ?= data
# The ports of a try-out: 80 and 443 would need root on both sides.  An empty SET runs config.toml as it is.
SET    ?= --set validation.http_port=5002 --set validation.tls_alpn_port=14443 --set test_sites.zone=test.localhost

export PYTHON VENV
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run run-public demo test test-long fuzz world conformance bench check format lock clean setup-run setup-demo setup-test

help: ## this screen
	@echo 'A certificate authority: ACME in front, an HSM behind, evidence in between.'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo
	@echo '  First time here?  make demo   then   make run.   README.md has the rest.'

run: setup-run ## set everything up, then run the CA (Ctrl-C stops it)
	@exec $(BIN)/acme-server run --config config.toml --data $(DATA) $(SET)

run-public: setup-test ## the public rules on loopback, with our own DNS (deploy/public-loopback.toml)
	@exec $(BIN)/python scripts/run-public $(DATA)-public

demo: setup-demo ## a throw-away CA, certbot, openssl: issue, verify, revoke; under a minute
	@exec $(BIN)/python -m operations.demo

test: setup-test ## the tests, in two processes (at most 8 minutes on 2 cores)
	$(BIN)/python -m pytest -p xdist -n 2 --dist loadfile

test-long: setup-test ## the long tests: crash matrix, every client, fuzz (at most 22 minutes)
	$(BIN)/python -m pytest -m long || [ $$? -eq 5 ]

fuzz: setup-test ## a minute of fuzzing for every reader that strangers' octets meet (SECONDS=60)
	@for target in dns caa issue_value redirect http name jws csr identifier certid binding \
	    ocsp_request ocsp_path ocsp_http; do \
	  $(BIN)/python -m tests.fuzz $$target -max_total_time=$(or $(SECONDS),60) -max_len=4096 || exit 1; done

world: setup-test ## a hostile Internet of our own to look at: names, attacks, what perspectives say of them
	@exec $(BIN)/python -m tests.world

conformance: setup-test ## draw docs/conformance.md anew, after a change of the catalogue or of marks
	$(BIN)/python -m tests.conformance > docs/conformance.md.new
	@mv docs/conformance.md.new docs/conformance.md

bench: setup-test ## ACME flows against this CA and pebble; vault; validation; status; bench/*.md
	$(BIN)/python -m bench
	$(BIN)/python -m bench.vault
	$(BIN)/python -m bench.validation
	$(BIN)/python -m bench.status

check: setup-test ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-test ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## pin the newest dependencies again (requirements/*.txt)
	@scripts/lock

clean: ## remove what the targets made, but never a CA's data directory
	rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -exec rm -rf {} +
	rm -rf $(VENV)

setup-run:
	@scripts/system-packages run
	@scripts/system-users
	@scripts/venv runtime

setup-demo:
	@scripts/system-packages demo
	@scripts/venv runtime

setup-test:
	@scripts/system-packages test
	@scripts/venv development
