#!/usr/bin/env bash
# Resolve pyproject.toml afresh and pin the outcome in requirements.lock (pip) and environment.yml (conda).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev,docs]'
"$scratch/venv/bin/python" -m pip freeze --exclude-editable | sed "s/+cpu$//" >"$scratch/pins" # +cpu: the build of this machine, not the version
{
    echo "# Written by 'make lock'. Every package of the project and of its tests, with the version it was tested with."
    echo "# PyTorch's own dependencies on CUDA packages are pinned by PyTorch itself."
    echo "# Packages without any wheel, which pip builds itself and which need no compiler; make lock-check knows them by this:"
    echo "# only as source: connection_pool"
    cat "$scratch/pins"
} >requirements.lock
{
    echo "# Written by 'make lock': the versions of requirements.lock for conda users."
    echo "# conda env create -f environment.yml && conda activate aroface && pip install --no-deps --no-build-isolation -e ."
    echo "name: aroface"
    echo "channels: [conda-forge, nodefaults]"
    echo "dependencies:"
    "$scratch/venv/bin/python" -c 'import platform; print("  - python=" + ".".join(platform.python_version_tuple()[:2]))'
    echo "  - pip"
    echo "  - pip:"
    sed 's/^/      - /' "$scratch/pins"
} >environment.yml
