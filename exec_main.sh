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

# path_to_tfrecord alone is the folder of a whole dataset, as --data_dir. The names of the
# published code are taken if path_to_annotations is set as well: train2017* and val2017*
# in path_to_tfrecord, instances_val2017.json in path_to_annotations. path_to_pretrain has
# the pretrained ResNet34, model.ckpt-28152 (empty: training from scratch). Without data
# here or in the flags, the built-in sample is used. Each can also be set in the
# environment. Relative paths start in the folder where the launcher is called.
path_to_tfrecord=${path_to_tfrecord:-}
path_to_pretrain=${path_to_pretrain:-}
path_to_annotations=${path_to_annotations:-}

# Further flags for the built-in sample: 300 steps, 40 of them warm up. A processor without
# bfloat16 instructions needs three seconds for a step of 4 images, so it gets 2 per step. The
# learning rate, which flags give for 32 images, is 0.003 for both.
sample_flags=(--save_checkpoints_steps=100 --log_every_n_steps=20)
if compgen -G "/dev/davinci*" >/dev/null || compgen -G "/dev/nvidia*" >/dev/null ||
    grep -qsE "avx512_bf16|amx_bf16" /proc/cpuinfo; then
    sample_images=4
    sample_flags+=(--num_epochs=3 --decay_epochs=3 --warmup_epochs=0.4)
    sample_flags+=(--base_learning_rate=0.024)
else
    sample_images=2
    sample_flags+=(--num_epochs=1.5 --decay_epochs=1.5 --warmup_epochs=0.2)
    sample_flags+=(--base_learning_rate=0.048)
fi
sample_flags+=(--train_batch_size="${sample_images}")

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

# Flags that name the data switch the built-in sample off, and --data_dir the paths above.
is_data_named=""
for flag in "${@:4}"; do
    case "${flag%%=*}" in
        --data_dir | -data_dir)
            is_data_named=1 path_to_tfrecord="" path_to_annotations="" ;;
        --training_file_pattern | --validation_file_pattern | --val_json_file)
            is_data_named=1 ;;
    esac
done

data_flags=()
if [[ -n "${path_to_tfrecord}" && -n "${path_to_annotations}" ]]; then
    data_flags=(
        --training_file_pattern="${path_to_tfrecord}/train2017*"
        --validation_file_pattern="${path_to_tfrecord}/val2017*"
        --val_json_file="${path_to_annotations}/instances_val2017.json"
    )
elif [[ -n "${path_to_tfrecord}" ]]; then
    data_flags=(--data_dir="${path_to_tfrecord}")
elif [[ -n "${path_to_annotations}" ]]; then
    fail "path_to_annotations='${path_to_annotations}': set path_to_tfrecord as well," \
        "or give --data_dir"
elif [[ -z "${is_data_named}${path_to_pretrain}" ]]; then
    echo "exec_main.sh: no path is set: 300 steps of ${sample_images} images on the" \
        "built-in sample, $3/sample_dataset"
    make_sample "$3" || exit 2
    data_flags=(--data_dir="$3/sample_dataset" "${sample_flags[@]}")
elif [[ -z "${is_data_named}" ]]; then
    fail "path_to_pretrain='${path_to_pretrain}': set path_to_tfrecord as well, or give" \
        "--data_dir"
fi

exec "${PYTHON}" "$3/ssd_main.py" \
    --mode=train_and_eval \
    --train_batch_size=32 \
    ${data_flags[@]+"${data_flags[@]}"} \
    ${path_to_pretrain:+--resnet_checkpoint="${path_to_pretrain}/model.ckpt-28152"} \
    --eval_batch_size=32 \
    --model_dir="${PWD}/result_npu" \
    "${@:4}"
