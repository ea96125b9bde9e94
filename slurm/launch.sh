#!/usr/bin/env bash
# Start a training on every node of its Slurm job: launch.sh NODES THREADS PATIENCE COMMAND...
# Each node runs the command once, which starts the node's processes by torchrun's launcher.
set -uo pipefail
nodes=$1 threads=$2 patience=$3
shift 3
said=$(mktemp)
trap 'rm -f "$said"' EXIT

# Snakemake removes the log before the next attempt; under another name it stays, whatever ends this job.
log=$(readlink /proc/$$/fd/1)
kept=${log%.log}-$SLURM_JOB_ID.log
[ -f "$log" ] && ln "$log" "$kept" 2>/dev/null

# A random word that only the processes of this start know, the same on all of its nodes.
AROFACE_RENDEZVOUS=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export AROFACE_RENDEZVOUS

# When one node has ended, the others have so many seconds to save their part of the state before they are killed.
srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --cpus-per-task="$threads" --wait="$patience" \
    --job-name=train bash -c 'mkdir -p "${TMPDIR:-/tmp}" && exec "$@"' train "$@" 2> >(tee "$said" >&2)
status=$?
sleep 1 # until tee has written the last lines

case $status in
0) [ "$kept" -ef "$log" ] && rm -f "$kept" ;;
75) echo "aroface: the state is saved; the next attempt goes on from there (Slurm job $SLURM_JOB_ID)" >&2 ;;
*)
    if grep -qiE 'CUDA out of memory|OutOfMemoryError' "$said"; then
        echo "aroface: a GPU's memory is too small: set training.micro_batch to a part of its share of the batch," \
            "or training.checkpoint_activations: true, or give more GPUs (resources.train.gpus); see aroface plan" >&2
    elif grep -qiE 'oom.?kill|out.of.memory|memory limit' "$said"; then
        echo "aroface: killed for want of memory (exit status $status): raise resources.train.mem_mb in the" \
            "configuration; the next attempt goes on from the last saved state" >&2
    elif grep -q 'First task exited' "$said"; then
        echo "aroface: one node ended and another did not within $patience s; the next attempt goes on from the last" \
            "saved state" >&2
    elif [ $status = 137 ]; then
        echo "aroface: killed (exit status 137), most often for want of memory: resources.train.mem_mb" >&2
    fi
    ;;
esac
[ -n "${AROFACE_SCRATCH:-}" ] && srun --nodes="$nodes" --ntasks-per-node=1 rm -rf "$TMPDIR"
exit $status
