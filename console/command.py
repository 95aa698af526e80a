# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every tool shares: what the user can mend is one line, and status 2."""

import os
import signal
import sys

from absl import app, flags

# Things of one kind that are said to be wrong; with more, all have one cause.
MOST_TOLD = 20


class InputError(Exception):
    """What the user can mend; one line that names the file or flag."""


class _Terminated(BaseException):
    """SIGTERM has come; like KeyboardInterrupt."""


def refuse(problems: list, remedy: str, are_shown: bool = False):
    """Ends the tool if anything is wrong.

    Args:
      problems: texts, one for each thing.
      remedy: what the user can do.
      are_shown: whether the user has seen each; else the first MOST_TOLD are told.

    Raises:
      InputError: if there are problems.
    """
    if not problems:
        return
    where = "see above"
    if not are_shown:
        for text in problems[1:MOST_TOLD]:
            print(" ".join(text.split()), file=sys.stderr)
        if len(problems) > MOST_TOLD:
            where = f"the first {MOST_TOLD - 1} of them above"
    more = len(problems) - 1
    others = f" (and {more} more, {where})" if more else ""
    raise InputError(f"{problems[0]}{others}; {remedy}")


def _terminate(*unused):
    raise _Terminated


def run(main_function, define_flags, takes_arguments=False):
    """Runs a tool and ends the process.

    The status is what main_function returns (None: 0), 2 after an InputError, 130
    after Ctrl-C, 143 after SIGTERM and 141 when nobody reads the output any more; open
    `with` and `finally` blocks end first.

    Args:
      main_function: takes the list of arguments that are no flags.
      define_flags: defines the tool's flags.
      takes_arguments: bool, whether there may be such arguments, in any place.
    """
    define_flags()
    app.define_help_flags()
    flags.FLAGS.set_gnu_getopt(takes_arguments)
    # TensorFlow's remarks on the processor, before anything imports it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    # Names of files and categories may hold what no terminal can show.
    sys.stdout.reconfigure(errors="backslashreplace")
    name = os.path.basename(sys.argv[0])
    signal.signal(signal.SIGTERM, _terminate)
    try:
        rest = flags.FLAGS(sys.argv)[1:]
        if rest and not takes_arguments:
            raise InputError(f"{rest[0]}: not a flag; flags look like --name=value")
        status = main_function(rest)
    except (InputError, flags.Error) as error:
        print(f"{name}: " + " ".join(str(error).split()), file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        status = 128 + signal.SIGINT
    except _Terminated:
        print(f"{name}: terminated", file=sys.stderr)
        status = 128 + signal.SIGTERM
    except BrokenPipeError:
        # Whoever reads the output has gone; what is still in memory has no reader.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    sys.exit(status)
