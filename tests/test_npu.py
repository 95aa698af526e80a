# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation through a stand-in for Huawei's npu_bridge."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import records

import categories

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five images with a box each, as records and COCO json."""
    folder = tmp_path_factory.mktemp("data")
    pixels = np.full([40, 60, 3], 80, np.uint8)
    pixels[10:30, 20:50] = 200
    encoded = records.encode_image(pixels)
    box = [10 / 40, 20 / 60, 30 / 40, 50 / 60]
    numbers = range(1, 6)
    records.write(
        folder / "train", [records.record(i, encoded, [box], [18]) for i in numbers]
    )
    annotation = {"category_id": 18, "bbox": [20, 10, 30, 20], "area": 600}
    dataset = {
        "images": [{"id": i, "height": 40, "width": 60} for i in numbers],
        "annotations": [dict(annotation, id=i, image_id=i, iscrowd=0) for i in numbers],
        "categories": [
            {"id": i, "name": name} for i, name in categories.COCO.names.items()
        ],
    }
    (folder / "val.json").write_text(json.dumps(dataset))
    return folder


def run(data, model_dir, *flags, **environment):
    """Trains four steps; gives the process's result and the calls of npu_bridge."""
    log = os.path.join(str(model_dir), "calls.jsonl")
    env = dict(
        os.environ,
        PYTHONPATH=os.path.join(TESTS, "npu_standin"),
        NPU_STANDIN_LOG=log,
        TF_CPP_MIN_LOG_LEVEL="2",
        **environment,
    )
    env.pop("JOB_ID", None)
    result = subprocess.run(
        [sys.executable, os.path.join(ROOT, "ssd_main.py")]
        + [f"--training_file_pattern={data / 'train'}"]
        + [f"--validation_file_pattern={data / 'train'}"]
        + [f"--val_json_file={data / 'val.json'}", f"--model_dir={model_dir}"]
        + ["--train_batch_size=1", "--eval_batch_size=2", "--log_every_n_steps=1"]
        + list(flags),
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    calls = []
    if os.path.exists(log):
        with open(log) as file:
            calls = [json.loads(line) for line in file]
    return result, calls


def schedule(num_ranks):
    """Four steps."""
    return [f"--num_examples_per_epoch={4 * num_ranks}", "--num_epochs=1"] + [
        "--decay_epochs=1",
        "--save_checkpoints_steps=2",
    ]


@pytest.mark.parametrize("rank, num_ranks", [(0, 1), (3, 8)])
def test_train_and_eval_on_an_npu(data, tmp_path, rank, num_ranks):
    ranks = {"RANK_ID": str(rank), "RANK_SIZE": str(num_ranks)}
    result, calls = run(data, tmp_path, *schedule(num_ranks), **ranks)
    assert result.returncode == 0, result.stderr[-3000:]
    assert [entry["call"] for entry in calls] == [
        "import npu_bridge",
        "initialize_system",
        "NPURunConfig",
        "compute_gradients",
        "model_fn",
        "NPURunConfig",
        "model_fn",
        "shutdown_system",
    ]
    config = calls[2]
    # The largest divisor of 100, of the 4 steps and of the 2 between checkpoints.
    assert config["iterations_per_loop"] == 2
    assert config["enable_data_pre_proc"] and config["hcom_parallel"]
    assert config["precision_mode"] == "allow_mix_precision"
    assert config["save_checkpoints_steps"] == 2
    assert config["save_summary_steps"] == 100
    assert config["keep_checkpoint_max"] == 32
    assert calls[3]["num_ranks"] == num_ranks
    assert f"device: NPU, rank {rank} of {num_ranks}" in result.stderr
    steps = [line for line in result.stderr.splitlines() if ":step " in line]
    assert [line.split()[1] for line in steps] == ["2", "4"]
    assert "evaluated 5 of 5 images" in result.stderr
    assert "Eval results: {'COCO/AP'" in result.stderr


def test_device_is_stopped_when_training_fails(data, tmp_path):
    broken = data / "broken"
    content = (data / "train").read_bytes()
    broken.write_bytes(content[:-50] + bytes(50))
    flags = schedule(1) + [f"--training_file_pattern={broken}"]
    result, calls = run(data, tmp_path, *flags)
    assert result.returncode != 0
    assert calls[-1]["call"] == "shutdown_system"


def test_cpu_never_imports_npu_bridge(data, tmp_path):
    result, calls = run(data, tmp_path, "--device=cpu", "--mode=eval")
    assert result.returncode == 2  # there is no checkpoint
    assert calls == []
