# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the training runs on, as far as a machine without an NPU shows it."""

import pytest
import tensorflow.compat.v1 as tf

from devices import runtime


def create(monkeypatch, device="cpu", options=None, **environment):
    for name in ("RANK_ID", "RANK_SIZE", "RANK_TABLE_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return runtime.create(device, runtime.Options(**(options or {})))


def test_alone_it_is_rank_0_of_1_and_takes_one_step_a_run(monkeypatch):
    device = create(monkeypatch)
    assert (device.rank, device.num_ranks) == (0, 1)
    assert device.optimizer_wrapper() is None
    assert device.iterations_per_loop(200, 100) == 1


@pytest.mark.parametrize(
    "rank, size, message",
    [
        ("x", "1", "not whole numbers"),
        ("1", "1", "must lie in"),
        ("-1", "8", "must lie in"),
        ("0", "0", "must lie in"),
    ],
)
def test_ranks_that_make_no_sense_are_refused(monkeypatch, rank, size, message):
    with pytest.raises(ValueError, match=message):
        create(monkeypatch, RANK_ID=rank, RANK_SIZE=size)


def test_an_npu_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="neither npu_bridge nor npu_device"):
        create(monkeypatch, device="npu")


def test_cpu_hides_gpus_and_must_keep_origin_dtype_turns_mixing_off(monkeypatch):
    device = create(monkeypatch, options={"precision_mode": "must_keep_origin_dtype"})
    config = device.session_config()
    assert config.device_count["GPU"] == 0
    assert "auto_mixed_precision" not in str(config)


@pytest.mark.parametrize("flags, is_mixed", [("avx2 avx512_bf16", 1), ("avx2", 0)])
def test_mixed_precision_needs_bfloat16_instructions(monkeypatch, flags, is_mixed):
    monkeypatch.setattr(runtime, "_cpu_flags", lambda: set(flags.split()))
    config = create(monkeypatch).session_config()
    rewrites = config.graph_options.rewrite_options
    if not hasattr(rewrites, "auto_mixed_precision_onednn_bfloat16"):
        pytest.skip("this TensorFlow has no bfloat16 rewrite")
    assert rewrites.auto_mixed_precision_onednn_bfloat16 == is_mixed


@pytest.mark.parametrize("scale", ["0.5", "-1", "inf", "nan", "much", ""])
def test_a_loss_scale_that_makes_no_sense_is_refused(monkeypatch, scale):
    with pytest.raises(ValueError, match=f"--loss_scale={scale}: must be 0"):
        create(monkeypatch, options={"loss_scale": scale})


def test_a_loss_scale_is_refused_where_there_is_no_float16(monkeypatch):
    with pytest.raises(ValueError, match="--loss_scale=dynamic: only float16 needs it"):
        create(monkeypatch, options={"loss_scale": "dynamic"})


def test_several_ranks_without_npus_use_tensorflows_own_engine(monkeypatch):
    device = create(monkeypatch, RANK_ID="3", RANK_SIZE="8")
    assert (device.rank, device.num_ranks) == (3, 8)
    assert device.shares_model_dir


def test_a_gpu_mixes_float16_in_and_scales_the_loss():
    # Made by hand: this machine need not have one.
    device = runtime.Runtime(0, 1, runtime.Options(), has_gpu=True)
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


def test_a_gpu_that_must_keep_float32_scales_nothing():
    options = runtime.Options(precision_mode="must_keep_origin_dtype")
    device = runtime.Runtime(0, 1, options, has_gpu=True)
    rewrites = device.session_config().graph_options.rewrite_options
    assert rewrites.auto_mixed_precision == rewrites.DEFAULT
    assert device.optimizer_wrapper() is None


@pytest.mark.parametrize(
    "visible, local_rank, expected",
    [(None, 3, "3"), ("4,5,6,7", 1, "5"), ("GPU-af01,GPU-b2", 0, "GPU-af01")],
)
def test_each_rank_of_a_server_takes_one_gpu(visible, local_rank, expected):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    runtime._take_one_gpu(environment, local_rank)
    assert environment == {"CUDA_VISIBLE_DEVICES": expected}
