# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two ranks on CPUs: gradients are averaged; the ranks end together and resume."""

import ast
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
import processes

pytestmark = pytest.mark.slow
# Nothing listens on the port "discard".
PROXY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """The checkpoints, statuses and outputs of three runs of the same two ranks.

    In the first run rank 1 is killed after a step, in the second it receives SIGTERM.
    The environment names a proxy that does not answer, as it would for these ranks.
    """
    environment = {k: v for k, v in os.environ.items() if "no_" not in k.lower()}
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        environment.update({name: PROXY, name.upper(): PROXY})
    environment["no_proxy"] = "example.org"
    model_dir = str(tmp_path_factory.mktemp("trainings") / "model")
    script = os.path.join(processes.ROOT, "tests", "helpers", "one_weight_rank.py")
    statuses, outputs = [], []
    for arguments in (["SIGKILL"], ["SIGTERM"], []):
        options = {
            "precision_mode": "must_keep_origin_dtype",
            "base_port": processes.free_ports(3),
        }
        command = [sys.executable, script, "cpu", model_dir, json.dumps(options)]
        ranks = processes.start_ranks(2, command + arguments, environment)
        outputs.append([rank.communicate(timeout=300)[0] for rank in ranks])
        statuses.append([rank.returncode for rank in ranks])
    return model_dir, statuses, outputs


def test_a_killed_rank_takes_the_other_along(trainings):
    _, statuses, _ = trainings
    assert statuses[0][1] == -signal.SIGKILL
    assert statuses[0][0] > 0


def test_sigterm_for_one_rank_stops_both_after_the_same_step(trainings):
    _, statuses, outputs = trainings
    assert statuses[1] == [0, 0]
    stops = [re.search(r"\nstopped at (\d)\n", text).group(1) for text in outputs[1]]
    assert stops[0] == stops[1] and stops[0] in "23"
    # The third run goes on from there.
    assert f"model.ckpt-{stops[0]}\n" in outputs[2][0]


def test_two_ranks_take_the_step_of_their_averaged_gradients(trainings):
    model_dir, statuses, outputs = trainings
    assert statuses[2] == [0, 0], outputs[2][0][-3000:]
    # The mean of the gradients 5 (w - 3) and 5 (w - 4) is 5 (w - 3.5). Accumulated with
    # momentum 0.5 it is -17.5, -17.5, -8.75 and 0; w is 1.75, 3.5, 4.375 and 4.375.
    for step, accumulated, weight in ((0, 0, 0), (2, -17.5, 3.5), (4, 0, 4.375)):
        reader = tf.train.load_checkpoint(f"{model_dir}/model.ckpt-{step}")
        assert reader.get_tensor("weight") == pytest.approx([weight], abs=1e-5)
        momentum = reader.get_tensor("weight/Momentum")
        assert momentum == pytest.approx([accumulated], abs=1e-4)
    # Both ranks predict with the weight that rank 0 has saved.
    gathered = re.search(r"^\[b'.*\]$", outputs[2][0], re.MULTILINE).group()
    predicted = [json.loads(text.decode()) for text in ast.literal_eval(gathered)]
    assert predicted == [[pytest.approx(4.375), pytest.approx(8.75)]] * 2
    assert "\nNone\n" in outputs[2][1]


def test_ranks_start_from_a_detector_and_share_the_evaluation_with_the_result_of_one(
    tmp_path,
):
    detector = models.write_checkpoint(tmp_path)
    clone = processes.copy_project(tmp_path / "two ranks")
    schedule = ["--num_examples_per_epoch=4", "--num_epochs=1", "--decay_epochs=1"]
    schedule += [f"--init_checkpoint={detector}", "--freeze=backbone"]
    schedule += ["--train_batch_size=1", f"--base_port={processes.free_ports(3)}"]
    results = []
    for script, flags in (("8p", schedule), ("1p", ["--mode=eval"])):
        result = subprocess.run(
            [str(clone / f"run_npu_{script}.sh"), *flags]
            + ["--eval_batch_size=2", "--eval_samples=5"],
            env=dict(os.environ, PYTHON=sys.executable, RANK_SIZE="2"),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
        results.append(processes.results_of(result.stdout))
    assert results[0] == pytest.approx(results[1], abs=1e-6)
    log = (clone / "training" / "D1" / "train_1.log").read_text()
    # Rank 0 has the first, third and fifth image.
    assert "2 images detected; rank 0 has the result" in log
    assert "Eval results" not in log
    old = tf.train.load_checkpoint(detector).get_tensor
    first, last = (
        tf.train.load_checkpoint(f"{clone}/training/D0/result_npu/model.ckpt-{step}")
        for step in (0, 2)
    )
    name = "ssd/class_net/class-3/bias"
    # Only background is among the categories of both.
    background = old(name).reshape([4, -1])[:, 0]
    np.testing.assert_array_equal(
        first.get_tensor(name).reshape([4, -1])[:, 0], background
    )
    assert (last.get_tensor(name).reshape([4, -1])[:, 0] != background).all()
    name = "resnet34/batch_normalization_5/moving_mean"
    np.testing.assert_array_equal(last.get_tensor(name), old(name))
    assert "resnet34/conv2d/kernel/Momentum" not in last.get_variable_to_shape_map()
