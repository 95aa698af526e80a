# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation through stand-ins for Huawei's npu_bridge and npu_device."""

import ast
import glob
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import processes
import records
from dataset import categories
from devices import rank_messages, runtime

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
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


PACKAGES = {"npu_bridge": "bridge", "npu_device": "device"}
STANDINS = os.path.join(TESTS, "npu_standin")


def run(data, model_dir, *flags, package="npu_bridge", **environment):
    """Trains four steps; gives the process's result and the calls of the adapter."""
    log = os.path.join(str(model_dir), "calls.jsonl")
    folders = [os.path.join(STANDINS, PACKAGES[package]), STANDINS]
    env = {
        k: v for k, v in os.environ.items() if k not in ("JOB_ID", "RANK_TABLE_FILE")
    }
    env.update(
        PYTHONPATH=os.pathsep.join(folders),
        NPU_STANDIN_LOG=log,
        TF_CPP_MIN_LOG_LEVEL="2",
        **environment,
    )
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


def names(calls):
    return [entry["call"] for entry in calls]


def logged_steps(result):
    """The numbers of the lines "step 2 of 4 ..."."""
    steps = [line for line in result.stderr.splitlines() if ":step " in line]
    return [int(line.split()[1]) for line in steps]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_train_and_eval_on_one_npu(data, tmp_path, package):
    result, calls = run(
        data, tmp_path, *schedule(1), f"--profiling={tmp_path}/prof", package=package
    )
    assert result.returncode == 0, result.stderr[-3000:]
    enable = ["enable_v1"] if package == "npu_device" else []
    assert names(calls) == [f"import {package}"] + enable + [
        "initialize_system",
        "NPURunConfig",
        "compute_gradients",
        "model_fn",
        "trained",
        "NPURunConfig",
        "model_fn",
        "shutdown_system",
        "exit",
    ]
    assert {"call": "trained", "step": 4} in calls
    assert "RANK_TABLE_FILE" not in calls[0] and calls[0]["JOB_ID"]
    config = calls[names(calls).index("NPURunConfig")]
    # The largest divisor of 100, of the 4 steps and of the 2 between checkpoints.
    assert config["iterations_per_loop"] == 2
    assert config["enable_data_pre_proc"] and config["hcom_parallel"]
    assert config["precision_mode"] == "allow_mix_precision"
    assert config["save_checkpoints_steps"] == 2
    assert config["save_summary_steps"] == 100
    assert config["keep_checkpoint_max"] == 32
    assert config["profiling"]["output"] == str(tmp_path / "prof")
    assert config["profiling"]["task_trace"] == "on"
    assert "device: NPU, rank 0 of 1" in result.stderr
    assert logged_steps(result) == [2, 4]
    assert "evaluated 5 of 5 images" in result.stderr
    assert "Eval results: {'COCO/AP'" in result.stderr


class OtherRanks:
    """Plays all ranks of eight but one, that train and detect nothing."""

    def __init__(self, missing, final_step):
        self.base_port = processes.free_ports(9)
        self._port = self.base_port + 8
        self._final_step = final_step
        self.gathered = None
        numbers = [rank for rank in range(8) if rank != missing]
        self._threads = [
            threading.Thread(target=self._play, args=(rank,), daemon=True)
            for rank in numbers
        ]
        for thread in self._threads:
            thread.start()

    def _play(self, rank):
        channel = rank_messages.Ranks(rank, 8, ("127.0.0.1", self._port))
        assert channel.exchange(-1) == [-1] * 8
        assert channel.exchange(self._final_step) == [self._final_step] * 8
        gathered = channel.gather(b"nothing")
        if rank == 0:
            self.gathered = gathered
        channel.close()

    def join(self):
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()


