# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""COCO's 80 object categories, and the class numbers that the network uses.

A category id is COCO's own number (1..90, with gaps). A class is the network's:
0 is background, and 1..80 are the category ids in ascending order.
"""

_COCO_80 = """
1 person|2 bicycle|3 car|4 motorcycle|5 airplane|6 bus|7 train|8 truck|9 boat
10 traffic light|11 fire hydrant|13 stop sign|14 parking meter|15 bench|16 bird
17 cat|18 dog|19 horse|20 sheep|21 cow|22 elephant|23 bear|24 zebra|25 giraffe
27 backpack|28 umbrella|31 handbag|32 tie|33 suitcase|34 frisbee|35 skis
36 snowboard|37 sports ball|38 kite|39 baseball bat|40 baseball glove
41 skateboard|42 surfboard|43 tennis racket|44 bottle|46 wine glass|47 cup|48 fork
49 knife|50 spoon|51 bowl|52 banana|53 apple|54 sandwich|55 orange|56 broccoli
57 carrot|58 hot dog|59 pizza|60 donut|61 cake|62 chair|63 couch|64 potted plant
65 bed|67 dining table|70 toilet|72 tv|73 laptop|74 mouse|75 remote|76 keyboard
77 cell phone|78 microwave|79 oven|80 toaster|81 sink|82 refrigerator|84 book
85 clock|86 vase|87 scissors|88 teddy bear|89 hair drier|90 toothbrush
"""


def _parse(table):
    entries = table.strip().replace("\n", "|").split("|")
    return {int(number): name for number, name in (e.split(" ", 1) for e in entries)}


# Category id -> name, in ascending order of the ids.
CATEGORY_NAMES = _parse(_COCO_80)
CATEGORY_IDS = tuple(CATEGORY_NAMES)
# Background counts as a class of its own.
NUM_CLASSES = len(CATEGORY_IDS) + 1


def class_of_category_table():
    """Gives the lookup from category id to class.

    Returns:
      list of int, one longer than the largest category id: entry i is the class
      (1..80) of category id i, or 0 where COCO has no such id. The inverse of
      `category_of_class`.
    """
    table = [0] * (CATEGORY_IDS[-1] + 1)
    for index, category_id in enumerate(CATEGORY_IDS):
        table[category_id] = index + 1
    return table


def category_of_class(class_number):
    """Gives the category id of a class (the inverse of the lookup above).

    Args:
      class_number: int, 1..80.

    Returns:
      int, the COCO category id.

    Raises:
      ValueError: for background or a number past the last class.
    """
    if not 1 <= class_number < NUM_CLASSES:
        raise ValueError(f"class {class_number} is not one of 1..{NUM_CLASSES - 1}")
    return CATEGORY_IDS[class_number - 1]
