#!/usr/bin/env bash
# Test under Slurm.
#   [GPUS=8] tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [arguments]
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB CONFIG CHECKPOINT [arguments of test.py]" >&2
    exit 2
fi
PARTITION=$1
JOB=$2
CONFIG=$3
CHECKPOINT=$4
GPUS=${GPUS:-4}
GPUS_PER_NODE=${GPUS_PER_NODE:-4}
HERE=$(cd "$(dirname "$0")" && pwd)

# SRUN_ARGS is a list of words on purpose.
# shellcheck disable=SC2086
PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" \
exec srun -p "$PARTITION" \
    --job-name="$JOB" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$HERE/test.py" "$CONFIG" "$CHECKPOINT" \
    --launcher slurm "${@:5}"
