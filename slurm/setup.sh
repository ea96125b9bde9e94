# Sourced by the shell of every job: what slurm/site.yaml asks for, which the profile puts into the environment.
if [ -n "$AROFACE_SETUP" ]; then
    if ! command -v module >/dev/null 2>&1 && [ -r "${MODULESHOME:-/nowhere}/init/sh" ]; then
        . "$MODULESHOME/init/sh"
    fi
    eval "$AROFACE_SETUP"
fi
if [ -n "$AROFACE_SCRATCH" ]; then
    eval "TMPDIR=$AROFACE_SCRATCH/aroface-$SLURM_JOB_ID" # the site may name it by $USER or $SLURM_JOB_ID
    export TMPDIR
    mkdir -p "$TMPDIR"
    trap 'rm -rf "$TMPDIR"' EXIT
fi
