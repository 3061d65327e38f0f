"""The progress line: what it says, and that it comes at its interval and ends with the run."""

import itertools
import logging
import re
import threading

import pytest

from s3_restore.model.file_specs import FileSpec
from s3_restore.run import progress as progress_module
from s3_restore.run.progress import FileInWork, History, Phase, Progress, Reading, Speedometer

MB = 1024**2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def spec(path: str = "a.raw", mb: int | None = 10) -> FileSpec:
    return FileSpec(path, "bucket", path, None if mb is None else mb * MB, None)


def begun(*specs: FileSpec) -> Progress:
    progress = Progress(specs, 10)
    for each in specs:
        progress.begin_file(each)
    return progress


def test_the_line_says_how_far_how_fast_and_how_long_still(clock):
    a, b, c = spec("a.raw", 20), spec("b.d/c.bin", 60), spec("d.raw", 20)
    progress = Progress((a, b, c), interval_s=10)
    progress.begin_file(a)
    progress.add(a, 20 * MB)
    clock[0] += 10
    assert progress.line() == ("Progress: 0 of 3 files, 20.0 of 100.0 MB (20%), 2.0 MB/s, ETA 40s, current file: a.raw")
    progress.end_file(a, ok=True)
    progress.begin_file(b)
    progress.add(b, 50 * MB)
    clock[0] += 10
    assert progress.line() == (
        "Progress: 1 of 3 files, 70.0 of 100.0 MB (70%), 5.0 MB/s, ETA 6s, current file: b.d/c.bin"
    )


def test_rate_is_that_since_the_last_line_and_a_standstill_has_no_eta(clock):
    progress = begun(spec())
    progress.add(spec(), 5 * MB)
    clock[0] += 10
    progress.line()
    clock[0] += 10
    assert "0.0 MB/s, ETA unknown" in progress.line()


def test_bytes_of_a_broken_try_are_taken_back(clock):
    progress = begun(spec())
    progress.add(spec(), 8 * MB)
    progress.add(spec(), -8 * MB)
    clock[0] += 10
    assert "0.0 of 10.0 MB (0%), 0.0 MB/s, ETA unknown" in progress.line()
    progress.add(spec(), 8 * MB)
    progress.enter(spec(), Phase.DOWNLOADING)
    clock[0] += 10
    assert "0.0 of 10.0 MB (0%), 0.0 MB/s, ETA unknown" in progress.line(), "a download that is begun anew"
    progress.add(spec(), 8 * MB)
    progress.put_off(spec())
    clock[0] += 10
    assert "0.0 of 10.0 MB (0%), 0.0 MB/s, ETA unknown" in progress.line(), "a file that is tried once more later"


@pytest.mark.parametrize(("total", "settled", "said"), [(0, 0, "100%"), (10, 20, "100%"), (10, 0, "0%")])
def test_percent_stays_between_0_and_100(clock, total, settled, said):
    progress = begun(spec(mb=total))
    progress.add(spec(mb=total), settled * MB)
    clock[0] += 1
    assert f"({said})" in progress.line()


def test_bytes_are_counted_from_many_threads():
    specs = [spec(f"{number}.raw", 1) for number in range(8)]
    progress = begun(*specs)
    threads = [
        threading.Thread(target=lambda each=each: [progress.add(each, 1) for _ in range(1000)]) for each in specs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.read().bytes_done == 8000


# --- as data (U2) ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("U2")
def test_u2_a_reading_has_what_each_file_in_work_is_at(clock):
    a, b, c, unknown = spec("a.raw"), spec("b.raw", 30), spec("c.raw", 40), spec("no-size.raw", None)
    progress = Progress((a, b, c, unknown), 10)
    assert progress.read() == Reading(Phase.CHECKING, 0.0, 4, 0, 0, 80 * MB, 0, ())
    for each in (a, b, unknown):
        progress.begin_file(each)
    progress.enter(a, Phase.DOWNLOADING)
    progress.add(a, 4 * MB)
    progress.add(unknown, 7 * MB)
    clock[0] += 2
    reading = progress.read()
    assert reading.in_work == (
        FileInWork("a.raw", Phase.DOWNLOADING, 4 * MB, 10 * MB),
        FileInWork("b.raw", Phase.CHECKING, 0, 30 * MB),
        FileInWork("no-size.raw", Phase.CHECKING, 7 * MB, None),
    )
    assert (reading.phase, reading.bytes_done, reading.bytes_per_s_mean) == (Phase.DOWNLOADING, 11 * MB, 5.5 * MB)
    progress.enter(a, Phase.VERIFYING)
    assert progress.read().phase is Phase.VERIFYING
    assert progress.read().bytes_done == 11 * MB, "what was fetched is there while it is verified"


@pytest.mark.rule("U2")
def test_u2_a_file_that_has_its_result_counts_with_all_its_bytes_and_a_bad_one_is_counted(clock):
    a, b = spec("a.raw"), spec("b.raw", 30)
    progress = begun(a, b)
    progress.add(a, 99 * MB)
    assert progress.read().in_work[0].bytes_done == 10 * MB, "never above the file's size"
    progress.end_file(a, ok=True)
    progress.end_file(b, ok=False)
    reading = progress.read()
    assert (reading.files_done, reading.files_failed, reading.bytes_done) == (2, 1, 40 * MB)
    progress.near_end(Phase.VERIFYING)
    progress.refute()
    assert (progress.read().phase, progress.read().files_failed) == (Phase.VERIFYING, 2)


@pytest.mark.rule("U2")
def test_u2_now_is_since_the_last_reading_and_the_eta_that_of_the_last_half_minute():
    meter = Speedometer()
    assert meter.speeds(10, 100) == (10.0, 10.0)
    assert meter.speeds(20, 400) == (30.0, 20.0)
    assert meter.speeds(30, 400) == (0.0, 400 / 30)
    assert meter.speeds(40, 400) == (0.0, 10.0), "the first ten seconds have left the window"
    for at in (50, 60, 70):
        meter.speeds(at, 400)
    assert meter.speeds(80, 400) == (0.0, 0.0)
    assert meter.speeds(80, 300) == (0.0, 0.0), "bytes that are taken back are no speed"


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
        with Progress((spec(),), 0.001):
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


@pytest.mark.parametrize("seconds", [3, 600, 20_000])
def test_history_is_of_the_whole_run_in_a_bounded_number_of_points(seconds):
    history = History(most=40)
    for at in range(1, seconds + 1):
        points = history.note(float(at), at * MB)
        assert len(points) <= 41
        assert points[0] == (0.0, 0)
        assert points[-1] == (float(at), at * MB)
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(points)]
    assert len(points) > min(seconds, 18)
    assert max(gaps) <= 4 * max(1, seconds / 40), "no time is left out"
    assert all(later[1] > earlier[1] for earlier, later in itertools.pairwise(points))
