#!/usr/bin/env bash
# Trains, evaluates and searches by OpenMMLab's `mim`, whose dependency openxlab pins an old setuptools and which therefore
# needs an environment of its own. Not part of the default test run.
#
#     tests/tools/mim_train.sh [FOLDER OF THE ENVIRONMENT]
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=$(realpath -m "${1:-$(mktemp -d)/mim}")

python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --upgrade pip
# Not editable: mim looks for a package's folder beside its metadata.
"$environment/bin/pip" install --quiet ".[openmmlab,mmcv-lite,digits]"
# Without openxlab, which only the download of data sets needs.
"$environment/bin/pip" install --quiet --no-deps openmim model-index
"$environment/bin/pip" install --quiet click colorama ordered-set pandas requests rich tabulate

export PATH="$environment/bin:$PATH" OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
folder=$(mktemp -d)
cd "$folder"
config=imsvd_resnet14-w24_1xb256-coslr-60e_digits
short=(train_cfg.max_epochs=1 default_hooks.checkpoint.interval=1)

echo "== mim train, one process"
mim train imsvd_plugins "$config.py" --gpus 0 --work-dir one --cfg-options "${short[@]}" >one.log 2>&1
grep -h -o "knn_top1: [0-9.]*" one.log
echo "== mim train, two processes"
mim train imsvd_plugins "$config.py" --gpus 2 --launcher pytorch --work-dir two --cfg-options "${short[@]}" \
    train_dataloader.batch_size=128 >two.log 2>&1
grep -h -o "knn_top1: [0-9.]*" two.log | tail -1

for run in "one --gpus 0" "two --gpus 2 --launcher pytorch"; do
    read -r name options <<<"$run"
    echo "== mim test, $name"
    # shellcheck disable=SC2086  # the options are words
    mim test imsvd_plugins resnet14-w24_1xb256-knn_digits.py --checkpoint one/epoch_1.pth $options >"test_$name.log" 2>&1
    grep -h -o "knn_top1: [0-9.]*" "test_$name.log"
    # The same figure as in the pretraining that wrote the checkpoint.
    diff <(grep -h -o "knn_top1: [0-9.]*" one.log) <(grep -h -o "knn_top1: [0-9.]*" "test_$name.log")
done

echo "== mim list, mim search"
mim list --all | grep imsvd
mim search imsvd_plugins --config "$config" | grep "$config"
