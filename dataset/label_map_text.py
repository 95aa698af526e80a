# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the label_map.pbtxt of TensorFlow's Object Detection API.

It is a StringIntLabelMap of object_detection/protos/label_map.proto, in protobuf's text
format:

  item { id: 1 name: "cat" display_name: "Cat" }

Parsed here, since protobuf's own parser differs between the versions in use: older ones
refuse lists in fields that they do not know.
"""

import collections
import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<word>[\w.+-]+)|(?P<mark>[][{}<>:;,])|\#.*|\s+|\ufeff"""
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}
_CLOSING = {"{": "}", "<": ">", "[": "]"}


class _Token(NamedTuple):
    """A token; kind is "text" (a string in quotes), "word", "mark" or "end"."""

    kind: str
    text: str
    line: int


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
    tokens = collections.deque(_tokens(text))
    entries = []
    while tokens[0].kind != "end":
        _expect(tokens, "item")
        entry = _to_entry(_read_item(tokens))
        if entry != {"id": 0, "name": "background"}:
            entries.append(entry)
    if not entries:
        raise ValueError('it has no items like item { id: 1 name: "cat" }')
    return entries


def _tokens(text):
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise _error(_Token("", text[position : position + 20], line))
        if match.lastgroup:
            yield _Token(match.lastgroup, match.group(), line)
        line += match.group().count("\n")
        position = match.end()
    yield _Token("end", "the end of the file", line)


def _error(token):
    return ValueError(
        f"line {token.line}: {token.text!r:.60} does not belong there; the items of a "
        'label map are like item { id: 1 name: "cat" }'
    )


def _expect(tokens, *allowed):
    token = tokens.popleft()
    if token.text not in allowed or token.kind == "text":
        raise _error(token)
    return token


def _skip(tokens, *marks):
    if tokens[0].kind == "mark" and tokens[0].text in marks:
        tokens.popleft()


def _read_item(tokens):
    """Returns a dict from field to its value, str; None for lists and messages."""
    _skip(tokens, ":")
    closing = _CLOSING[_expect(tokens, "{", "<").text]
    fields = {}
    while tokens[0].text != closing:
        token = tokens.popleft()
        if token.kind != "word":
            raise _error(token)
        if token.text in fields and token.text in ("id", "name", "display_name"):
            raise ValueError(f"line {token.line}: {token.text} occurs twice in an item")
        _skip(tokens, ":")
        fields[token.text] = _read_value(tokens)
        _skip(tokens, ",", ";")
    tokens.popleft()
    return fields


def _read_value(tokens):
    token = tokens.popleft()
    if token.kind == "word":
        return token.text
    if token.kind == "text":
        parts = [token]
        # Strings that follow each other are one string.
        while tokens[0].kind == "text":
            parts.append(tokens.popleft())
        return "".join(_unquote(part) for part in parts)
    if token.text not in _CLOSING:
        raise _error(token)
    expected = [_CLOSING[token.text]]
    while expected:
        token = tokens.popleft()
        if token.kind == "mark" and token.text in _CLOSING:
            expected.append(_CLOSING[token.text])
        elif token.text == expected[-1]:
            expected.pop()
        elif token.kind == "end":
            raise _error(token)
    return None


def _unquote(token):
    def replace(match):
        code = match.group(1)
        if code[:1].isdigit():
            return bytes([int(code, 8) & 0xFF])
        if len(code) > 1:
            return bytes([int(code[1:], 16)])
        return _ESCAPED.get(code, code)

    try:
        return _ESCAPE.sub(replace, token.text[1:-1].encode()).decode()
    except UnicodeDecodeError:
        raise ValueError(f"line {token.line}: {token.text!r} is not UTF-8") from None


def _to_entry(fields):
    number, name = fields.get("id"), fields.get("name")
    # Records hold the name, except those of the published label maps, whose names are
    # ids of Google's Knowledge Graph: /m/01g317 for person.
    if not name or name.startswith(("/m/", "/g/")):
        name = fields.get("display_name") or name
    is_number = number is not None and re.fullmatch(r"-?[0-9]{1,15}", number)
    return {"id": int(number) if is_number else number, "name": name}
