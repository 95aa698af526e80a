# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stands in for CANN's atc, and refuses what its manual does not allow.

It takes only the options that the manual has for a frozen TensorFlow graph, checks
inputs and outputs against the graph, and writes the graph as the "offline model".
"""

import os
import re
import sys

# Light, unlike TensorFlow, which it comes with.
from tensorboard.compat.proto.graph_pb2 import GraphDef

REQUIRED = {"framework", "model", "output", "soc_version"}
OPTIONS = REQUIRED | {"input_format", "input_shape", "out_nodes", "log"}
VARIABLES = {"VariableV2", "VarHandleOp", "ReadVariableOp"}


def check(condition, code, text):
    if not condition:
        print(f"{code}: {text}\nATC run failed, Please check the detail log")
        sys.exit(1)


def read_options():
    options = {}
    for argument in sys.argv[1:]:
        match = re.fullmatch(r"--(\w+)=(\S+)", argument)
        check(match and match[1] in OPTIONS, "E10003", f"{argument} is not allowed")
        options[match[1]] = match[2]
    check(REQUIRED <= set(options), "E10004", f"one of {sorted(REQUIRED)} is missing")
    return options


def read_graph(options):
    check(options["framework"] == "3", "E10007", "framework must be 3 for TensorFlow")
    check(options.get("input_format", "NHWC") in ("NHWC", "NCHW"), "E10001", "format")
    for name in ("model", "output"):
        is_allowed = re.fullmatch(r"[\w./-]+", options[name])
        check(is_allowed, "E10001", f"--{name} has other characters than A-Z0-9_-./")
    check(options["model"].endswith(".pb"), "E10001", "--model must end with .pb")
    with open(options["model"], "rb") as file:
        nodes = {node.name: node for node in GraphDef.FromString(file.read()).node}
    kinds = {node.op for node in nodes.values()}
    check(not kinds & VARIABLES, "E19999", "only frozen graphs can be converted")
    return nodes


def check_nodes(options, nodes):
    inputs = {name for name, node in nodes.items() if node.op == "Placeholder"}
    given = dict(pair.split(":") for pair in options["input_shape"].split(";"))
    check(set(given) == inputs, "E10016", f"the inputs of the graph are {inputs}")
    for name, text in given.items():
        check(re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text), "E10002", "not fixed")
        shape = [dim.size for dim in nodes[name].attr["shape"].shape.dim]
        check(list(map(int, text.split(","))) == shape, "E10002", f"not {shape}")
    for text in options["out_nodes"].split(";"):
        match = re.fullmatch(r"(.+):\d+", text)
        check(
            match and match[1] in nodes, "E10016", f"opname {text} is not in the graph"
        )


def main():
    print("ATC start working now, please wait for a moment.")
    options = read_options()
    is_known = re.fullmatch(r"Ascend(310(P\d|B\d)?|910\w*)", options["soc_version"])
    check(is_known, "E10001", f"Value [{options['soc_version']}] for --soc_version")
    check_nodes(options, read_graph(options))
    with open("fusion_result.json", "w") as file:
        file.write("{}")
    os.link(options["model"], options["output"] + ".om")
    print("ATC run success, welcome to the next use.")


if __name__ == "__main__":
    main()
