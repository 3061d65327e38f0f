"""The progress line (plan 4.3): what it says, and that it comes at its interval and ends with the run."""

import logging
import re
import threading

import pytest

from s3_restore import progress as progress_module
from s3_restore.progress import Progress

MB = 1024**2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_the_line_says_how_far_how_fast_and_how_long_still(clock):
    progress = Progress(total_files=3, total_bytes=100 * MB, interval_s=10)
    progress.begin_file("a.raw")
    progress.add(20 * MB)
    clock[0] += 10
    assert progress.line() == ("Progress: 0 of 3 files, 20.0 of 100.0 MB (20%), 2.0 MB/s, ETA 40s, current file: a.raw")
    progress.end_file()
    progress.begin_file("b.d/c.bin")
    progress.add(50 * MB)
    clock[0] += 10
    assert progress.line() == (
        "Progress: 1 of 3 files, 70.0 of 100.0 MB (70%), 5.0 MB/s, ETA 6s, current file: b.d/c.bin"
    )


def test_rate_is_that_since_the_last_line_and_a_standstill_has_no_eta(clock):
    progress = Progress(1, 10 * MB, 10)
    progress.add(5 * MB)
    clock[0] += 10
    progress.line()
    clock[0] += 10
    assert "0.0 MB/s, ETA unknown" in progress.line()


def test_bytes_of_a_broken_try_are_taken_back(clock):
    progress = Progress(1, 10 * MB, 10)
    progress.add(8 * MB)
    progress.add(-8 * MB)
    clock[0] += 10
    assert "0.0 of 10.0 MB (0%), 0.0 MB/s, ETA unknown" in progress.line()


@pytest.mark.parametrize(("total", "settled", "said"), [(0, 0, "100%"), (10, 20, "100%"), (10, 0, "0%")])
def test_percent_stays_between_0_and_100(clock, total, settled, said):
    progress = Progress(1, total, 10)
    progress.add(settled)
    clock[0] += 1
    assert f"({said})" in progress.line()


def test_bytes_are_counted_from_many_threads():
    progress = Progress(1, 8000, 10)
    threads = [
        threading.Thread(target=lambda: [progress.add(1) or progress.end_file() for _ in range(1000)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.line().startswith("Progress: 8000 of 1 files")


def test_lines_come_while_it_runs_and_none_after(caplog):
    class Lines(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []
            self.two = threading.Event()

        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Progress: "):
                self.seen.append(record.getMessage())
                if len(self.seen) >= 2:
                    self.two.set()

    caplog.set_level(logging.INFO)
    handler = Lines()
    logging.getLogger().addHandler(handler)
    try:
        with Progress(1, 5, 0.001):
            assert handler.two.wait(10)
        logger_threads = [thread for thread in threading.enumerate() if thread.name == "s3-restore-progress"]
        for thread in logger_threads:
            thread.join(10)
            assert not thread.is_alive()
        ended_with = len(handler.seen)
    finally:
        logging.getLogger().removeHandler(handler)
    assert ended_with >= 2
    assert all(re.fullmatch(r"Progress: .*, current file: ", line) for line in handler.seen)
