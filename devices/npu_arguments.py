# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Arguments of NPURunConfig: what the user gives with --npu_config, and what we add.

Each installed adapter knows other arguments, so everything is checked against the
signature of its own NPURunConfig.
"""

import inspect
import re

# Every comma before "name=" or "name.name=" starts the next pair.
_NEXT_PAIR = re.compile(r",(?=[A-Za-z_][\w.]*=)")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$")
# The flags whose values arrive at NPURunConfig in these arguments.
_OTHER_FLAGS = {
    "iterations_per_loop": "--iterations_per_loop",
    "keep_checkpoint_max": "--keep_checkpoint_max",
    "model_dir": "--model_dir",
    "profiling_config": "--profiling",
    "save_checkpoints_secs": "--save_checkpoints_steps",
    "save_checkpoints_steps": "--save_checkpoints_steps",
    "session_config": "the other flags",
    "tf_random_seed": "--seed",
}
_PRECISION_MODES = ("precision_mode", "precision_mode_v2")
# SSD needs these. Adapters that have them as defaults warn if they are passed.
_NEEDED = {"enable_data_pre_proc": True, "hcom_parallel": True}


def parse(texts):
    """Parses the values of --npu_config.

    A value is an int, a float, true or false, or else text; quotes around it keep a
    number as text. "dump_config.dump_path=/tmp" is an argument of DumpConfig, whose
    object becomes the argument dump_config.

    Args:
      texts: iterable of str, each like "key=value,key=value".

    Returns:
      dict from key (str, may contain one dot) to int, float, bool or str.

    Raises:
      ValueError: one line; a text has another form, or a key does not belong here.
    """
    values = {}
    for text in texts:
        for pair in _NEXT_PAIR.split(text):
            key, equals, value = pair.partition("=")
            if not equals or not _NAME.match(key):
                raise ValueError(
                    f"--npu_config={text}: {pair!r} is not of the form key=value"
                )
            if key in values:
                raise ValueError(f"--npu_config={text}: {key} is given twice")
            flag = _OTHER_FLAGS.get(key.partition(".")[0])
            if flag:
                raise ValueError(f"--npu_config={text}: instead of {key} use {flag}")
            values[key] = _parse_value(value)
    if all(key in values for key in _PRECISION_MODES):
        raise ValueError(
            "--npu_config: precision_mode and precision_mode_v2 exclude each other; "
            "give one of them"
        )
    return values


def _parse_value(text):
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    for number_type in (int, float):
        try:
            return number_type(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def build(given, options, module):
    """Builds the arguments that do not depend on the training.

    Args:
      given: dict, see `parse`.
      options: base.Options.
      module: the adapter's npu_config, with NPURunConfig and the classes of its
        arguments.

    Returns:
      dict from names of NPURunConfig's arguments to values.

    Raises:
      ValueError: one line; this adapter does not know a key, or refuses a value.
    """
    known = inspect.signature(module.NPURunConfig).parameters
    arguments = {
        name: value
        for name, value in _NEEDED.items()
        if name in known and known[name].default != value
    }
    if not any(mode in given for mode in _PRECISION_MODES):
        arguments["precision_mode"] = options.precision_mode
    if options.deterministic and "deterministic" in known:
        arguments["deterministic"] = 1
    objects = {}
    for key, value in given.items():
        name, _, part = key.partition(".")
        _check_key(name, known, f"--npu_config={key}")
        if part:
            objects.setdefault(name, {})[part] = value
        else:
            arguments[name] = value
    for name, parts in objects.items():
        arguments[name] = _build_object(name, parts, module)
    return arguments


def precision(arguments):
    """Returns (name, value) of the precision mode in the result of `build`."""
    return next(
        (name, arguments[name]) for name in _PRECISION_MODES if name in arguments
    )


def _check_key(key, known, where):
    if key not in known:
        names = ", ".join(sorted(set(known) - set(_OTHER_FLAGS)))
        raise ValueError(
            f"{where}: the installed adapter does not know {key}; it knows {names}"
        )


def _build_object(name, parts, module):
    class_name = "".join(word.capitalize() for word in name.split("_"))
    if not hasattr(module, class_name):
        raise ValueError(f"--npu_config: {name} has no parts; give {name}=value")
    argument_class = getattr(module, class_name)
    for part in parts:
        known = inspect.signature(argument_class).parameters
        _check_key(part, known, f"--npu_config={name}.{part}")
    try:
        return argument_class(**parts)
    except (TypeError, ValueError) as error:
        raise ValueError(f"--npu_config: {class_name} refuses: {error}") from error
