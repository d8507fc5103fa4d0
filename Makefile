# Everything starts from a bare checkout: each target sets up what it needs in .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Python 3.11 first: everything is tried with it. 3.12 drives as well; say PYTHON=... to choose.
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	"$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { command -v "$$python"; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
DESCRIPTION := setup.py package.xml constraints.txt

# ROS writes logs even where nobody has a home; a sourced ROS installation would shadow the wheels.
export HOME ?= $(CURDIR)/.cache/home
export ROS_LOG_DIR ?= $(CURDIR)/.cache/ros
ifdef ROS_DISTRO
unexport PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH
endif

.PHONY: help run test lint format engines bench train ros_ws clean

help:  ## what there is to make
	@grep -hE '^[a-z_]+:.*##' $(MAKEFILE_LIST) \
		| sed -E 's/^([a-z_]+):.*## */\1|/' | awk -F'|' '{ printf "make %-8s %s\n", $$1, $$2 }'

run: $(VENV)/.run  ## play a drive through the real node, results in out/ [SOURCE=your bag, video or folder]
	@mkdir -p "$(HOME)" "$(ROS_LOG_DIR)"
	@$(PY) -m demo $(if $(SOURCE),"$(SOURCE)") $(ARGS)

test: $(VENV)/.test lint  ## lint, then every test
	@mkdir -p "$(HOME)" "$(ROS_LOG_DIR)"
	@$(PY) -m pytest $(ARGS)

lint: $(VENV)/.test  ## layout, types and layers
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

format: $(VENV)/.test  ## put layout and imports in order
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

engines: $(VENV)/.run  ## list and check the engines
	@$(VENV)/bin/adverse-perception engines list $(ARGS)

bench: $(VENV)/.test  ## measure everything on this machine [ARGS="node --quick"]
	@mkdir -p "$(HOME)" "$(ROS_LOG_DIR)"
	@$(PY) -m benchmarks $(ARGS)

train: $(VENV)/.test  ## train an engine [ARGS="--help"]
	@$(PY) -m training.train $(ARGS)

ros_ws:  ## build with colcon on a sourced ROS installation
	@command -v colcon >/dev/null || { echo "colcon is missing: install ROS 2 and" \
		"python3-colcon-common-extensions, then source /opt/ros/<distro>/setup.bash" >&2; exit 1; }
	cd ros_ws && colcon build --symlink-install $(ARGS)

clean:  ## remove everything that make has made
	rm -rf $(VENV) .cache out build ros_ws/build ros_ws/install ros_ws/log *.egg-info

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.10 to 3.13 found: install python3.11 and" \
		"python3.11-venv, or name one with PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { version=$$($(PYTHON) -c \
		'import sys; print("%d.%d" % sys.version_info[:2])'); echo "$(PYTHON) cannot make virtual" \
		"environments: sudo apt install python$$version-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) setuptools wheel
	@touch $@

$(VENV)/.run: $(VENV)/.made $(DESCRIPTION)
	@echo "Installing what drives (a minute or two, once)"
	@$(INSTALL) --no-build-isolation --editable '.[ros]'
	@touch $@

$(VENV)/.test: $(VENV)/.made $(DESCRIPTION)
	@echo "Installing what drives, trains and tests (some minutes, once)"
	@$(INSTALL) --no-build-isolation --editable '.[ros,openvino,train,dev]'
	@touch $(VENV)/.run $@
