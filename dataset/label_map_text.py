# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the label_map.pbtxt of TensorFlow's Object Detection API.

It is a StringIntLabelMap of object_detection/protos/label_map.proto, in protobuf's text
format:

  item { id: 1 name: "cat" display_name: "Cat" }
"""

from google.protobuf import descriptor_pb2, message_factory, text_format

# The fields that are needed here. Others are skipped.
_SCHEMA = """
name: "ssd_resnet34/label_map.proto"
package: "ssd_resnet34"
message_type {
  name: "Item"
  field { number: 1 name: "name" type: TYPE_STRING label: LABEL_OPTIONAL }
  field { number: 2 name: "id" type: TYPE_INT64 label: LABEL_OPTIONAL }
  field { number: 3 name: "display_name" type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "LabelMap"
  field {
    number: 1 name: "item" type: TYPE_MESSAGE type_name: "Item" label: LABEL_REPEATED
  }
}
"""
_FILE = text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto())
_StringIntLabelMap = message_factory.GetMessages([_FILE])["ssd_resnet34.LabelMap"]


def parse(text):
    """Parses the text of a label map.

    Returns:
      list of dict {"id": int, "name": str}, as in a COCO json's "categories"; a field
      that an item lacks is None. The item 0 named "background" is left out, because the
      Object Detection API reserves the number for it.

    Raises:
      ValueError: one line; the text is not a label map.
    """
    label_map = _StringIntLabelMap()
    try:
        text_format.Parse(text.lstrip("\ufeff"), label_map, allow_unknown_field=True)
    except text_format.ParseError as error:
        # The text has the whole line, which may be long.
        raise ValueError(
            f"line {error!s:.200}; the items of a label map are like "
            'item { id: 1 name: "cat" }'
        ) from error
    if not label_map.item:
        raise ValueError('it has no items like item { id: 1 name: "cat" }')
    entries = [
        {"id": item.id if item.HasField("id") else None, "name": _name(item)}
        for item in label_map.item
    ]
    return [e for e in entries if e != {"id": 0, "name": "background"}]


def _name(item):
    # Records hold the name, except those of the published label maps, whose names are
    # ids of Google's Knowledge Graph: /m/01g317 for person.
    is_graph_id = item.name.startswith(("/m/", "/g/"))
    return item.display_name if is_graph_id or not item.name else item.name