def test_train_and_eval_as_rank_3_of_8(data, tmp_path, monkeypatch):
    monkeypatch.setenv("JOB_ID", "test")
    others = OtherRanks(missing=3, final_step=4)
    table = os.path.join(ROOT, "npu_config", "8p.json")
    result, calls = run(
        data,
        tmp_path,
        *schedule(8),
        f"--base_port={others.base_port}",
        JOB_ID="test",
        RANK_ID="3",
        RANK_SIZE="8",
        DEVICE_ID="3",
        RANK_TABLE_FILE=table,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert names(calls) == [
        "import npu_bridge",
        "initialize_system",
        "NPURunConfig",
        "compute_gradients",
        "model_fn",
        "broadcast",
        "trained",
        "NPURunConfig",
        "model_fn",
        "shutdown_system",
        "exit",
    ]
    assert calls[0]["RANK_ID"] == "3" and calls[0]["RANK_TABLE_FILE"] == table
    assert calls[2]["iterations_per_loop"] == 2
    assert calls[3]["num_ranks"] == 8
    assert "device: NPU, rank 3 of 8" in result.stderr
    # Of five images one is the share of rank 3, and rank 0 has the result.
    assert "1 images detected; rank 0 has the result" in result.stderr
    assert "Eval results" not in result.stderr
    others.join()
    assert [share == b"nothing" for share in others.gathered] == [
        rank != 3 for rank in range(8)
    ]


def test_loss_scale_skips_and_counts_steps_that_overflow(data, tmp_path):
    flags = schedule(1) + ["--mode=train", "--loss_scale=dynamic"]
    result, calls = run(data, tmp_path, *flags, NPU_STANDIN_OVERFLOWS="2,3")
    assert result.returncode == 0, result.stderr[-3000:]
    by_name = {entry["call"]: entry for entry in calls}
    assert by_name["ExponentialUpdateLossScaleManager"]["loss_scale"] == 2**32
    assert by_name["NPULossScaleOptimizer"]["is_distributed"] is False
    # Every step's overflow has to be seen.
    assert by_name["NPURunConfig"]["iterations_per_loop"] == 1
    assert "step 4 of 4" in result.stderr
    assert "2 steps skipped for overflow" in result.stderr


def test_with_several_ranks_a_fixed_scaling_goes_outside(monkeypatch, tmp_path):
    script = """
import tensorflow.compat.v1 as tf
from devices import npu, runtime
device = npu.NpuRuntime(3, 8, runtime.Options(loss_scale="8"), "npu_bridge")
with tf.Graph().as_default():
    device.optimizer_wrapper()(tf.train.MomentumOptimizer(0.1, 0.9))
"""
    folders = [ROOT, os.path.join(STANDINS, "bridge"), STANDINS]
    env = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(folders),
        NPU_STANDIN_LOG=str(tmp_path / "calls"),
        RANK_SIZE="8",
        RANK_TABLE_FILE=os.path.join(ROOT, "npu_config", "8p.json"),
    )
    subprocess.run([sys.executable, "-c", script], env=env, check=True, timeout=100)
    calls = [json.loads(line) for line in open(tmp_path / "calls")]
    assert {"call": "FixedLossScaleManager", "loss_scale": 8} in calls
    assert {"call": "NPULossScaleOptimizer", "is_distributed": True} in calls


@pytest.mark.parametrize(
    "package, flags, message",
    [
        ("npu_device", ["--loss_scale=dynamic"], "has no loss scaling"),
        ("npu_bridge", ["--loss_scale=0.5"], "--loss_scale=0.5: must be 0"),
        ("npu_bridge", ["--iterations_per_loop=3"], "=3 does not divide 4"),
        (
            "npu_bridge",
            ["--iterations_per_loop=2", "--loss_scale=8"],
            "every step has to be seen",
        ),
    ],
)
def test_a_flag_that_does_not_go_with_the_npu_is_named(
    data, tmp_path, package, flags, message
):
    result, calls = run(data, tmp_path, *schedule(1), *flags, package=package)
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]
    started = "initialize_system" in names(calls)
    assert started == ("shutdown_system" in names(calls))


def test_device_is_stopped_when_training_fails(data, tmp_path):
    flags = schedule(1) + ["--base_learning_rate=1e9"]
    result, calls = run(data, tmp_path, *flags)
    assert result.returncode == 2
    assert "loss is" in result.stderr.splitlines()[-1]
    assert names(calls)[-2:] == ["shutdown_system", "exit"]


def test_cpu_never_imports_npu_bridge(data, tmp_path):
    result, calls = run(data, tmp_path, "--device=cpu", "--mode=eval")
    assert result.returncode == 2  # there is no checkpoint
    assert calls == []


def test_the_ports_are_not_those_of_hccl():
    for num_ranks in (2, 8, 4096):
        ports = range(runtime.DEFAULT_BASE_PORT, runtime.DEFAULT_BASE_PORT + num_ranks)
        assert not set(ports) & set(range(60000, 60016))


def test_no_process_is_forked_beside_the_driver():
    for path in glob.glob(os.path.join(ROOT, "**", "*.py"), recursive=True):
        if os.sep + "." in path or path.startswith(TESTS):
            continue
        tree = ast.parse(open(path, encoding="utf-8").read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("fork", "forkpty"), path
            if isinstance(node, ast.Constant):
                assert node.value != "fork", path
