# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the training runs on, as far as a machine without an NPU shows it."""

import pytest

import runtime


def create(monkeypatch, device="cpu", precision="allow_mix_precision", **environment):
    for name in ("RANK_ID", "RANK_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return runtime.create(device, precision)


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
        ("0", "8", "several ranks need Ascend NPUs"),
    ],
)
def test_ranks_that_make_no_sense_are_refused(monkeypatch, rank, size, message):
    with pytest.raises(ValueError, match=message):
        create(monkeypatch, RANK_ID=rank, RANK_SIZE=size)


def test_an_npu_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="neither npu_bridge nor npu_device"):
        create(monkeypatch, device="npu")


def test_cpu_hides_gpus_and_must_keep_origin_dtype_turns_mixing_off(monkeypatch):
    device = create(monkeypatch, precision="must_keep_origin_dtype")
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
