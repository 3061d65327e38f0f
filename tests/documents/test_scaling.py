"""The sizing of design_docs/SCALING.md: its tables, and the calculation against numbers worked out by hand."""

import random
import re
from pathlib import Path

import pytest

from benchmarks import scaling
from benchmarks.scaling import Deployment, Measured, makespan_s
from tests.support.raw_files import MIB

RESULTS = (Path(__file__).resolve().parents[2] / "benchmarks/README.md").read_text()
# One that is easy to reckon with: the cores are never in the way.
EASY = Deployment(link_gbit_s=8 / scaling.PAYLOAD_SHARE, workers=2, slots=2, core_mb_s=10_000)


def test_the_tables_of_the_document_are_those_of_the_calculation():
    """Red after new figures were published: `.venv/bin/python -m benchmarks.scaling --write`."""
    assert scaling.current_tables() in scaling.DOCUMENT.read_text()


def test_measured_figures_are_those_of_the_results():
    measured = Measured.read(RESULTS)
    for heading, cpu_s in {
        "1 GiB, plain HTTP": measured.plain,
        "1 GiB, TLS": measured.tls,
        "1 GiB already right": measured.verify,
        "2,000 files of 64 KiB": measured.small_file * 2000,
    }.items():
        below = RESULTS.partition(f"\n### {heading}\n")[2].splitlines()
        ours = next(line for line in below if line.startswith("| ours, H2 |"))
        assert f"| {cpu_s:.2f} |" in ours, heading


def test_results_of_other_sizes_are_converted():
    text = RESULTS.replace("### 1 GiB, TLS", "### 256 MiB, TLS")
    assert Measured.read(text).tls == pytest.approx(4 * Measured.read(RESULTS).tls)


@pytest.mark.parametrize("case", ["plain HTTP", "TLS", "already right", "files of 64 KiB"])
def test_missing_results_are_named(case: str):
    without = re.sub(rf"^### .*{case}$", "### another", RESULTS, flags=re.MULTILINE)
    with pytest.raises(ValueError, match=case):
        Measured.read(without)


def test_a_core_moves_a_gib_in_its_cpu_seconds():
    assert scaling.core_mb_s(4.0) == pytest.approx(1024 * MIB / 4 / 1e6)


def test_one_raw_file_takes_its_idle_time_and_its_bytes():
    alone = EASY.rate_mb_s(1)
    assert makespan_s([alone * 10], EASY, idle_s=3) == pytest.approx(3 + 10)


def test_two_at_once_share_the_link_until_the_shorter_has_ended():
    # 1000 MB/s of link: 500 each for 2 s, then the rest of the longer at what one moves alone.
    alone = EASY.rate_mb_s(1)
    assert EASY.payload_mb_s == pytest.approx(1000)
    assert makespan_s([1000, 1000 + alone * 5], EASY, idle_s=1) == pytest.approx(1 + 2 + 5)


def test_more_raw_files_than_slots_wait_for_their_turn():
    assert makespan_s([500] * 6, EASY, idle_s=0) == pytest.approx(3.0)
    one_slot = Deployment(EASY.link_gbit_s, 2, 1, EASY.core_mb_s)
    alone = scaling.CONNECTIONS_OF_A_RESTORE * scaling.CONNECTION_MB_S
    assert one_slot.rate_mb_s(1) == pytest.approx(min(one_slot.payload_mb_s, alone))
    assert makespan_s([one_slot.rate_mb_s(1)] * 6, one_slot, idle_s=2) == pytest.approx(6 * (2 + 1))


def test_restores_on_one_worker_share_its_cores():
    slow = Deployment(link_gbit_s=100, workers=2, slots=8, core_mb_s=10)
    assert [slow.rate_mb_s(running) for running in (1, 2, 3, 4, 5)] == [40, 40, 20, 20, pytest.approx(40 / 3)]


def test_nothing_is_quicker_than_the_link_and_more_slots_are_never_slower():
    sizes = [random.Random(7).uniform(100, 5000) for _ in range(200)]
    measured = Measured.read(RESULTS)
    for link in scaling.LINKS_GBIT_S:
        sized = Deployment.for_link(link, measured)
        times = [
            makespan_s(sizes, Deployment(link, sized.workers, slots, sized.core_mb_s))
            for slots in (1, 2, sized.slots, 2 * sized.slots)
        ]
        assert times[0] >= times[1] >= times[3] - 1e-6
        assert min(times) >= sum(sizes) / sized.payload_mb_s


def test_a_sized_deployment_has_the_cores_and_connections_that_its_link_needs():
    measured = Measured.read(RESULTS)
    for link in scaling.LINKS_GBIT_S:
        sized = Deployment.for_link(link, measured)
        assert sized.cores * sized.core_mb_s >= sized.payload_mb_s
        assert sized.slots * scaling.CONNECTIONS_OF_A_RESTORE * scaling.CONNECTION_MB_S >= sized.payload_mb_s
        assert sized.worker_concurrency * sized.workers >= sized.slots + scaling.SMALL_TASKS
        assert sized.workers >= 2
