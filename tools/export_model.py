# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports a checkpoint: a SavedModel and frozen graphs, with the label map.

  python3 tools/export_model.py --model=training/D0/result_npu --output_dir=export

writes, in about ten seconds,

  saved_model/    for TensorFlow and TensorFlow Serving
  detect.pb       the same as a frozen graph
  raw.pb          a frozen graph with the raw outputs, for Ascend's converter ATC
  label_map.json  the categories, as --label_map takes them

SavedModel and detect.pb take `images`, uint8 [B, height, width, 3], RGB of any size
(all of a batch of one size), or `input`, float32 [B, 300, 300, 3] in 0..1 and already
resized as tf.image.resize_images of TensorFlow 1 does; the SavedModel's signatures are
serving_default (images) and resized (input). They give, for each image, best first:

  boxes           float32 [B, 200, 4], [ymin, xmin, ymax, xmax] as parts of height and
                  width; the lower and right end may lie past 1
  classes         int32 [B, 200], category ids of label_map.json (COCO: 1..90)
  scores          float32 [B, 200], above 0.05
  num_detections  int32 [B]; from there on the other three are 0

just as --mode=eval --precision_mode=must_keep_origin_dtype counts them: an export
computes in float32, on any machine.

raw.pb takes `input` with a fixed batch (--batch_size) and gives `class_logits`, float32
[B, 8732, classes], class 0 being background, and `box_offsets`, float32 [B, 8732, 4];
postprocess.py turns them into detections.
"""

import json
import os
import shutil
import sys
import tempfile

from absl import flags

# The rooms lie in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import tensorflow.compat.v1 as tf

import anchors
from console.command import run
from console.errors import UserError

# Before TensorFlow, of which it sets the loudness.
from detection import model_file
from evaluation import postprocess

FLAGS = flags.FLAGS

OUTPUTS = ("boxes", "classes", "scores", "num_detections")
DETECT_FILE = "detect.pb"
RAW_FILE = "raw.pb"


def _define_flags():
    flags.DEFINE_string("model", None, "Checkpoint, or a folder: its newest one.")
    flags.DEFINE_string("output_dir", None, "New folder for the export.")
    flags.DEFINE_string(
        "label_map", None, "Json with the model's categories; default: COCO's."
    )
    flags.DEFINE_integer("batch_size", 1, "Images a run of raw.pb.", lower_bound=1)


def build_detector(label_map):
    """Builds the graph from pixels to detections in the default graph.

    Args:
      label_map: categories.LabelMap.

    Returns:
      (images, resized, outputs): the two inputs that the module describes, uint8
      [B, height, width, 3] and float32 [B, 300, 300, 3], either of which may be fed;
      and a dict of the tensors OUTPUTS.
    """
    images = tf.placeholder(tf.uint8, [None, None, None, 3], "images")
    size = anchors.IMAGE_SIZE
    resized = tf.placeholder_with_default(
        model_file.resize(images), [None, size, size, 3], model_file.INPUT
    )
    raw = model_file.build_network(resized, label_map)
    boxes, scores, classes, counts = postprocess.detections(*raw)
    category_ids = tf.constant([0] + list(label_map.names), tf.int32)
    is_there = tf.sequence_mask(counts, postprocess.MAX_PER_IMAGE, tf.int32)
    outputs = (boxes, tf.gather(category_ids, classes * is_there), scores, counts)
    named = {name: tf.identity(t, name) for name, t in zip(OUTPUTS, outputs)}
    return images, resized, named


def export(checkpoint_path, label_map, folder, batch_size=1):
    """Writes all files of an export.

    Args:
      checkpoint_path: str, prefix of the checkpoint's files.
      label_map: categories.LabelMap.
      folder: str, an empty folder.
      batch_size: int, images a run of raw.pb.

    Raises:
      UserError: the checkpoint is of another network or of other classes.
      OSError, tf.errors.OpError: the folder can't be written.
    """
    with tf.Graph().as_default(), _session() as session:
        # TensorFlow 2 cannot show the older kind of variables to who loads them.
        tf.get_variable_scope().set_use_resource(True)
        images, resized, outputs = build_detector(label_map)
        model_file.restore(session, checkpoint_path, label_map)
        saved_model = os.path.join(folder, model_file.SAVED_MODEL_DIR)
        _write_saved_model(session, images, resized, outputs, saved_model)
        _freeze(session, OUTPUTS, os.path.join(folder, DETECT_FILE))
    size = anchors.IMAGE_SIZE
    with tf.Graph().as_default(), _session() as session:
        shape = [batch_size, size, size, 3]
        fixed = tf.placeholder(tf.float32, shape, model_file.INPUT)
        model_file.build_network(fixed, label_map)
        model_file.restore(session, checkpoint_path, label_map)
        _freeze(session, model_file.RAW_OUTPUTS, os.path.join(folder, RAW_FILE))
    _write_label_map(label_map, checkpoint_path, folder)


def _session():
    return tf.Session(config=tf.ConfigProto(device_count={"GPU": 0}))


def _write_saved_model(session, images, resized, outputs, folder):
    def signature(**inputs):
        return tf.saved_model.signature_def_utils.predict_signature_def(inputs, outputs)

    builder = tf.saved_model.Builder(folder)
    builder.add_meta_graph_and_variables(
        session,
        [tf.saved_model.SERVING],
        {
            tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature(images=images),
            "resized": signature(input=resized),
        },
        clear_devices=True,
        # Both TensorFlows can then read what either wrote.
        strip_default_attrs=True,
    )
    builder.save()


def _freeze(session, outputs, path):
    """Writes the part of the graph that the outputs need, weights as constants."""
    frozen = tf.graph_util.convert_variables_to_constants(
        session, session.graph.as_graph_def(), list(outputs)
    )
    for node in frozen.node:
        node.device = ""
    with tf.Graph().as_default():
        # As for the SavedModel; only this function strips without a SavedModel.
        stripped = tf.train.export_meta_graph(
            graph_def=frozen, strip_default_attrs=True
        ).graph_def
    with open(path, "wb") as file:
        file.write(stripped.SerializeToString())


def _write_label_map(label_map, checkpoint_path, folder):
    entries = [{"id": key, "name": name} for key, name in label_map.names.items()]
    info = {
        "model": "SSD-ResNet34",
        "checkpoint": os.path.basename(checkpoint_path),
        "step": int(tf.train.load_variable(checkpoint_path, tf.GraphKeys.GLOBAL_STEP)),
    }
    path = os.path.join(folder, model_file.LABEL_MAP_FILE)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"info": info, "categories": entries}, file, indent=1)


def make_partial(output_dir):
    """A folder beside output_dir, which must be new or empty, to be renamed to it."""
    try:
        if os.path.lexists(output_dir) and os.listdir(output_dir):
            raise UserError(
                f"--output_dir={output_dir} is not empty; name a new folder, or move "
                "what is there away"
            )
        parent, name = os.path.split(os.path.abspath(output_dir))
        os.makedirs(parent, exist_ok=True)
        partial = tempfile.mkdtemp(prefix=f".partial-{name}-", dir=parent)
        # As any other new folder, not for its owner alone.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(partial, 0o777 & ~mask)
        return partial
    except OSError as error:
        raise UserError(
            f"--output_dir={output_dir} cannot be written: {error.strerror}"
        ) from error


def main(_):
    """Exports as the flags say."""
    model_file.quiet_tensorflow()
    for name in ("model", "output_dir"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing")
    label_map = model_file.read_label_map(FLAGS.label_map)
    checkpoint_path = model_file.find_checkpoint(FLAGS.model)
    if checkpoint_path is None:
        raise UserError(
            f"--model={FLAGS.model}: neither a checkpoint (model.ckpt-N) nor a folder "
            "that holds one"
        )
    partial = make_partial(FLAGS.output_dir)
    try:
        export(checkpoint_path, label_map, partial, FLAGS.batch_size)
        os.replace(partial, FLAGS.output_dir)
    except (OSError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--output_dir={FLAGS.output_dir}: {reason}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _print_result(checkpoint_path, FLAGS.output_dir)


def _print_result(checkpoint_path, folder):
    print(f"{checkpoint_path}: exported to {folder}")
    raw = os.path.join(folder, RAW_FILE)
    size = anchors.IMAGE_SIZE
    print(
        f"for Ascend: atc --framework=3 --model={raw} --output=ssd_resnet34 "
        f"--input_format=NHWC "
        f'--input_shape="{model_file.INPUT}:{FLAGS.batch_size},{size},{size},3" '
        f'--out_nodes="{";".join(name + ":0" for name in model_file.RAW_OUTPUTS)}" '
        "--soc_version=..."
    )


if __name__ == "__main__":
    run(main, _define_flags)
