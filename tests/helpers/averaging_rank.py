# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""One rank of test_workers.py: trains on its own images of a file.

  python3 averaging_rank.py INPUT.npz MODEL_DIR BASE_PORT SEED

with RANK_ID and RANK_SIZE in the environment.
"""

import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.insert(
    0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
)

import ssd_model
from devices import base, selection


def main(input_file, model_dir, base_port, seed):
    """Trains one step per batch of this rank, and saves a checkpoint after each."""
    tf.logging.set_verbosity(tf.logging.INFO)
    options = base.Options(
        precision_mode="must_keep_origin_dtype", base_port=int(base_port)
    )
    with selection.create("cpu", options) as device:
        with np.load(input_file) as arrays:
            batches = {name: arrays[name][:, device.rank] for name in arrays.files}
        steps, batch_size = batches["image"].shape[:2]
        params = dict(
            ssd_model.DEFAULT_PARAMS,
            batch_size=batch_size,
            num_ranks=device.num_ranks,
            num_examples_per_epoch=steps * batch_size * device.num_ranks,
            num_epochs=1,
            decay_epochs=1,
            warmup_epochs=0,
            log_every_n_steps=1,
        )

        def input_fn():
            features = {"image": batches["image"]}
            labels = {k: v for k, v in batches.items() if k != "image"}
            dataset = tf.data.Dataset.from_tensor_slices((features, labels))
            return dataset.repeat()

        device.train(
            ssd_model.ssd_model_fn,
            device.shared_model_dir(model_dir),
            params,
            input_fn,
            steps,
            [],
            save_checkpoints_steps=1,
            tf_random_seed=int(seed),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
