# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training and prediction through stand-ins for Huawei's npu_bridge and npu_device."""

import ast
import glob
import json
import os
import subprocess
import sys

import pytest

import own_data
import processes
from devices import base, cluster, npu
from trainer import checkpoints

TESTS = os.path.join(processes.ROOT, "tests")
STANDINS = os.path.join(TESTS, "npu_standin")
PACKAGES = {"npu_bridge": "bridge", "npu_device": "device"}
TABLE = os.path.join(processes.ROOT, "npu_config", "8p.json")


def run(command, folder, package="npu_bridge", **environment):
    """Runs a command with a stand-in; returns the process and the adapter's calls."""
    log = os.path.join(str(folder), "calls.jsonl")
    ours = ("JOB_ID", "RANK_ID", "RANK_SIZE", "RANK_TABLE_FILE")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env.update(
        PYTHONPATH=os.pathsep.join(
            [os.path.join(STANDINS, PACKAGES[package]), STANDINS, processes.ROOT]
        ),
        NPU_STANDIN_LOG=log,
        TF_CPP_MIN_LOG_LEVEL="2",
        **environment,
    )
    result = subprocess.run(
        [sys.executable] + command, env=env, capture_output=True, text=True, timeout=300
    )
    calls = []
    if os.path.exists(log):
        with open(log) as file:
            calls = [json.loads(line) for line in file]
    return result, calls


def run_rank(folder, options, **environment):
    """Runs helpers/one_weight_rank.py; see `run`."""
    script = os.path.join(TESTS, "helpers", "one_weight_rank.py")
    command = [script, "npu", str(folder / "model"), json.dumps(options)]
    return run(command, folder, **environment)


def names(calls):
    return ", ".join(entry["call"] for entry in calls)


def find(calls, name):
    """The first call of that name."""
    return next(entry for entry in calls if entry["call"] == name)


@pytest.fixture
def create(monkeypatch):
    """Function that creates an Npu of the last rank, without an adapter."""

    def create_npu(package="npu_bridge", num_ranks=1, **options):
        monkeypatch.setattr(npu, "find_package", lambda: package)
        ranks = cluster.Cluster(num_ranks - 1, num_ranks, [], ("", 0), 0)
        return npu.Npu(ranks, base.Options(**options))

    return create_npu


