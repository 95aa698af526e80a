# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The choice of a device, and what a machine without an NPU can show of CPU and GPU."""

import pytest
import tensorflow.compat.v1 as tf

from devices import base, cpu_gpu, selection
from devices.cluster import Cluster

ALONE = Cluster(0, 1, [], ("", 0), 0)


@pytest.fixture
def create(monkeypatch):
    """Function that creates a device in an environment."""

    def create_device(device="cpu", options=None, **environment):
        for name in ("RANK_ID", "RANK_SIZE", "RANK_TABLE_FILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return selection.create(device, base.Options(**(options or {})))

    return create_device


def test_a_cpu_takes_one_step_per_session_run_and_several_share_checkpoints(create):
    device = create()
    assert (device.rank, device.num_ranks) == (0, 1)
    assert device.optimizer_wrapper() is None
    assert device.iterations_per_loop(200, 100) == 1
    assert device.shared_model_dir("model") == "model"
    assert device.ranks.exchange(7) == [7]
    device = create(RANK_ID="3", RANK_SIZE="8")
    assert (device.rank, device.num_ranks) == (3, 8)
    assert device.shares_model_dir


ONE_TASK = '{"cluster": {"worker": ["job-0:2222"]}, "task": {"type": "worker"}}'
TWO_TASKS = '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}}'


@pytest.mark.parametrize("text", [ONE_TASK, '{"model_dir": "/x"}', "[]", "{", ""])
def test_tf_config_of_one_task_is_ignored(create, monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with create() as device:
        # Estimator itself refuses a cluster without a chief.
        device.predictor(lambda features, params: None, "model", {})


def test_tf_config_of_other_ranks_is_refused(create, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", TWO_TASKS)
    with pytest.raises(ValueError, match="has 2 tasks, but RANK_SIZE is 1; set"):
        create().__enter__()


@pytest.mark.parametrize(
    "device, options, message",
    [
        ("npu", {}, "neither npu_bridge nor npu_device"),
        ("cpu", {"loss_scale": "dynamic"}, "=dynamic: only float16 needs it"),
    ]
    + [
        ("cpu", {"loss_scale": scale}, f"--loss_scale={scale}: must be 0")
        for scale in ("0.5", "inf", "nan", "much", "")
    ],
)
def test_a_flag_that_does_not_fit_the_machine_is_named(
    create, device, options, message
):
    with pytest.raises(ValueError, match=message):
        create(device, options)


@pytest.mark.parametrize("has_gpu", [False, True])
def test_must_keep_origin_dtype_turns_mixing_and_scaling_off(has_gpu):
    options = base.Options(precision_mode="must_keep_origin_dtype")
    device = cpu_gpu.SingleDevice(ALONE, options, has_gpu)
    config = device.session_config()
    assert ("GPU" in config.device_count) == (not has_gpu)
    assert "auto_mixed_precision" not in str(config)
    assert device.optimizer_wrapper() is None


@pytest.mark.parametrize("flags, is_mixed", [("avx2 avx512_bf16", 1), ("avx2", 0)])
def test_mixed_precision_needs_bfloat16_instructions(
    create, monkeypatch, flags, is_mixed
):
    monkeypatch.setattr(cpu_gpu, "_cpu_flags", lambda: set(flags.split()))
    rewrites = create().session_config().graph_options.rewrite_options
    if not hasattr(rewrites, "auto_mixed_precision_onednn_bfloat16"):
        pytest.skip("this TensorFlow has no bfloat16 rewrite")
    assert rewrites.auto_mixed_precision_onednn_bfloat16 == is_mixed


def test_a_gpu_mixes_float16_in_and_scales_the_loss():
    # Created directly, because this machine may not have a GPU.
    device = cpu_gpu.SingleDevice(ALONE, base.Options(), has_gpu=True)
    config = device.session_config()
    rewrites = config.graph_options.rewrite_options
    assert rewrites.auto_mixed_precision == rewrites.ON
    assert "GPU" not in config.device_count
    with tf.Graph().as_default():
        optimizer = device.optimizer_wrapper()(tf.train.MomentumOptimizer(0.1, 0.9))
        assert isinstance(
            optimizer, tf.train.experimental.MixedPrecisionLossScaleOptimizer
        )
        weights = tf.get_variable("weights", initializer=[2.0])
        step = tf.train.get_or_create_global_step()
        train = optimizer.minimize(
            tf.reduce_sum(weights**2), step, var_list=tf.trainable_variables()
        )
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            session.run(train)
            # The gradient of 4 came back from its scale: 2 - 0.1 * 4.
            assert session.run([weights, step]) == [pytest.approx([1.6]), 1]


@pytest.mark.parametrize(
    "visible, local_rank, expected",
    [(None, 3, "3"), ("4,5,6,7", 1, "5"), ("GPU-af01,GPU-b2", 0, "GPU-af01")],
)
def test_each_rank_of_a_server_takes_one_gpu(visible, local_rank, expected):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    cpu_gpu._hide_other_gpus(environment, local_rank)
    assert environment == {"CUDA_VISIBLE_DEVICES": expected}


HOSTS = "localhost,node-1,10.0.0.2"


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, {"no_proxy": HOSTS}),
        (
            {"no_proxy": "a", "no_grpc_proxy": "c"},
            {"no_proxy": f"a,{HOSTS}", "no_grpc_proxy": f"c,{HOSTS}"},
        ),
    ],
)
def test_grpc_reaches_the_ranks_without_a_proxy(given, expected):
    environment = dict(given)
    workers = ["node-1:21000", "node-1:21001", "10.0.0.2:21002"]
    cpu_gpu._bypass_proxy(environment, workers)
    assert environment == expected
