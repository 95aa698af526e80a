# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The kinds of fault in a dataset, and what training and evaluation do about each."""

from dataset import box_rules, json_match, record_rules

# Faults of a file or record, besides those of record_rules.
CUT = "files that cannot be read to their end"
UNDECODABLE = "images that cannot be decoded"
EXCHANGED = "images with width and height exchanged"
OTHER_SIZE = "images of another size than stated"
BEYOND = "boxes that reach slightly out of their image"
TURNED = "images whose EXIF orientation nothing applies"
FLAT = "images that are nearly black or nearly white"
OTHER_NAME = "categories with another name in a record than in the label map"

# Faults of the files together.
NO_RECORDS = "datasets without any record"
REPEATED = "ids that occur again"
ONE_PIXEL = "datasets whose boxes all lie within the first pixel"

# Faults of the COCO json, and of the json and the records together.
REFUSED = "jsons with an invalid entry, or in which no box counts"
BAD_CATEGORIES = "jsons with invalid categories"
OTHER_NAMES = "categories with another name in the json than in the label map"
CATEGORIES = "categories of the json's boxes that are not in the label map"
IMAGE_IDS = "image ids of the json that occur again"
ANNOTATION_IDS = "annotation ids of the json that are 0 or occur again"
SIZELESS = "images of the json without width or height"
AREA = "areas in the json that cannot be those of the boxes"
OTHER_FILE = "file names that differ from the json's"
OTHER_BOXES = "records whose boxes differ from the json's"
NO_RECORD = "images of the json without a record"

_LEFT_OUT = "training leaves the record out"
_BOTH = _LEFT_OUT + ", evaluation stops"
_WRONG_SIZE = "training uses the pixels; the boxes may be wrong, see the contact sheet"

CONSEQUENCES = {
    record_rules.NO_EXAMPLE: _BOTH,
    record_rules.WRONG_IMAGE: _BOTH,
    record_rules.BAD_ID: "training does not need ids, evaluation stops",
    record_rules.WRONG_BOX_FEATURE: _LEFT_OUT,
    record_rules.UNEQUAL: _LEFT_OUT,
    record_rules.OUTSIDE: _LEFT_OUT,
    record_rules.BACKWARD: _LEFT_OUT,
    CUT: "training leaves out the rest of the file, evaluation stops",
    record_rules.BAD_IMAGE: _BOTH,
    UNDECODABLE: "training and evaluation stop when they decode the damaged part",
    EXCHANGED: _WRONG_SIZE,
    OTHER_SIZE: _WRONG_SIZE + "; evaluation stops if the json contradicts most images",
    BEYOND: "training clips the box",
    TURNED: "training uses the stored pixels; if the boxes are of the turned image, "
    "convert the images again with tools/create_tf_record.py",
    FLAT: "training uses them as they are; their content may be lost, see the images",
    record_rules.NO_SIZE: "training and evaluation leave the box out",
    record_rules.UNKNOWN: "training leaves the box out",
    OTHER_NAME: "training uses the id; give the dataset's own --label_map",
    NO_RECORDS: "training and evaluation stop at once",
    ONE_PIXEL: "training learns nothing: boxes must be divided by the size only once",
    REPEATED: "training uses every record, evaluation only the last one",
    REFUSED: "evaluation stops at once",
    BAD_CATEGORIES: "conversion stops, and so does every command with --label_map",
    OTHER_NAMES: "training and evaluation use the label map; give --label_map",
    CATEGORIES: "evaluation counts their boxes as missed; give --label_map",
    IMAGE_IDS: "conversion stops; evaluation takes the images for one",
    ANNOTATION_IDS: "evaluation never matches id 0, and stops at repeated ids",
    box_rules.UNKNOWN_IMAGE: "conversion and evaluation leave the box out",
    box_rules.UNKNOWN_CATEGORY: "conversion and evaluation leave the box out",
    SIZELESS: "conversion stops; evaluation cannot compare them with the records",
    AREA: "evaluation takes the area of the box if it is not positive; otherwise APs, "
    "APm and APl are wrong",
    json_match.NO_ID: "evaluation leaves the image out, and stops if most are",
    OTHER_FILE: "nothing, if the boxes are right; otherwise the ids are wrong",
    OTHER_BOXES: "training uses the record, evaluation the json",
    NO_RECORD: "evaluation counts their boxes as missed",
}

# Training counts a record with one of these against --max_bad_records.
LEFT_OUT = frozenset(record_rules.BOX_PROBLEMS) | {
    record_rules.NO_EXAMPLE,
    record_rules.WRONG_IMAGE,
    record_rules.BAD_IMAGE,
    CUT,
}
