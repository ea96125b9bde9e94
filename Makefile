# make demo   the whole chain, from rendered faces to the PDF, in a few minutes on two cores
# make test   the whole test suite
# Both make .venv from requirements.lock first, once.

PYTHON ?= python3
VENV   ?= .venv
MXNET  ?= .venv-mxnet
TIMM   ?= .venv-timm
CORES  ?= 2
bin    := $(VENV)/bin
export PYTHONNOUSERSITE := 1

.PHONY: demo claim docs test test-latex test-mxnet test-slurm test-timm lint format lock lock-check clean help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --disable-pip-version-check --quiet -r requirements.lock
	$(bin)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(VENV)/.ready
	PATH="$$(cd '$(bin)' && pwd):$$PATH" python workflow/scripts/live.py -- --cores $(CORES) --configfile workflow/configs/demo.yaml

# make claim  the paper's claim in miniature: six methods, three seeds, three quarters of an hour on two cores
claim: $(VENV)/.ready
	PATH="$$(cd '$(bin)' && pwd):$$PATH" python workflow/scripts/live.py -- --cores $(CORES) --configfile workflow/configs/claim.yaml

test: $(VENV)/.ready
	$(bin)/python -m pytest -n $(CORES) --dist loadgroup

# make docs   the documentation site, in site/: open site/index.html
docs: $(VENV)/.ready
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict --quiet

# make test-latex  all tables and figures in all classes by all engines of LaTeX, half an hour (Debian's packages: .ci/latex)
test-latex: $(VENV)/.ready
	@lacking=$$(.ci/latex) && test -z "$$lacking" || { echo "make test-latex needs LaTeX; on Debian and Ubuntu: apt install $$lacking" >&2; exit 2; }
	$(bin)/python -m pytest tests/latex -n $(CORES) --dist loadgroup --durations=0

# make test-mxnet  records and pixels against MXNet itself, in .venv-mxnet (Python 3.11; Debian: libgomp1 libquadmath0)
test-mxnet: $(VENV)/.ready $(MXNET)/.ready
	MXNET_PYTHON="$$(cd '$(MXNET)/bin' && pwd)/python" $(bin)/python -m pytest tests/mxnet

$(MXNET)/.ready: workflow/envs/mxnet.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "MXNet needs Python 3.11 (make test-mxnet PYTHON=python3.11), this is " + sys.version)'
	$(PYTHON) -m venv $(MXNET)
	$(MXNET)/bin/python -m pip install --disable-pip-version-check --quiet -r workflow/envs/mxnet.txt
	$(MXNET)/bin/python -c 'import mxnet' || { echo "MXNet cannot be loaded; on Debian and Ubuntu: apt install libgomp1 libquadmath0" >&2; exit 1; }
	touch $@

# make test-slurm  the workflow on a real Slurm that it installs and starts, as root on Debian, a quarter of an hour
test-slurm:
	@test "$$(id -u)" = 0 || { echo "make test-slurm installs and starts a Slurm of its own: it has to be root" >&2; exit 2; }
	@command -v apt-get >/dev/null || command -v slurmctld >/dev/null || { echo "make test-slurm wants Debian or Ubuntu: there is no apt-get" >&2; exit 2; }
	$(MAKE) $(VENV)/.ready
	$(bin)/python -m pytest tests/slurm --durations=0

# make test-timm  networks that timm exports, in .venv-timm
test-timm: $(VENV)/.ready $(TIMM)/.ready
	TIMM_PYTHON="$$(cd '$(TIMM)/bin' && pwd)/python" $(bin)/python -m pytest tests/timm

$(TIMM)/.ready: workflow/envs/timm.txt
	$(PYTHON) -m venv $(TIMM)
	$(TIMM)/bin/python -m pip install --disable-pip-version-check --quiet -r workflow/envs/timm.txt
	touch $@

# make lint   formatting, types and the workflow's own linter
lint: $(VENV)/.ready
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/snakefmt --check Snakefile workflow/rules
	$(bin)/mypy
	PATH="$$(cd '$(bin)' && pwd):$$PATH" python -m snakemake --lint --configfile workflow/configs/demo.yaml

# make format puts the code into the form that make lint asks for
format: $(VENV)/.ready
	$(bin)/ruff check --fix .
	$(bin)/ruff format .
	$(bin)/snakefmt Snakefile workflow/rules

# make lock   pins what pyproject.toml asks for today, in requirements.lock and environment.yml
lock:
	workflow/scripts/lock.sh $(PYTHON)

# make lock-check   asks the package index whether every pin has a wheel for each version of Python that is tried
lock-check: $(VENV)/.ready
	workflow/scripts/lock_check.sh $(bin)/python 3.11 3.12 3.13

clean:
	rm -rf $(VENV) $(MXNET) site results/demo results/claim
