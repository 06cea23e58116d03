#!/bin/bash
# The 8.8M run of Pradeep et al. 2023 on Slurm: bash configs/paper/slurm.sh [KEY=VALUE ...]
#
# The passes over the corpus are a job array, whose tasks share nothing but files and never wait for each other's parts; training
# is one job of several nodes; all else is a process. What is built already is not made again, so that after a fault the
# same command does what is missing: tasks that have done their part end at once, training goes on from its checkpoint.
# Everything lies in runs/ on a file system that all nodes see. Lines of the local cluster (account, partition) belong
# into SBATCH_ACCOUNT and SBATCH_PARTITION, which sbatch reads.
set -euo pipefail
cd "$(dirname "$0")/../.."

CONFIG=${CONFIG:-configs/msmarco-full.yaml}
TASKS=${TASKS:-64}   # of the job array, a GPU each
NODES=${NODES:-4}    # of training, GPUS tasks each
GPUS=${GPUS:-8}
DSI=".venv/bin/dsi"
SET=${*:+--set$(printf ' %q' "$@")}

# submit NAME AFTER OPTIONS... -- COMMAND: submits a job that begins when the jobs AFTER are done, and prints its number
submit() {
    local name=$1 after=$2 options=()
    shift 2
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    mkdir -p runs/slurm
    sbatch --parsable --job-name="dsi-$name" --output="runs/slurm/$name-%j.txt" ${after:+--dependency=afterok:$after --kill-on-invalid-dep=yes} \
        "${options[@]}" --wrap="$*"
}

one=(--ntasks=1 --cpus-per-task=16 --mem=128G)
few=(--array=0-8 --ntasks=1 --cpus-per-task=2 --mem=8G) # the postings of a million documents each
each=(--array="0-$((TASKS - 1))" --ntasks=1 --cpus-per-task=8 --mem=64G --gpus-per-task=1)
all=(--nodes="$NODES" --ntasks-per-node="$GPUS" --cpus-per-task=8 --gpus-per-node="$GPUS" --mem=0 --exclusive)

corpus=$(submit corpus "" "${one[@]}" -- "$DSI ingest $CONFIG $SET && $DSI tokenize $CONFIG $SET")
words=$(submit words "$corpus" "${few[@]}" -- "$DSI index-terms $CONFIG $SET --launcher array")
queries=$(submit queries "$corpus" "${each[@]}" -- "$DSI expand $CONFIG $SET --launcher array")
vectors=$(submit vectors "$corpus" "${each[@]}" -- "$DSI embed $CONFIG $SET --launcher array")
# Without --launcher, a stage whose parts are all there is put together, should no task have seen the parts of all others.
docids=$(submit docids "$words:$queries:$vectors" "${one[@]}" -- \
    "$DSI index-terms $CONFIG $SET && $DSI expand $CONFIG $SET && $DSI embed $CONFIG $SET && $DSI assign $CONFIG $SET")
teacher=$(submit teacher "$docids" "${each[@]}" -- "$DSI teach $CONFIG $SET --launcher array")
# Again for a teacher that embeds the documents first: a task whose vectors are ready before those of others stops there.
labels=$(submit labels "$teacher" "${each[@]}" -- "$DSI teach $CONFIG $SET --launcher array")
model=$(submit model "$labels" "${all[@]}" -- \
    "$DSI teach $CONFIG $SET && srun --cpus-per-task=8 --kill-on-bad-exit=1 $DSI train $CONFIG $SET --launcher slurm")
submit rest "$model" "${one[@]}" --gpus-per-task=1 -- "$DSI run $CONFIG $SET"
