# `make demo`, `make test` and `make docs` need nothing but Python 3.11 or later (and a network for pip).
# Choose another one with `make test PYTHON=python3.12`.

PYTHON := $(shell for python in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)
ifeq ($(PYTHON),)
$(error flask_bokeh needs Python 3.11 or later; found none. Try: make $(MAKECMDGOALS) PYTHON=/path/to/python)
endif

VERSION := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := .venv-$(VERSION)
LOWEST := .venv-lowest-$(VERSION)
UNIT := .venv-unit-$(VERSION)
PORT := 5000
PARALLEL := --numprocesses 4 --dist loadfile
TESTS := $(PARALLEL) tests example_app

# Python's own monitoring, from 3.12 on, costs least.
SYSMON := $(if $(filter 3.11,$(VERSION)),,COVERAGE_CORE=sysmon)

# Without Node.js, the checks of the browser's code are left out.
NODE := $(shell node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' 2>/dev/null \
	&& command -v npm)

.PHONY: demo docs test test-unit test-lowest coverage lint lint-js clean

demo: $(VENV)/demo-installed  ## Serve the example site.
	@$(VENV)/bin/gunicorn --worker-class gthread --threads 8 --bind 127.0.0.1:$(PORT) "example_app:create_app()"

docs: $(VENV)/docs-installed  ## Build the documentation. Warnings are errors.
	$(VENV)/bin/python -m sphinx --builder html --fresh-env --write-all --nitpicky \
		--fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "The documentation is in docs/_build/html/index.html"

test: $(VENV)/test-installed lint  ## Run all tests, browser included.
	$(VENV)/bin/python -m tests.support.programs
	$(VENV)/bin/python -m pytest $(TESTS)

coverage: $(VENV)/test-installed  ## Run all tests, and measure how much of the package they run.
	$(VENV)/bin/python -m tests.support.programs
	$(VENV)/bin/coverage erase
	$(SYSMON) $(VENV)/bin/coverage run -m pytest $(TESTS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

test-unit: $(UNIT)/installed  ## Run the tests that need no browser, server or TLS package.
	$(UNIT)/bin/python -m pytest $(PARALLEL) -m "not live"

lint: $(VENV)/test-installed lint-js
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

ifeq ($(NODE),)
lint-js:
	@echo "Node.js 20 or later, with npm, is missing: the JavaScript in js/ is NOT checked or tested." >&2
else
lint-js: js/node_modules/.package-lock.json  ## Check the types of the browser's code; run its unit tests.
	cd js && npm run --silent check
	cd js && npm run --silent test
endif

js/node_modules/.package-lock.json: js/package.json js/package-lock.json
	cd js && npm ci --silent --no-audit --no-fund
	@touch $@

test-lowest: $(LOWEST)/test-installed  ## Run all tests with the oldest dependencies (Python 3.11).
	$(LOWEST)/bin/python -m tests.support.programs
	$(LOWEST)/bin/python -m pytest $(TESTS)

$(VENV)/demo-installed: pyproject.toml
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[example]'
	@touch $@

$(VENV)/docs-installed: pyproject.toml
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VENV)/test-installed: pyproject.toml
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@

$(UNIT)/installed: pyproject.toml
	"$(PYTHON)" -m venv $(UNIT)
	$(UNIT)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[unit]'
	@touch $@

$(LOWEST)/test-installed: pyproject.toml tests/lowest.txt
	"$(PYTHON)" -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint tests/lowest.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv-* docs/_build js/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
