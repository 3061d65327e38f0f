"""How many workers a restore service needs: a calculation and a simulation from the figures that `make bench` measured.

    python -m benchmarks.scaling            prints the tables of design_docs/SCALING.md
    python -m benchmarks.scaling --write    puts them there

Measured figures are read from the results in benchmarks/README.md; everything assumed is a constant below, with its
source. The same figures give the same tables: the simulation draws from a fixed seed.
"""

from __future__ import annotations

import math
import random
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
DOCUMENT = _HERE.parent / "design_docs" / "SCALING.md"
_BEGIN, _END = "<!-- tables: written by python -m benchmarks.scaling --write -->\n", "<!-- end of tables -->"

_GIB, _MIB, _MB, _GB = 2**30, 2**20, 10**6, 10**9

CASES = ("http", "tls", "small", "skip")
"""Of the benchmark, whose results are needed."""
LINKS_GBIT_S = (1, 10, 100)
PAYLOAD_SHARE = 0.955
"""Bytes of files in the bytes of a link: the shaped link of benchmarks/README.md carries 95.5 of 100 MB/s."""
PLANNED_LOAD = 0.75
"""Share of a core that is planned with. On 2 cores that also ran the source, a restore kept 58 (TLS) to 65 % busy."""
WORKER_CORES = 4
CONNECTIONS_OF_A_RESTORE = max(12, 2 * WORKER_CORES)
"""`max_concurrency` unless set: 2 for each core, from 12 to 16."""
FEWEST_WORKERS = 2
"""One may die or be replaced, and restores go on."""
FEWEST_SLOTS = 2
"""Of the pool, as shipped."""
SMALL_TASKS = 2
"""Slots of a worker beside its downloads, so that `validate_parameters` of the next run never waits."""
CONNECTION_MB_S = 85
"""Of one connection to AWS S3: "one concurrent request for each 85-90 MB/s", its performance guidelines."""
GETS_PER_S = 5500
"""GET and HEAD requests a second for each prefix that AWS S3 grants at least; the same guidelines."""
PART_MIB = 100
SMALL_FILE_KIB = 64
NFS_MB_S = 1100
"""What one NFS server behind 10 Gbit/s takes, its disks being fast enough."""
ACTIVE_RUNS = 16
"""`[core] max_active_runs_per_dag` of Airflow, unless set."""
HEARTBEAT_S = 5
"""`[workers] min_heartbeat_interval` of Airflow: each running task updates its row once in so many seconds."""
CONNECTIONS_WITHOUT_WORKERS = 7
"""To PostgreSQL, seen by `python -m tests.fleet`. Each worker adds one for each of its task slots and one more: 17
with two workers of 4 slots."""
POSTGRES_CONNECTIONS = 100
"""`max_connections` of PostgreSQL, unless set."""
SLOT_IDLE_S = 4.0
"""Seconds for each raw file in which its slot of the pool moves no byte: Airflow starts and ends the task. Assumed:
both tasks of a run take 3 s on a machine with nothing else to do, and `python -m tests.fleet` gave 7.4 s on 2 cores
that ran all services, both workers and much else."""

RAW_FILES = 10_000
SMALLEST_GB, MEDIAN_GB, LARGEST_GB, SPREAD = 1.0, 3.0, 100.0, 1.0
_SEED = 20250115


@dataclass(frozen=True)
class Measured:
    """What a restore costs, from the medians in benchmarks/README.md.

    Attributes:
        plain, tls: CPU seconds to fetch, prove and write 1 GiB.
        verify: CPU seconds to prove 1 GiB that is there.
        small_file: CPU seconds to restore a file of 64 KiB.
    """

    plain: float
    tls: float
    verify: float
    small_file: float

    @classmethod
    def read(cls, text: str) -> Measured:
        """Read them from the document.

        Raises:
            ValueError: a table or its line for ours is missing.
        """
        small = _Row.below(rf"([\d,]+)() files of {SMALL_FILE_KIB} KiB", text)
        return cls(
            plain=_Row.below(r"([\d.]+) ([GM]iB), plain HTTP", text).cpu_s_per_gib,
            tls=_Row.below(r"([\d.]+) ([GM]iB), TLS", text).cpu_s_per_gib,
            verify=_Row.below(r"([\d.]+) ([GM]iB) already right", text).cpu_s_per_gib,
            small_file=small.cpu_s / small.amount,
        )


