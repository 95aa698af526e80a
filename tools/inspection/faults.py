# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The kinds of fault in a dataset, and what training and evaluation do about each."""

from dataset import json_faults, json_match, record_rules

# Faults of a file or record, besides those of record_rules.
CUT = "files that cannot be read to their end"
UNDECODABLE = "images that cannot be decoded"
TURNED = "images whose EXIF orientation nothing applies"
FLAT = "images that are nearly black or nearly white"

# Faults of the files together.
NO_RECORDS = "datasets without any record"
REPEATED = "ids that occur again"
ONE_PIXEL = "datasets whose boxes all lie within the first pixel"

# Faults of the COCO json, besides those of json_faults, and of json and records.
REFUSED = "jsons with an invalid entry or repeated ids, or in which no box counts"
OTHER_BOXES = "records whose boxes differ from the json's"
NO_RECORD = "images of the json without a record"

_LEFT_OUT = "training leaves the record out"
_BOTH = _LEFT_OUT + ", evaluation stops"

CONSEQUENCES = {
    **json_faults.CONSEQUENCES,
    record_rules.NO_EXAMPLE: _BOTH,
    record_rules.WRONG_IMAGE: _BOTH,
    record_rules.BAD_ID: "training does not need ids, evaluation stops",
    **dict.fromkeys(record_rules.BOX_PROBLEMS, _LEFT_OUT),
    CUT: "training leaves out the rest of the file, evaluation stops",
    record_rules.BAD_IMAGE: _BOTH,
    UNDECODABLE: "training and evaluation stop when they decode the damaged part",
    json_match.OTHER_SIZE: "training uses the pixels, and evaluation stops if the json "
    "contradicts most images; the boxes may be wrong, see the contact sheet",
    TURNED: "training uses the stored pixels; if the boxes are of the turned image, "
    "convert the images again with tools/create_tf_record.py",
    FLAT: "training uses them as they are; their content may be lost, see the images",
    record_rules.UNKNOWN: "training leaves the box out",
    NO_RECORDS: "training and evaluation stop at once",
    ONE_PIXEL: "training learns nothing: boxes must be divided by the size only once",
    REPEATED: "training uses every record, evaluation only the last one",
    REFUSED: "conversion or evaluation stops at once",
    json_match.NO_ID: "evaluation leaves the image out, and stops if most are",
    OTHER_BOXES: "training uses the record, evaluation the json",
    NO_RECORD: "evaluation counts their boxes as missed",
}
