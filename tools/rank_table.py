# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks, shows and creates rank tables; --help lists the commands."""

import os
import sys

# The rooms lie in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from devices import rank_table

if __name__ == "__main__":
    # File names that are no text of this locale pass through as they are.
    sys.stdout.reconfigure(errors="surrogateescape")
    sys.exit(rank_table.main())
