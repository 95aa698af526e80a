#!/usr/bin/env bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs one rank; run_npu_1p.sh and run_npu_8p.sh start it as
#
#   exec_main.sh RANK_ID RANK_SIZE CODE_DIR [more flags of ssd_main.py]
#
# Edit the paths and flags below; flags given to the launcher override those here.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

# Folders of the TFRecords (train2017*, val2017*), of the pretrained ResNet34
# (model.ckpt-28152; empty: training from scratch) and of instances_val2017.json. If all
# are empty, the built-in sample is used. Each can also be set in the environment.
# Relative paths start at CODE_DIR.
path_to_tfrecord=${path_to_tfrecord:-}
path_to_pretrain=${path_to_pretrain:-}
path_to_annotations=${path_to_annotations:-}

# Further flags for the built-in sample: 300 steps with 4 images each, which take some
# minutes on a CPU.
sample_flags=(
    --train_batch_size=4
    --num_examples_per_epoch=400
    --num_epochs=3
    --base_learning_rate=0.024 # is for 32 images: 0.003 for 4
    --warmup_epochs=0.4        # 40 steps
    --decay_epochs=3
    --save_checkpoints_steps=100
    --log_every_n_steps=20
)

fail() {
    echo "exec_main.sh: $*" >&2
    exit 2
}

(($# >= 3)) || fail "usage: exec_main.sh RANK_ID RANK_SIZE CODE_DIR [flags]"
export RANK_ID="$1" RANK_SIZE="$2"
if [[ -z "${SSD_CALLED_FROM:-}" ]]; then
    # Otherwise the launcher has done it.
    # shellcheck source=env.sh
    source "$3/env.sh"
fi

make_sample() {
    (
        # Ranks take turns: the first creates the sample, the others find it there.
        # Without flock, or on a file system without locks, each creates it.
        flock 9 2>/dev/null || true
        "${PYTHON}" "$1/tools/make_sample_dataset.py" --output_dir "$1/sample_dataset"
    ) 9>"$1/.sample_dataset.lock"
}

further_flags=()
if [[ -z "${path_to_tfrecord}${path_to_annotations}${path_to_pretrain}" ]]; then
    echo "exec_main.sh: no path is set: a short training on the built-in sample," \
        "$3/sample_dataset"
    make_sample "$3" || exit 2
    path_to_tfrecord="$3/sample_dataset"
    path_to_annotations="$3/sample_dataset"
    further_flags=("${sample_flags[@]}")
elif [[ -z "${path_to_tfrecord}" || -z "${path_to_annotations}" ]]; then
    fail "path_to_tfrecord='${path_to_tfrecord}'" \
        "path_to_annotations='${path_to_annotations}': set both, or none of the paths"
fi
for name in path_to_tfrecord path_to_pretrain path_to_annotations; do
    path="${!name}"
    [[ -z "${path}" || "${path}" == /* || "${path}" == *://* ]] ||
        printf -v "${name}" '%s' "$3/${path}"
done

exec "${PYTHON}" "$3/ssd_main.py" \
    --mode=train_and_eval \
    --train_batch_size=32 \
    --training_file_pattern="${path_to_tfrecord}/train2017*" \
    ${path_to_pretrain:+--resnet_checkpoint="${path_to_pretrain}/model.ckpt-28152"} \
    --validation_file_pattern="${path_to_tfrecord}/val2017*" \
    --val_json_file="${path_to_annotations}/instances_val2017.json" \
    --eval_batch_size=32 \
    --model_dir=result_npu \
    ${further_flags[@]+"${further_flags[@]}"} \
    "${@:4}"
