# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The frame of every command in tools/: flags, errors, exit status."""

import os
import signal
import sys

from absl import app, flags

from console import paths
from console.errors import UserError, check, describe

# Hides TensorFlow's remarks on the processor. TensorFlow reads it while it is imported,
# so commands import this module first.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")


class _Terminated(BaseException):
    """SIGTERM arrived; the counterpart of KeyboardInterrupt."""


def _terminate(*unused):
    raise _Terminated


def _check_local(arguments):
    """Refuses remote paths before a command makes a local folder of that name."""
    for argument in arguments:
        is_local = not paths.is_remote(argument)
        check(is_local, "%s: must be a local path; %s", argument, paths.COPY_OR_MOUNT)
    for name in flags.FLAGS:
        if isinstance(flags.FLAGS[name].value, str):
            paths.check_local(name, flags.FLAGS[name].value)


def run(main_function, define_flags, takes_arguments=False):
    """Runs a command and ends the process.

    The exit status is what main_function returns (None: 0), 2 after a UserError, 130
    after Ctrl-C, 143 after SIGTERM, and 141 when the reader of the output is gone. Open
    `with` and `finally` blocks are left first.

    Args:
      main_function: function of the list of arguments that are not flags.
      define_flags: function that defines the command's flags.
      takes_arguments: bool, whether such arguments are allowed, in any position.
    """
    define_flags()
    app.define_help_flags()
    flags.FLAGS.set_gnu_getopt(takes_arguments)
    # Names of files and categories may hold characters that the terminal lacks.
    sys.stdout.reconfigure(errors="backslashreplace")
    name = os.path.basename(sys.argv[0])
    signal.signal(signal.SIGTERM, _terminate)
    # Background jobs of shell scripts start with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        rest = flags.FLAGS(sys.argv)[1:]
        if rest and not takes_arguments:
            raise UserError(f"{rest[0]}: not a flag; flags look like --name=value")
        _check_local(rest)
        status = main_function(rest)
    except (UserError, flags.Error) as error:
        print(f"{name}: " + describe(error), file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        status = 128 + signal.SIGINT
    except _Terminated:
        print(f"{name}: terminated", file=sys.stderr)
        status = 128 + signal.SIGTERM
    except BrokenPipeError:
        # The interpreter would flush the rest of the output to a closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    sys.exit(status)