@dataclass(frozen=True)
class _Row:
    """The line of ours in a table of results: of so many bytes or files, and its column `CPU s`."""

    amount: float
    unit: str
    cpu_s: float

    @classmethod
    def below(cls, heading: str, text: str) -> _Row:
        """Read it from the first table whose heading matches; its groups are amount and unit."""
        table = re.search(rf"^### {heading}\n\n(\|.*?)\n\n", text, re.MULTILINE | re.DOTALL)
        column = 0
        for line in table[3].splitlines() if table else []:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            column = cells.index("CPU s") if "CPU s" in cells else column
            if table and cells[0] == "ours, H2":
                return cls(float(table[1].replace(",", "")), table[2], float(cells[column]))
        raise ValueError(f"benchmarks/README.md: expected a line 'ours, H2' below a heading like {heading!r}, got none")

    @property
    def cpu_s_per_gib(self) -> float:
        return self.cpu_s / (self.amount / 1024 if self.unit == "MiB" else self.amount)


def core_mb_s(cpu_s_per_gib: float) -> float:
    """Return what one core moves when it does nothing else, in MB/s."""
    return _GIB / cpu_s_per_gib / _MB


@dataclass(frozen=True)
class Deployment:
    """Workers on a link, over TLS.

    Attributes:
        link_gbit_s: between the workers and S3.
        workers: of `WORKER_CORES` cores each.
        slots: of the pool: raw files at once, over all workers.
        core_mb_s: planned rate of a core.
    """

    link_gbit_s: float
    workers: int
    slots: int
    core_mb_s: float

    @classmethod
    def for_link(cls, link_gbit_s: float, measured: Measured) -> Deployment:
        """Return the smallest one that keeps the link full with raw files of the mean size.

        More slots than the bytes need, because each slot also waits for Airflow.
        """
        core = core_mb_s(measured.tls) * PLANNED_LOAD
        payload = _payload_mb_s(link_gbit_s)
        workers = max(FEWEST_WORKERS, math.ceil(payload / core / WORKER_CORES))
        one = cls(link_gbit_s, workers, 1, core).rate_mb_s(1)
        share_of_time_moving = 1 / (1 + SLOT_IDLE_S / (MEAN_MB / one))
        slots = max(FEWEST_SLOTS, workers, math.ceil(payload / one / share_of_time_moving))
        return cls(link_gbit_s, workers, slots, core)

    @property
    def payload_mb_s(self) -> float:
        """Of the link."""
        return _payload_mb_s(self.link_gbit_s)

    @property
    def cores(self) -> int:
        """Of all workers."""
        return self.workers * WORKER_CORES

    @property
    def worker_concurrency(self) -> int:
        """What `WORKER_CONCURRENCY` should be."""
        return math.ceil(self.slots / self.workers) + SMALL_TASKS

    @property
    def postgres_connections(self) -> int:
        """Of all services to the database of Airflow."""
        return CONNECTIONS_WITHOUT_WORKERS + self.workers * (self.worker_concurrency + 1)

    def rate_mb_s(self, running: int) -> float:
        """Return what each of so many restores moves: the least of link, connections and cores.

        Restores are spread evenly over the workers; one cannot use the cores of another worker.
        """
        on_one_worker = math.ceil(running / self.workers)
        return min(
            self.payload_mb_s / running,
            CONNECTIONS_OF_A_RESTORE * CONNECTION_MB_S,
            WORKER_CORES * self.core_mb_s / on_one_worker,
        )


def _payload_mb_s(link_gbit_s: float) -> float:
    return link_gbit_s * 1000 / 8 * PAYLOAD_SHARE


