# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every tool shares: what the user can mend is one line, and status 2."""

import os
import sys

from absl import app, flags


class InputError(Exception):
    """What the user can mend; one line that names the file or flag."""


def run(main_function, define_flags):
    """Runs a tool: what the user can mend becomes one line and status 2.

    Args:
      main_function: takes the arguments that are no flags.
      define_flags: defines the tool's flags.
    """
    define_flags()
    app.define_help_flags()
    name = os.path.basename(sys.argv[0])
    try:
        rest = flags.FLAGS(sys.argv)
        if rest[1:]:
            raise InputError(f"{rest[1]}: not a flag; flags look like --name=value")
        main_function(rest)
    except (InputError, flags.Error) as error:
        print(f"{name}: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
