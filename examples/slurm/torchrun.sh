#!/usr/bin/env bash
# A search whose supernet and final networks train on all GPUs of a SLURM job:
#
#     sbatch examples/slurm/torchrun.sh --data photos --budget-ms 20
#
# What follows the script goes to `hwnas search`. The folder that it is started in, the images and what is installed
# must be the same on all nodes. Submitted again with the same words, it goes on where it was.
#SBATCH --job-name=hwnas-torchrun
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=8
#SBATCH --time=08:00:00
set -euo pipefail

run=runs/slurm
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

search=(hwnas search "$@" --out "$run")
if [ -e "$run/config.toml" ]; then
  search+=(--resume)
fi

srun --kill-on-bad-exit --cpus-per-task "$SLURM_CPUS_PER_TASK" \
  torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "$SLURM_GPUS_ON_NODE" \
  --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29500" -m "${search[@]}"