def makespan_s(sizes_mb: Sequence[float], deployment: Deployment, idle_s: float = SLOT_IDLE_S) -> float:
    """Simulate a batch: how long until the last of the raw files is restored.

    A raw file holds a slot while Airflow starts and ends its task, in which no byte moves, and while its bytes move;
    those that move share what the deployment has. Between two events every rate is constant, so the result is exact.

    Args:
        sizes_mb: of the raw files, in MB, in the order in which they are started.
        deployment: what they run on.
        idle_s: of each raw file.
    """
    waiting = deque(sizes_mb)
    starting: list[tuple[float, float]] = []  # when its bytes begin to move, and how many
    moving: list[float] = []  # MB left
    now = 0.0
    while waiting or starting or moving:
        while waiting and len(starting) + len(moving) < deployment.slots:
            starting.append((now + idle_s, waiting.popleft()))
        rate = deployment.rate_mb_s(len(moving)) if moving else 0.0
        step = min([left / rate for left in moving] + [begin - now for begin, _ in starting])
        now += step
        moving = [left - rate * step for left in moving]
        moving = [left for left in moving if left > 1e-6]
        moving += [size for begin, size in starting if begin <= now]
        starting = [(begin, size) for begin, size in starting if begin > now]
    return now


def raw_file_sizes_mb(count: int = RAW_FILES) -> list[float]:
    """Draw sizes of raw files: log-normal, from 1 to 100 GB."""
    draw = random.Random(_SEED)
    drawn = (draw.lognormvariate(math.log(MEDIAN_GB), SPREAD) for _ in range(count))
    return [min(LARGEST_GB, max(SMALLEST_GB, size)) * _GB / _MB for size in drawn]


MEAN_MB = sum(raw_file_sizes_mb()) / RAW_FILES


# --- tables ----------------------------------------------------------------------------------------------------------


def core_table(measured: Measured) -> str:
    """What one core moves."""
    rows = [
        (name, f"{cost:.2f}", f"{core_mb_s(cost):.0f}", f"{core_mb_s(cost) * PLANNED_LOAD:.0f}")
        for name, cost in (
            ("fetch, prove, write: plain HTTP", measured.plain),
            ("fetch, prove, write: TLS", measured.tls),
            ("prove what is there", measured.verify),
        )
    ]
    a_second = 1 / measured.small_file
    rows.append(
        (
            f"files of {SMALL_FILE_KIB} KiB",
            f"{measured.small_file * 1000:.1f} ms a file",
            f"{a_second:.0f} files/s",
            f"{a_second * PLANNED_LOAD:.0f} files/s",
        )
    )
    return _table(("one core", "CPU s for 1 GiB", "MB/s", f"planned: {PLANNED_LOAD:.0%}"), rows)


def link_table(measured: Measured) -> str:
    """What fills a link."""
    rows = []
    for link in LINKS_GBIT_S:
        sized = Deployment.for_link(link, measured)
        payload = sized.payload_mb_s
        rows.append(
            (
                f"{link} Gbit/s",
                f"{payload:,.0f}",
                f"{payload / sized.core_mb_s:.1f}",
                f"{sized.workers}",
                f"{sized.slots}",
                f"{sized.worker_concurrency}",
                f"{math.ceil(payload / CONNECTION_MB_S)}",
                f"{payload * _MB / (PART_MIB * _MIB):.1f}",
                f"{50 * _GB / _MB / min(payload, sized.rate_mb_s(1)) / 60:.1f} min",
                f"{payload * 86400 / _MB:,.0f} TB",
            )
        )
    heads = ("link", "MB/s of files", "cores", f"workers of {WORKER_CORES} cores", "pool slots", "`WORKER_CONCURRENCY`")
    return _table((*heads, "connections", "GET/s", "one file of 50 GB", "a day"), rows)


def batch_table(measured: Measured) -> str:
    """How long 10,000 raw files take."""
    sizes = raw_file_sizes_mb()
    rows = []
    for link in LINKS_GBIT_S:
        sized = Deployment.for_link(link, measured)
        floor = sum(sizes) / sized.payload_mb_s
        for name, deployment in _variants(sized):
            seconds = makespan_s(sizes, deployment)
            rows.append(
                (
                    f"{link} Gbit/s",
                    name,
                    f"{deployment.workers}",
                    f"{deployment.slots}",
                    _duration(seconds),
                    f"{floor / seconds:.0%}",
                    f"{len(sizes) * SLOT_IDLE_S / deployment.slots / seconds:.0%}",
                )
            )
    heads = ("link", "deployment", "workers", "slots", f"{RAW_FILES:,} raw files, {sum(sizes) / _MB:.0f} TB")
    return _table((*heads, "of the link", "of a slot's time: Airflow"), rows)


