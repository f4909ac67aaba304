#!/usr/bin/env bash
# A Ray cluster over the nodes of a SLURM job, and a search whose candidates train on it:
#
#     sbatch examples/slurm/ray.sh --data photos --budget-ms 20
#
# What follows the script goes to `hwnas search`. The folder that it is started in, and what is installed, must be the
# same on all nodes. Submitted again with the same words, it goes on where it was.
#SBATCH --job-name=hwnas-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=2
#SBATCH --time=08:00:00
set -euo pipefail

run=runs/slurm
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | cut -d' ' -f1):6379

search=(hwnas search "$@" --evaluator from-scratch --strategy evolution --on ray --gpus-per-trial 0.5 --out "$run")
if [ -e "$run/config.toml" ]; then
  search+=(--resume)
fi

# Starts Ray on every node, the command on the first one, and stops Ray at its end.
srun --kill-on-bad-exit --cpus-per-task "$SLURM_CPUS_PER_TASK" \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" -- "${search[@]}"
