"""`make demo`: tell the story, then stay up until Ctrl-C.

Environment:
    DEMO_EXIT: 1 ends by itself after the story. Exit code 0, or 1 when a step did not show what it must.
    DEMO_HOME: where everything is written; `.demo` in the repository by default. Two demos at a time need two.
"""

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from demo.airflow_api import ApiError, RunNotEndedError
from demo.airflow_stack import REPOSITORY
from demo.processes import StartError
from demo.stand import Stand
from demo.story import StepFailedError, Story, directions

_INTERRUPTED = 130


def main() -> int:
    """Run the demo and return the exit code."""
    _prepare_output()
    _interrupt_on_signals()
    home = Path(os.environ.get("DEMO_HOME") or REPOSITORY / ".demo").resolve()
    home.mkdir(parents=True, exist_ok=True)
    with _only_one(home) as is_alone:
        if not is_alone:
            print(f"Another demo is using {home}. End it first, or set DEMO_HOME to another folder.", file=sys.stderr)
            return 1
        return _run(Stand(home))


def _run(stand: Stand) -> int:
    story = Story(stand)
    is_told = False
    try:
        story.tell()
        is_told = True
        print(f"\nEverything shown and checked in {story.seconds:.0f} s.\n")
        if os.environ.get("DEMO_EXIT") == "1":
            return 0
        print(directions(stand))
        print("Stays up until Ctrl-C.")
        while True:
            time.sleep(1)
            stand.check()
    except KeyboardInterrupt:
        print("\nStopping.")
        return 0 if is_told else _INTERRUPTED
    except (StepFailedError, StartError, ApiError, RunNotEndedError, OSError, RuntimeError) as error:
        print(
            f"\nFAILED after {story.seconds:.0f} s. {error}\nLogs: {stand.home}, {stand.airflow.home}", file=sys.stderr
        )
        return 1
    finally:
        # A second Ctrl-C must not leave half of it running; stopping is bounded in time.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stand.stop()
        print(f"All processes ended. {story.seconds:.0f} s in total.")


def _prepare_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="replace")


def _interrupt_on_signals() -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts background jobs with it ignored, and Python then leaves it so.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup stays nohup
        signal.signal(signal.SIGHUP, interrupt)


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[bool]:
    """Give whether no other demo uses this folder, and keep it for us meanwhile."""
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


if __name__ == "__main__":
    sys.exit(main())