def _variants(sized: Deployment) -> Iterator[tuple[str, Deployment]]:
    yield "as shipped", Deployment(sized.link_gbit_s, 1, FEWEST_SLOTS, sized.core_mb_s)
    yield "sized", sized
    yield "sized, twice the slots", Deployment(sized.link_gbit_s, sized.workers, 2 * sized.slots, sized.core_mb_s)


def limit_table(measured: Measured) -> str:
    """What each part lets through, and which is the first to be full."""
    rows = []
    small = SMALL_FILE_KIB * 1024 / _MB
    for link in LINKS_GBIT_S:
        sized = Deployment.for_link(link, measured)
        for name, deployment in list(_variants(sized))[:2]:
            limits = {
                "link": deployment.payload_mb_s,
                "pool": deployment.slots * CONNECTIONS_OF_A_RESTORE * CONNECTION_MB_S,
                "cores": min(deployment.slots, deployment.workers) * WORKER_CORES * deployment.core_mb_s,
                "NFS": NFS_MB_S,
                "S3 requests": GETS_PER_S * PART_MIB * _MIB / _MB,
            }
            small_limits = {
                "cores": deployment.cores * PLANNED_LOAD / measured.small_file,
                "S3 requests": float(GETS_PER_S),
                "link": deployment.payload_mb_s / small,
            }
            first = min(limits, key=lambda part: limits[part])
            first_small = min(small_limits, key=lambda part: small_limits[part])
            rows.append(
                (
                    f"{link} Gbit/s",
                    name,
                    *(f"{limits[part]:,.0f}" for part in limits),
                    f"**{first}**",
                    f"{small_limits[first_small]:,.0f} files/s: **{first_small}**",
                )
            )
    heads = ("link", "deployment", "link", "pool", "cores", "one NFS server", "S3 requests", "first")
    return _table((*heads, f"files of {SMALL_FILE_KIB} KiB"), rows)


def airflow_table(measured: Measured) -> str:
    """What a deployment asks of Airflow and its database."""
    rows = []
    for link in LINKS_GBIT_S:
        for name, deployment in _variants(Deployment.for_link(link, measured)):
            connections = deployment.postgres_connections
            rows.append(
                (
                    f"{link} Gbit/s",
                    name,
                    f"{deployment.slots}",
                    f"{deployment.slots / HEARTBEAT_S:.1f}",
                    f"{connections}" if connections <= POSTGRES_CONNECTIONS else f"**{connections}**: raise it",
                    f"{deployment.slots}" if deployment.slots <= ACTIVE_RUNS else f"**{deployment.slots}**: raise it",
                )
            )
    heads = ("link", "deployment", "downloads at once", "heartbeats/s")
    limits = (f"of `max_connections` ({POSTGRES_CONNECTIONS})", f"of `max_active_runs_per_dag` ({ACTIVE_RUNS})")
    return _table((*heads, *limits), rows)


def tables(measured: Measured) -> str:
    """Return all of them, as they stand in the document."""
    parts = {
        "What one core moves": core_table(measured),
        "What fills a link": link_table(measured),
        f"{RAW_FILES:,} raw files": batch_table(measured),
        "What is full first, in MB/s": limit_table(measured),
        "What Airflow has to do": airflow_table(measured),
    }
    return "\n".join(f"### {heading}\n\n{table}" for heading, table in parts.items())


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _duration(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def current_tables() -> str:
    """Return the tables for the figures that are in benchmarks/README.md now."""
    return tables(Measured.read((_HERE / "README.md").read_text()))


def write() -> None:
    """Put the tables into the document."""
    before, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCUMENT.write_text(f"{before}{_BEGIN}\n{current_tables()}\n{_END}{after}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        print(current_tables())
