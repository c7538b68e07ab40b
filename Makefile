# callboard: every target sets up what it needs, in a virtual environment of its own (.venv), and does so again
# only when pyproject.toml has changed. Needs: make, Python 3.11 or newer with venv.
#
#   make PYTHON=/opt/python3.13/bin/python3     another Python
#   make demo ARGS="--port 9000"                arguments for `callboard demo`
#   make test ARGS="-k registry -x"             arguments for pytest
#   make bench ARGS="kernel --quick"            which benchmarks, and their options
#   make soak MINUTES=10                        a shorter soak

PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
VENV := .venv
BIN := $(VENV)/bin
# -qq: errors only; warnings tell of the machine's own pip settings.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
ARGS ?=
SCENARIOS := kernel savina delivery journal appends tokens storm reconnect idle neighbour churn growth

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help demo test bench check check-long soak clean

help: ## show this list
	@printf '\n  \033[1mcallboard\033[0m\n\n'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; \
		do printf '  make \033[36m%-10s\033[0m %s\n' "$$target" "$$text"; done
	@printf '\n'

demo: $(VENV)/.installed ## start a node with a real agent and its page, and open the page
	@$(BIN)/callboard demo $(ARGS)

test: $(VENV)/.installed-dev ## run all tests
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		echo 'callboard: chromium is missing and tests in the browser are skipped; run: apt-get install chromium'
	@$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.installed-bench ## measure callboard and its peers, side by side
	@$(BIN)/python -m benchmarks $(if $(ARGS),$(ARGS),$(SCENARIOS))

check: $(VENV)/.installed-dev ## formatting, lint, types and layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

check-long: $(VENV)/.installed-fuzz ## the tests that take minutes or a quiet machine
	@$(BIN)/python -m pytest -m long $(ARGS)

$(VENV)/.installed-fuzz: $(VENV)/.installed-dev
	@echo 'callboard: installing what the long tests need besides'
	@$(PIP_INSTALL) --editable '.[fuzz]'
	@touch $@

MINUTES ?= 60
soak: $(VENV)/.installed-dev ## a node under churn for MINUTES (60), and whether all is back at the baseline
	@$(BIN)/python -m tests.integration.soak --minutes $(MINUTES)

clean: ## remove the virtual environment, caches and built files
	@rm -rf $(VENV) build dist src/callboard.egg-info .coverage htmlcov
	@rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv puts in: an environment without it was not finished.
$(BIN)/pip:
	@found=; for python in $(PYTHON); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo 'callboard: needs Python 3.11 or newer; run: apt-get install python3 python3-venv' >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "callboard: $$found cannot make a virtual environment; run: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	echo "callboard: setting up $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo 'callboard: installing what a node needs'
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/pip
	@echo 'callboard: installing what the benchmarks need'
	@$(PIP_INSTALL) --editable '.[bench]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/pip
	@echo 'callboard: installing what tests and checks need'
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed $(VENV)/.installed-bench $@