def test_ranks_that_a_launcher_gives_one_folder_have_folders_of_their_own(
    create, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    assert create(num_ranks=8).folder_of_rank("/data/out") == "/data/out/rank_7"
    assert create().folder_of_rank("/data/out") == "/data/out"
    # The default is in the working folder of the rank.
    own = str(tmp_path / "result_npu")
    assert create(num_ranks=8).folder_of_rank(own) == own


def program_and_data(folder):
    """Writes five images with a box each; returns the start of a command."""
    boxes = [(number, 1, own_data.BOX) for number in range(1, 6)]
    own_data.write_coco(folder / "coco.json", ["dog"], boxes)
    own_data.succeed(folder, "--annotations=coco.json", "--output_prefix=train")
    return [
        os.path.join(processes.ROOT, "ssd_main.py"),
        f"--training_file_pattern={folder}/train-*",
        f"--validation_file_pattern={folder}/train-*",
        f"--val_json_file={folder}/instances_train.json",
        f"--model_dir={folder}",
    ]


@pytest.mark.slow
def test_the_whole_program_trains_and_evaluates_on_one_npu(tmp_path):
    # TensorFlow would take this name for a pattern, and CANN would refuse it.
    tmp_path = tmp_path / "run [1]"
    tmp_path.mkdir()
    command = (
        program_and_data(tmp_path)
        + ["--train_batch_size=1", "--eval_batch_size=2", "--log_every_n_steps=1"]
        + ["--num_examples_per_epoch=4", "--num_epochs=1", "--decay_epochs=1"]
        + ["--save_checkpoints_steps=2", f"--profiling={tmp_path}/prof"]
        + ["--color_on=device"]
    )
    result, calls = run(command, tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert names(calls) == (
        "import npu_bridge, initialize_system, NPURunConfig, keep_dtype_scope, "
        "compute_gradients, "
        "model_fn, trained, NPURunConfig, model_fn, shutdown_system, exit"
    )
    assert find(calls, "trained")["step"] == 4
    assert "RANK_TABLE_FILE" not in calls[0] and calls[0]["JOB_ID"]
    config = find(calls, "NPURunConfig")
    # The largest divisor of 100, of the 4 steps and of the 2 between checkpoints.
    assert config["iterations_per_loop"] == 2
    assert config["enable_data_pre_proc"] and config["hcom_parallel"]
    # The adapter's own defaults, and a warning if they are passed.
    assert not {"enable_data_pre_proc", "hcom_parallel"} & set(config["given"])
    assert config["deterministic"] == 0
    assert config["precision_mode"] == "allow_mix_precision"
    # trainer/saving.py saves the checkpoint between the first and the last one.
    assert config["save_checkpoints_steps"] == 4
    assert checkpoints.steps(str(tmp_path)) == [0, 2, 4]
    assert config["save_summary_steps"] == 100
    assert config["keep_checkpoint_max"] == 32
    profile = config["profiling_config"]["output"]
    assert os.path.isabs(profile) and "[" not in profile
    assert (tmp_path / "prof").is_dir()
    assert config["profiling_config"]["task_trace"] == "on"
    assert "device: NPU, rank 0 of 1" in result.stderr
    steps = [line for line in result.stderr.splitlines() if ":step " in line]
    assert [line.split()[1] for line in steps] == ["2", "4"]
    assert "global_step/sec" not in result.stderr
    assert "evaluated 5 of 5 images" in result.stderr
    assert "Eval results: {'COCO/AP'" in result.stderr
    for text in ("Using config", "listeners"):
        assert text not in result.stderr

    # Batches are drawn only if this is asked for.
    picture = tmp_path / "train_batches.png"
    assert not picture.exists()
    more = ["--mode=train", "--num_epochs=1.5", "--summary_images_every=1"]
    result, _ = run(command + more, tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "step 6 of 6" in result.stderr and picture.exists()


@pytest.mark.slow
def test_evaluations_while_training_share_one_graph_and_one_start_of_the_npu(tmp_path):
    result, calls = run(
        program_and_data(tmp_path)
        + ["--mode=train", "--train_batch_size=1", "--eval_batch_size=5"]
        + ["--num_examples_per_epoch=6", "--num_epochs=1", "--decay_epochs=1"]
        + ["--save_checkpoints_steps=6", "--eval_every_epochs=0.34"],
        tmp_path,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    # One model_fn builds the graph of the training, the other that of all evaluations.
    assert names(calls) == (
        "import npu_bridge, initialize_system, NPURunConfig, NPURunConfig, "
        "compute_gradients, model_fn, model_fn, trained, shutdown_system, exit"
    )
    # The training's. Two of the six steps per session run end at each evaluation.
    configs = [c for c in calls if c["call"] == "NPURunConfig"]
    assert [c["iterations_per_loop"] for c in configs] == [1, 2]
    assert checkpoints.steps(str(tmp_path)) == [0, 2, 4, 6]
    assert result.stderr.count("evaluated 5 of 5 images") == 3
    assert checkpoints.steps(str(tmp_path / "best")) == [2]


@pytest.mark.slow
def test_tensorflow_2_6_5s_adapter_takes_what_npu_config_gives(tmp_path):
    given = ["precision_mode_v2=mixed_float16,op_select_implmode=high_precision"]
    given.append(f"dump_config.enable_dump=true,dump_config.dump_path={tmp_path}")
    result, calls = run_rank(
        tmp_path,
        options={"npu_config": given, "deterministic": True},
        package="npu_device",
        TF_CONFIG='{"cluster": {"worker": ["job-0:2222"]}}',
        CM_WORKER_SIZE="1",
        CM_CHIEF_IP="10.0.0.1",
        RANK_TABLE_FILE=TABLE,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert names(calls) == (
        "import npu_device, enable_v1, initialize_system, NPURunConfig, "
        "compute_gradients, model_fn, trained, NPURunConfig, model_fn, "
        "shutdown_system, exit"
    )
    assert "TF_CONFIG in the environment is ignored" in result.stderr
    ignored = "CM_CHIEF_IP, CM_WORKER_SIZE, RANK_TABLE_FILE; this is rank 0 of 1"
    assert f"ignored in the environment: {ignored}" in result.stderr
    config = find(calls, "NPURunConfig")
    assert config["precision_mode"] is None
    assert config["precision_mode_v2"] == "mixed_float16"
    assert config["op_select_implmode"] == "high_precision"
    assert config["dump_config"] == {"dump_path": str(tmp_path), "dump_mode": "output"}
    assert config["deterministic"] == 1
    # In steps of 0.1 with momentum 0.5 the weight takes 1.5, 3, 3.75 and 3.75.
    assert "[3.75, 7.5]" in result.stdout


# Plays the other ranks of eight; prints what rank 0 gathers. It is a separate process,
# because it exits when rank 3 dies.
OTHER_RANKS = """
import sys, threading
from devices import rank_messages

def play(rank):
    ranks = rank_messages.connect(rank, 8, ("127.0.0.1", int(sys.argv[1])))
    ranks.exchange("trained")
    gathered = ranks.gather(b"nothing")
    if gathered:
        print(gathered)
    ranks.close()

for rank in (0, 1, 2, 4, 5, 6, 7):
    threading.Thread(target=play, args=(rank,)).start()
"""


@pytest.mark.slow
def test_rank_3_of_8_averages_outside_of_a_fixed_loss_scale(tmp_path):
    base_port = processes.free_ports(9)
    others = subprocess.Popen(
        [sys.executable, "-c", OTHER_RANKS, str(base_port + 8)],
        env=dict(os.environ, PYTHONPATH=processes.ROOT, JOB_ID="test"),
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    result, calls = run_rank(
        tmp_path,
        options={"base_port": base_port, "loss_scale": "8"},
        JOB_ID="test",
        RANK_ID="3",
        RANK_SIZE="8",
        DEVICE_ID="3",
        RANK_TABLE_FILE=TABLE,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert names(calls) == (
        "import npu_bridge, initialize_system, NPURunConfig, FixedLossScaleManager, "
        "NPULossScaleOptimizer, compute_gradients, model_fn, broadcast, trained, "
        "NPURunConfig, model_fn, shutdown_system, exit"
    )
    assert calls[0]["RANK_ID"] == "3" and calls[0]["RANK_TABLE_FILE"] == TABLE
    assert find(calls, "FixedLossScaleManager")["loss_scale"] == 8
    assert find(calls, "NPULossScaleOptimizer")["is_distributed"] is True
    assert find(calls, "compute_gradients")["num_ranks"] == 8
    # Each step's overflow must be seen.
    assert find(calls, "NPURunConfig")["iterations_per_loop"] == 1
    assert "device: NPU, rank 3 of 8" in result.stderr
    gathered = ast.literal_eval(others.communicate(timeout=60)[0])
    # The weight takes 3, 6, 7.5 and 7.5.
    assert gathered == [b"nothing"] * 3 + [b"[7.5, 15.0]"] + [b"nothing"] * 4


@pytest.mark.slow
def test_a_dynamic_loss_scale_skips_and_counts_steps_that_overflow(tmp_path):
    result, calls = run_rank(
        tmp_path, options={"loss_scale": "dynamic"}, NPU_STANDIN_OVERFLOWS="2,3"
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert find(calls, "ExponentialUpdateLossScaleManager")["loss_scale"] == 2**32
    assert find(calls, "NPULossScaleOptimizer")["is_distributed"] is False
    assert find(calls, "trained")["step"] == 4
    assert "2 steps skipped for overflow" in result.stderr


@pytest.mark.parametrize(
    "package, options, message",
    [
        ("npu_device", {"loss_scale": "dynamic"}, "=dynamic: .* has no loss scaling"),
        ("npu_bridge", {"loss_scale": "0.5"}, "--loss_scale=0.5: must be 0"),
        (
            "npu_bridge",
            {"iterations_per_loop": 3},
            "--iterations_per_loop=3 does not divide 4; .* are 9, 4, 6;",
        ),
        (
            "npu_bridge",
            {"iterations_per_loop": 2, "loss_scale": "8"},
            "=2: with --loss_scale every step must",
        ),
        ("npu_bridge", {"npu_config": ["aoe_mode"]}, "=aoe_mode: 'aoe_mode' is not of"),
    ],
)
def test_a_flag_that_does_not_fit_the_npu_is_named(create, package, options, message):
    with pytest.raises(ValueError, match=message):
        create(package, **options).iterations_per_loop(9, 4, 6)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("LOCAL_CHECKPOINT_DIR", "/x", "LOCAL_CHECKPOINT_DIR=/x .* would start"),
        ("RESTORE_FROM", "/x", "RESTORE_FROM=/x .* unset RESTORE_FROM"),
        ("CM_WORKER_SIZE", "8", "CM_WORKER_SIZE=8 .* RANK_SIZE is 1; unset"),
        ("ASCEND_DEVICE_ID", "0", "ASCEND_DEVICE_ID=0 .* DEVICE_ID is 3; unset"),
    ],
)
def test_a_variable_that_the_adapter_would_obey_is_refused(
    create, monkeypatch, name, value, message
):
    monkeypatch.setenv("DEVICE_ID", "3")
    monkeypatch.setenv(name, value)
    # Before anything is imported: there is no adapter here.
    with pytest.raises(ValueError, match=message):
        create().__enter__()


@pytest.mark.slow
def test_the_adapter_is_imported_for_an_npu_only_and_stopped_after_an_error(tmp_path):
    script = """
import sys
from devices import base, selection
with selection.create("cpu"):
    assert "npu_bridge" not in sys.modules
with selection.create("auto", base.Options(npu_config=["aoe_mode=2"])) as device:
    device.predictor(lambda features, labels, mode, params: None, sys.argv[1], {})
"""
    result, calls = run(["-c", script, str(tmp_path)], tmp_path)
    assert result.returncode == 1
    (line,) = [x for x in result.stderr.splitlines() if "UserError: " in x]
    assert "--npu_config=aoe_mode=2: the adapter refuses: aoe_mode" in line
    assert "quotes keep a number as text" in line
    assert names(calls) == (
        "import npu_bridge, initialize_system, shutdown_system, exit"
    )


def test_no_process_is_forked_beside_the_driver():
    for path in glob.glob(os.path.join(processes.ROOT, "**", "*.py"), recursive=True):
        if os.sep + "." in path or path.startswith(TESTS):
            continue
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("fork", "forkpty"), path
            if isinstance(node, ast.Constant):
                assert node.value != "fork", path
