# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Category ids to classes and back."""

import pytest

import categories


def test_classes_are_the_ids_in_ascending_order_and_the_lookups_are_inverse():
    table = categories.class_of_category_table()
    assert categories.NUM_CLASSES == 81
    assert (table[1], table[11], table[13], table[90]) == (1, 11, 12, 80)
    for number in range(1, 81):
        assert table[categories.category_of_class(number)] == number


def test_an_id_that_coco_does_not_use_has_no_class():
    assert categories.class_of_category_table()[12] == 0


@pytest.mark.parametrize("number", [0, 81])
def test_background_and_numbers_past_the_last_are_refused(number):
    with pytest.raises(ValueError, match="1..80"):
        categories.category_of_class(number)
