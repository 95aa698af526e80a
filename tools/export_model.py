# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports a checkpoint as a SavedModel, frozen graphs and ONNX, with its label map.

  python3 tools/export_model.py --model=training/D0/result_npu --output_dir=export

takes about ten seconds. It reads a checkpoint (model.ckpt-N) or a folder of checkpoints
(its newest one), and writes into a new folder

  saved_model/    SavedModel for TensorFlow and TensorFlow Serving
  detect.pb       the same graph, frozen
  raw.pb          the network only, frozen, for Ascend's model converter ATC
  label_map.json  the categories, in the format of --label_map

and with --onnx (which needs tools/requirements-export.txt and a minute)

  detections.onnx the graph of detect.pb with the input `images` for ONNX
  raw.onnx        raw.pb for ONNX

and with --soc_version, if Ascend's model converter ATC is on the PATH

  ssd_resnet34.om raw.pb for the processor that --soc_version names

docs/deploy.md has a program for each of them.

SavedModel and detect.pb have two inputs, one of which is to be fed:

  images  uint8 [B, height, width, 3], RGB; the B images of a batch have one size
          (signature serving_default of the SavedModel)
  input   float32 [B, 300, 300, 3], RGB in 0..1, already resized as TensorFlow 1's
          tf.image.resize_images does (signature resized)

and four outputs, which hold the detections of each image by descending score:

  boxes           float32 [B, 200, 4], [ymin, xmin, ymax, xmax] as parts of height and
                  width; ymax and xmax may be larger than 1
  classes         int32 [B, 200], category ids of label_map.json (COCO: 1..90)
  scores          float32 [B, 200], above 0.05
  num_detections  int32 [B]; the rows of the other outputs from here on are 0

The detections are those of --mode=eval --precision_mode=must_keep_origin_dtype: an
export computes in float32 on every machine.

raw.pb has the input `input` with a fixed batch size (--batch_size) and the outputs
class_logits, float32 [B, 8732, classes], where class 0 is background, and box_offsets,
float32 [B, 8732, 4]. evaluation/postprocess.py turns them into detections.
"""

import os
import re
import shlex
import shutil
import sys

from absl import flags

# The folder above this one has the imported modules.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import new_folder
from console.command import run
from console.errors import check
from detection import atc, exporter, model_file, onnx_export

FLAGS = flags.FLAGS


def _define_flags():
    flags.DEFINE_string("model", None, f"Model to export: {model_file.CHECKPOINTS}.")
    flags.DEFINE_string("output_dir", None, "New folder for the export.")
    flags.DEFINE_string(
        "label_map",
        None,
        "Json or pbtxt with the model's categories; default: the label map beside the "
        "checkpoint, else COCO's.",
    )
    flags.DEFINE_integer(
        "batch_size", 1, "Fixed batch size of the raw graphs, in images.", lower_bound=1
    )
    flags.DEFINE_boolean("onnx", False, "Write detections.onnx and raw.onnx as well.")
    flags.DEFINE_string(
        "soc_version",
        None,
        "Name of an Ascend processor, such as Ascend310P3, to convert raw.pb for.",
    )


def main(_):
    """Exports the model that the flags name."""
    model_file.quiet_tensorflow()
    for name in ("model", "output_dir"):
        check(FLAGS[name].value, "--%s is missing", name)
    check(
        FLAGS.soc_version is None or re.fullmatch(r"Ascend\d+\w*", FLAGS.soc_version),
        "--soc_version=%s: must be Ascend and the name that `npu-smi info` shows, such "
        "as Ascend310P3",
        FLAGS.soc_version,
    )
    if FLAGS.onnx:
        onnx_export.check_packages()
    checkpoint_path = model_file.find_checkpoint(FLAGS.model)
    folder = os.path.dirname(checkpoint_path)
    label_map = model_file.read_label_map(FLAGS.label_map, folder)
    with new_folder.create("output_dir", FLAGS.output_dir) as partial:
        exporter.export(checkpoint_path, label_map, partial, FLAGS.batch_size)
        if FLAGS.onnx:
            onnx_export.export(checkpoint_path, label_map, partial)
        runs_atc = FLAGS.soc_version and shutil.which("atc")
        if runs_atc:
            atc.convert(partial, FLAGS.batch_size, FLAGS.soc_version)
    print(f"{checkpoint_path}: exported to {FLAGS.output_dir}")
    if not runs_atc:
        name = FLAGS.soc_version or "Ascend310P3"
        line = atc.command(FLAGS.output_dir, FLAGS.batch_size, name)
        print("for Ascend, where atc is installed:", *map(shlex.quote, line))


if __name__ == "__main__":
    run(main, _define_flags)
