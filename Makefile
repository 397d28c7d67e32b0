.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench bench-check clean

help: ## what can be made here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## install everything into .venv/
	@bash scripts/setup.sh

demo: setup ## build a catalog, watch a clip, show the matches
	@.venv/bin/magpie demo

test: setup ## lint, types and all tests
	@bash scripts/install_test_tools.sh
	@$(MAKE) --no-print-directory lint
	@.venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: setup ## ruff and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

bench: setup ## latency and throughput on this machine
	@.venv/bin/magpie bench end-to-end

bench-check: setup ## are the ratios of benchmarks/budgets.toml kept (3 minutes)
	@.venv/bin/magpie bench check

clean: ## remove what was made here
	rm -rf .venv demo-output bench-output
