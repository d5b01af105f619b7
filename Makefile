# make course [NB=01] [PROFILE=quick]   set up, get the data, run every notebook (or one): runs/ holds what came of it
# make test [PYTEST_ARGS=-x]            set up, run all tests on all cores: unit tests, and every cell of every notebook
# make lab | bench | release | doctor   JupyterLab on notebook 00; benchmarks; write notebooks/; look at the machine
# make clean                            remove the environment and caches (not runs/, where your checkpoints are)
#
# Only setting up needs make. Everything else is one command (`course run`, `pytest`, ...), on every system:
#     python -m venv .venv, activate it, pip install -c requirements.lock -e ".[lab,judge]", course run

VENV ?= .venv
PROFILE ?= $(or $(COURSE_PROFILE),quick)
NB ?=
WORKERS ?= auto
PYTHON ?= python3 python3.13 python3.12 python3.11 python
BIN := $(VENV)/bin

SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

# $(call set_up,EXTRAS): make $(VENV) if it is absent or broken, and install into it unless exactly this was installed.
# The stamp is written last and holds a checksum of what was asked for, so an interrupted installation is done again.
define set_up
	@set -e; \
	if ! { $(BIN)/python -c '$(SUITABLE)' && $(BIN)/python -m pip --version; } >/dev/null 2>&1; then \
	    found=; \
	    for python in $(PYTHON); do \
	        if $$python -c 'import venv, ensurepip; $(SUITABLE)' >/dev/null 2>&1; then found=$$python; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "No suitable Python among: $(PYTHON)."; \
	        echo "The course needs Python 3.11, 3.12 or 3.13 with venv and pip (on Debian and Ubuntu: python3-venv)."; \
	        echo "Install one, or name it: make $@ PYTHON=/path/to/python3.12"; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$($$found --version)"; \
	    $$found -m venv --clear $(VENV); \
	fi; \
	wanted="$$(cat pyproject.toml requirements.lock | cksum) $(CURDIR)"; \
	if [ "$$(cat $(VENV)/.installed-$(1) 2>/dev/null)" != "$$wanted" ]; then \
	    echo "Installing the locked versions into $(VENV) (the first time, this takes some minutes)"; \
	    rm -f $(VENV)/.installed-*; \
	    $(BIN)/python -m pip install --no-input --disable-pip-version-check -c requirements.lock -e '.[$(1)]'; \
	    echo "$$wanted" > $(VENV)/.installed-$(1); \
	fi
endef

.PHONY: course test lab bench release doctor setup setup-dev clean help

course: setup
	$(BIN)/course run $(NB) --profile $(PROFILE)

test: setup-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lab: setup
	$(BIN)/course lab

bench: setup
	$(BIN)/course bench

release: setup-dev
	$(BIN)/course release

doctor: setup
	$(BIN)/course doctor

setup:
	$(call set_up,$(if $(wildcard $(VENV)/.installed-dev),dev,lab$(comma)judge))

setup-dev:
	$(call set_up,dev)

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

comma := ,
