# Everything starts from Python 3.11 to 3.13 and make; every target makes the environment it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help

fits := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c "$(fits)" 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
UNITS := tests --ignore=tests/book

NOTEBOOKS := $(wildcard notebooks/*.ipynb)
# One page a paper comes from the same notebook.
PAPERS := asd bsd vab dst_dbr aabl
VERDICTS := $(PAPERS:%=book/_executed/verdicts-%.ipynb)
ONCE := $(filter-out notebooks/verdicts.ipynb,$(NOTEBOOKS))
# The longest first, so that none is left over at the end. All chapters but your_data train the same undefended model,
# once: the first two that run need not wait for one another.
LONG := $(filter $(ONCE),$(patsubst %,notebooks/%.ipynb,your_data vab bsd aabl asd dst_dbr))
SHORT := $(filter-out $(LONG),$(ONCE))
EXECUTED := $(LONG:notebooks/%.ipynb=book/_executed/%.ipynb) $(VERDICTS) $(SHORT:notebooks/%.ipynb=book/_executed/%.ipynb)
SCRIPTS := book/_static/vendor/.fetched
CODE := $(shell find defenselib -name '*.py' -o -name '*.toml' -o -name '*.json' -o -name '*.csv' -o -name '*.js' -o -name '*.css')
EVIDENCE := $(shell find book/results 2>/dev/null)
BUILT := book/_build/html/index.html
PAGES := _config.yml _toc.yml $(shell find book -path book/_build -prune -o -path book/_store -prune -o \
	-path book/_executed -prune -o -path book/results -prune -o -name node_modules -prune -o -name __pycache__ -prune -o \
	-type f -print)

# One thread a process: two run side by side, networks are tiny, and at smoke two threads crash inside the backward pass
# of torch's bf16 convolutions now and then (adversarial training on few images).
export OMP_NUM_THREADS ?= 1

.PHONY: help .venv style check test units demo notebooks book executed bench clean

help:  ## say what there is
	@grep -hE '^[a-z.]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.venv: $(STAMP)  ## make the environment (a few minutes, once)

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 to 3.13 found; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[book,test]'
	touch $@

style: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify $(NOTEBOOKS))

check: style  ## format, lint, types and the fast tests
	$(PYTEST) -q -n 2 -m "not slow and not gpu and not demo" $(UNITS)

units: $(STAMP)
	$(PYTEST) -q -n 2 -m "not demo" --durations=10 $(UNITS)

demo: $(STAMP)  ## what takes minutes a test: every defense on drawn images, long sweeps (an hour or two)
	$(PYTEST) -q -n 2 -m demo $(UNITS)

# The book's build executes every notebook once; this executes them cell by cell, for whoever edits one.
notebooks: $(STAMP)  ## the notebooks, cell by cell
	$(if $(NOTEBOOKS),$(PYTEST) -q -n 2 --dist loadfile --nbval-lax --nbval-current-env -p no:cacheprovider $(NOTEBOOKS))

test: style  ## everything: code, and the book with its notebooks
	$(MAKE) units
	$(MAKE) book
	$(PYTEST) -q tests/book

book: $(STAMP) $(SCRIPTS)  ## execute the notebooks, compile the book to book/_build/html
	$(MAKE) -j 2 executed
	$(MAKE) --quiet $(BUILT)
	@echo "open book/_build/html/index.html"

executed: $(EXECUTED)

# Nothing changed, nothing to compile. Touched, for a page that is the same is not written again.
$(BUILT): $(EXECUTED) $(PAGES) $(CODE) $(EVIDENCE)
	$(BIN)/jupyter-book build . --path-output book -W --keep-going --quiet
	touch $@

# What the pages load, fetched again when the lock file changes. Without npm or network nothing is made here, which is
# no error: the pages then link to public servers, and the build says so.
$(SCRIPTS): book/frontend/package-lock.json book/frontend/fetch
	book/frontend/fetch

# The book shows committed evidence and what its notebooks train live, never what else lies in somebody's working
# store. Of the live part goes what older code made, whenever the code changes; the rest need not be trained again.
book/_store/.code: $(CODE) | $(STAMP)
	mkdir -p book/_store
	DEFENSELIB_STORE="$(CURDIR)/book/_store" DEFENSELIB_CACHE="$(CURDIR)/book/_store" $(BIN)/defenselib clean --outdated
	touch $@

book/_executed/%.ipynb: notebooks/%.ipynb $(EVIDENCE) book/_store/.code | $(STAMP)
	DEFENSELIB_STORE="$(CURDIR)/book/_store" $(BIN)/defenselib reproduce --notebook $< --output $@

$(VERDICTS): book/_executed/verdicts-%.ipynb: notebooks/verdicts.ipynb $(EVIDENCE) book/_store/.code | $(STAMP)
	DEFENSELIB_STORE="$(CURDIR)/book/_store" $(BIN)/defenselib reproduce --notebook $< -p paper=$* --output $@

bench: $(STAMP)  ## steps a second of every method's inner loop on this machine
	$(BIN)/python -m defenselib.bench

clean:  ## throw away what was built; the environment and the committed results stay
	rm -rf book/_build book/_executed book/_store book/_static/vendor build defenselib.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find defenselib tests notebooks -name __pycache__ -prune -exec rm -rf {} +
