#!/usr/bin/env bash
# Start a training on every node of its Slurm job: launch.sh NODES THREADS COMMAND...
# Each node runs the command once, which starts the node's processes by torchrun's launcher.
set -uo pipefail
nodes=$1 threads=$2
shift 2
said=$(mktemp)
trap 'rm -f "$said"' EXIT

# The nodes wait for each other: one that has saved its state must not have the others killed while they still save.
srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --cpus-per-task="$threads" --wait=360 \
    --job-name=train bash -c 'mkdir -p "${TMPDIR:-/tmp}" && exec "$@"' train "$@" 2> >(tee "$said" >&2)
status=$?
sleep 1 # until tee has written the last lines

case $status in
0) ;;
75) echo "aroface: the state is saved; the next attempt goes on from there (Slurm job $SLURM_JOB_ID)" >&2 ;;
*)
    if grep -qiE 'CUDA out of memory|OutOfMemoryError' "$said"; then
        echo "aroface: a GPU's memory is too small: set training.micro_batch to a part of its share of the batch, or" \
            "training.checkpoint_activations: true, or give more GPUs (resources.train.gpus); aroface plan tells what fits" >&2
    elif grep -qiE 'oom.?kill|out.of.memory|memory limit' "$said" || [ $status = 137 ]; then
        echo "aroface: killed for want of memory (exit status $status): raise resources.train.mem_mb in the configuration;" \
            "nothing is trained again, the next attempt goes on from the last saved state" >&2
    fi
    ;;
esac
exit $status
