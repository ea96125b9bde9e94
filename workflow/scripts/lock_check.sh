#!/usr/bin/env bash
# Ask the package index whether every pin of requirements.lock has a wheel: lock_check.sh PYTHON VERSION...
# Packages without any wheel, which requirements.lock names at its head, are no fault: pip builds them without a compiler.
# Exit status 1 if another pin has none for one of the versions.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1
shift
sdist_only=$(sed -n 's/^# only as source: //p' requirements.lock)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
status=0
for version in "$@"; do
    grep -v '^#' requirements.lock >"$scratch/pins"
    missing=()
    until "$python" -m pip install --disable-pip-version-check --quiet --dry-run --no-deps --ignore-installed \
        --only-binary :all: --python-version "$version" --target "$scratch/none" -r "$scratch/pins" \
        >"$scratch/said" 2>&1; do
        pin=$(sed -n 's/^ERROR: No matching distribution found for \([^ ]*\).*/\1/p' "$scratch/said" | head -1)
        [ -n "$pin" ] || { cat "$scratch/said" >&2; exit 2; }
        missing+=("$pin")
        grep -v -i -x -F "$pin" "$scratch/pins" >"$scratch/rest"
        mv "$scratch/rest" "$scratch/pins"
    done
    unexpected=()
    for pin in "${missing[@]}"; do
        [[ " $sdist_only " == *" ${pin%%==*} "* ]] || unexpected+=("$pin")
    done
    echo "Python $version: only as source: ${missing[*]:-none}"
    if [ ${#unexpected[@]} -gt 0 ]; then
        echo "Python $version: without a wheel, so that a compiler may be needed: ${unexpected[*]}" >&2
        status=1
    fi
done
exit $status
