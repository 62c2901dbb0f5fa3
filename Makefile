# The daily commands. Continuous integration does the same from scratch: see .ci/run.

PYTHON ?= python3

.PHONY: help check test bench docs

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

check:  ## format, lint and types: what a reviewer need not look for
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy

test:  ## every test
	$(PYTHON) -m pytest

bench:  ## figures, always beside those of a yardstick in the same run
	$(PYTHON) -m bench

docs:  ## run what the README, the examples and the help texts show
	$(PYTHON) -m pytest tests/test_docs.py
