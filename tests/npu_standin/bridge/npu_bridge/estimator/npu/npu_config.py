# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Configurations of the device, with the arguments of the adapter of 2026."""

import inspect
import json
import os

import standin
import tensorflow.compat.v1 as tf

_PRECISION_MODES = (
    None,
    "force_fp32",
    "force_fp16",
    "cube_fp16in_fp32out",
    "allow_fp32_to_fp16",
    "allow_fp32_to_bf16",
    "must_keep_origin_dtype",
    "allow_mix_precision",
    "allow_mix_precision_fp16",
    "allow_mix_precision_bf16",
)
_PRECISION_MODES_V2 = (None, "fp16", "origin", "cube_fp16in_fp32out")
_PRECISION_MODES_V2 += ("mixed_float16", "mixed_bfloat16", "cube_hif8", "mixed_hif8")

# Arguments of the superclass with the defaults of the adapter.
_OF_RUN_CONFIG = dict(
    model_dir=None,
    tf_random_seed=None,
    save_summary_steps=0,
    save_checkpoints_steps=None,
    save_checkpoints_secs=None,
    session_config=None,
    keep_checkpoint_max=5,
    keep_checkpoint_every_n_hours=10000,
    log_step_count_steps=100,
    train_distribute=None,
    eval_distribute=None,
)
_OF_THE_DEVICE = dict.fromkeys(
    "profiling_config distribute precision_mode variable_format_optimize "
    "graph_memory_max_size variable_memory_max_size dump_config "
    "stream_max_parallel_num op_debug_level enable_scope_fusion_passes "
    "op_select_implmode optypelist_for_implmode dynamic_input_config aoe_mode "
    "work_path fusion_switch_file compress_weight_conf op_compiler_cache_mode "
    "op_compiler_cache_dir debug_dir dynamic_input dynamic_inputs_shape_range "
    "local_rank_id local_device_list session_device_id distribute_config "
    "modify_mixlist op_precision_mode soc_config hccl_timeout op_wait_timeout "
    "op_execute_timeout HCCL_algorithm customize_dtypes op_debug_config memory_config "
    "experimental_config topo_sorting_mode aoe_config_file insert_op_file "
    "precision_mode_v2 ac_parallel_enable quant_dumpable compile_dynamic_mode "
    "aicore_num auto_multistream_parallel_mode optimization_switch".split()
)
_OF_THE_DEVICE.update(
    iterations_per_loop=1,
    enable_data_pre_proc=True,
    enable_reduce_precision=False,
    mix_compile_mode=False,
    hcom_parallel=True,
    is_tailing_optimization=False,
    horovod_mode=False,
    graph_run_mode=1,
    enable_exception_dump=2,
    buffer_optimize="l2_optimize",
    enable_small_channel=0,
    enable_compress_weight=False,
    hcom_multi_mode=False,
    dynamic_graph_execute_mode="dynamic_execute",
    device_type="default_device_type",
    stream_sync_timeout=-1,
    event_sync_timeout=-1,
    external_weight=False,
    deterministic=0,
    frozen_variable=False,
    variable_placement="Device",
    jit_compile="auto",
    input_fusion_size=131072,
    graph_max_parallel_model_num=1,
    export_compile_stat=1,
    oo_constant_folding=True,
    input_batch_cpy=False,
    shape_generalization_mode="STRICT",
    all_tensor_not_empty=False,
    oo_level="O3",
)
# The real class hands these to native code as text; numbers make it fail.
_TEXTS = (
    "precision_mode precision_mode_v2 aoe_mode work_path modify_mixlist "
    "op_precision_mode op_select_implmode optypelist_for_implmode debug_dir "
    "graph_memory_max_size variable_memory_max_size jit_compile"
).split()


class ProfilingConfig:
    """Profiling."""

    def __init__(self, enable_profiling=False, profiling_options=None):
        options = json.loads(profiling_options or "{}")
        if enable_profiling and not os.path.isdir(options.get("output", "")):
            raise ValueError("profiling_options: output is not a folder")
        self.values = options if enable_profiling else None


class DumpConfig:
    """Dump of tensors."""

    def __init__(
        self,
        enable_dump=False,
        dump_path=None,
        dump_step=None,
        dump_mode="output",
        enable_dump_debug=False,
        dump_debug_mode="all",
        dump_data="tensor",
        dump_layer=None,
    ):
        if enable_dump and not os.path.isdir(dump_path or ""):
            raise ValueError(f"dump_path {dump_path!r} is not a folder")
        self.values = {"dump_path": dump_path, "dump_mode": dump_mode}


_CHOICES = {
    "precision_mode": _PRECISION_MODES,
    "precision_mode_v2": _PRECISION_MODES_V2,
    "aoe_mode": (None, "1", "2", "4"),
    "deterministic": (0, 1, 2),
}
_OBJECTS = {"profiling_config": ProfilingConfig, "dump_config": DumpConfig}


class NPURunConfig(tf.estimator.RunConfig):
    """Refuses arguments that the real class does not have, or does not accept."""

    __signature__ = inspect.Signature(
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value)
        for name, value in dict(_OF_THE_DEVICE, **_OF_RUN_CONFIG).items()
    )

    def __init__(self, **given):
        bound = self.__signature__.bind(**given)
        bound.apply_defaults()
        values = bound.arguments
        _check(values)
        if "cluster" in json.loads(os.environ.get("TF_CONFIG") or "{}"):
            raise ValueError('"cluster" and "distribute" must all be set in ps mode')
        if values["save_checkpoints_secs"] is None:
            if values["save_checkpoints_steps"] is None:
                values["save_checkpoints_steps"] = 100
        elif standin.num_ranks() > 1:
            raise ValueError("save_checkpoints_secs: the ranks' clocks differ")
        self.iterations_per_loop = values["iterations_per_loop"]
        shown = {
            name: getattr(value, "values", value)
            for name, value in values.items()
            if name != "session_config"
        }
        standin.record("NPURunConfig", given=sorted(given), **shown)
        super().__init__(**{name: values[name] for name in _OF_RUN_CONFIG})


def _check(values):
    loop = values["iterations_per_loop"]
    if not isinstance(loop, int) or loop < 1:
        raise ValueError("iterations_per_loop must be a positive integer")
    for name in _TEXTS:
        if not isinstance(values[name], (str, type(None))):
            raise TypeError(f"{name}: expected binary or unicode string")
    for name, kind in _OBJECTS.items():
        if not isinstance(values[name], (kind, type(None))):
            raise ValueError(f"`{name}` must be provided with type `{kind.__name__}`")
    if values["precision_mode"] and values["precision_mode_v2"]:
        raise ValueError("precision_mode and precision_mode_v2 cannot both be set")
    for name, choices in _CHOICES.items():
        if values[name] not in choices:
            raise ValueError(f"{name} should be in {choices}, not {values[name]!r}")
