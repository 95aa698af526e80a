# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the label_map.pbtxt of TensorFlow's Object Detection API.

It is a StringIntLabelMap of object_detection/protos/label_map.proto, in protobuf's text
format:

  item { id: 1 name: "cat" display_name: "Cat" }
"""

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

_FIELD = descriptor_pb2.FieldDescriptorProto


def parse(text):
    """Parses a label map.

    Args:
      text: str.

    Returns:
      list of dict {"id": int, "name": str}, as in a COCO json's "categories"; a field
      that an item lacks is None. The item 0 named "background" is left out, because the
      Object Detection API reserves the number for it.

    Raises:
      ValueError: one line; the text is not a label map.
    """
    try:
        items = text_format.Parse(
            text.lstrip("\ufeff"), _message_class()(), allow_unknown_field=True
        ).item
    except RecursionError:
        raise ValueError("its items are nested too deeply") from None
    except text_format.ParseError as error:
        # The text has the whole line, which may be long.
        reason = f"{error!s:.200}"
        if "codec can't decode" in str(error):
            reason = f"{error.GetLine()}: a name is not UTF-8"
        raise ValueError(
            f"line {reason}; the items of a label map are like "
            'item { id: 1 name: "cat" }'
        ) from error
    if not items:
        raise ValueError('it has no items like item { id: 1 name: "cat" }')
    entries = [
        {"id": item.id if item.HasField("id") else None, "name": _name(item)}
        for item in items
    ]
    return [e for e in entries if e != {"id": 0, "name": "background"}]


def _name(item):
    # Records hold the name, except those of the published label maps, whose names are
    # ids of Google's Knowledge Graph: /m/01g317 for person.
    is_graph_id = item.name.startswith(("/m/", "/g/"))
    return item.display_name if is_graph_id or not item.name else item.name


def _message_class():
    """Returns the class of a StringIntLabelMap, as far as it is needed here."""
    file = descriptor_pb2.FileDescriptorProto(name="label_map.proto")
    fields = (
        (1, "name", _FIELD.TYPE_STRING, _FIELD.LABEL_OPTIONAL),
        (2, "id", _FIELD.TYPE_INT64, _FIELD.LABEL_OPTIONAL),
        (3, "display_name", _FIELD.TYPE_STRING, _FIELD.LABEL_OPTIONAL),
        # Parsers of older versions refuse lists in fields that they do not know.
        (5, "ancestor_ids", _FIELD.TYPE_INT64, _FIELD.LABEL_REPEATED),
        (6, "descendant_ids", _FIELD.TYPE_INT64, _FIELD.LABEL_REPEATED),
    )
    item = file.message_type.add(name="Item")
    for number, name, kind, label in fields:
        item.field.add(number=number, name=name, type=kind, label=label)
    label_map = file.message_type.add(name="LabelMap")
    label_map.field.add(
        number=1,
        name="item",
        type=_FIELD.TYPE_MESSAGE,
        label=_FIELD.LABEL_REPEATED,
        type_name="Item",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName("LabelMap")
    # Newer versions of protobuf have the first, older ones the second.
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)
