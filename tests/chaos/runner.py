"""One scenario from its seed to its verdict."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import child, power
from tests.chaos.intruders import read_notes
from tests.chaos.invariants import Ended, check_end, check_round
from tests.chaos.metronome import Metronome
from tests.chaos.scenarios import Attempt, Round, Scenario, draw
from tests.chaos.world import World
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import describe, random_rules
from tests.support.s3_stand_in import RecordedRequest, S3StandIn

_HANG_S = 180.0  # a stale handle that stays is waited for, half a minute for each of the first files (X5)
_CLEAN = Attempt(number=99, stale_after_s=0.05, clean=True)


@dataclass
class Verdict:
    """What came of one scenario."""

    seed: int
    violations: list[str] = field(default_factory=list)
    attempts: int = 0
    files: int = 0
    bytes_sent: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    story: str = ""


class _Stage:
    """The servers, the world and the processes of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        server: S3StandIn,
        proxy: FaultProxy,
        *,
        metronome: Metronome,
        sabotage: str,
    ) -> None:
        self.scenario = scenario
        self.metronome = metronome
        self.sabotage = sabotage
        self.folder = folder
        self.server = server
        self.proxy = proxy
        self.world = World(scenario, folder, server)
        self.verdict = Verdict(scenario.seed, files=len(scenario.files))
        self._story = [repr(scenario)]
        if scenario.replaced:
            self.server.on_request = self._replace_midway
        self._gets = 0
        self._lock = threading.Lock()

    def play(self) -> Verdict:
        for number, each in enumerate(self.scenario.rounds):
            self._play_round(each, f"round {number}")
            if self.verdict.violations:
                break
        else:
            self._play_end()
        self.verdict.bytes_sent = self.proxy.bytes_sent
        self.verdict.faults.update(self.proxy.faults_by_kind())
        self.verdict.story = "\n".join(self._story)
        return self.verdict

    def _play_round(self, played: Round, title: str) -> None:
        rules = random_rules(played.rules_seed, played.intensity, body_size=1 << 20, max_delay_s=0.03)
        self.proxy.rules = rules if played.intensity else []
        before = self.world.snapshot()
        with self._outage(played):
            ended = self._run_all(played, title)
        after = self.world.snapshot()
        self._story.append(f"--- {title}\n{describe(rules)}\n{ended}")
        self._judge(title, check_round(self.world, before, after, played, ended))

    def _play_end(self) -> None:
        """Faults end: whatever state was left, one run must set it right."""
        self.server.on_request = None
        self.proxy.clear()
        for file in self.scenario.files:
            self.world.upload(file)
        time.sleep(2 * _CLEAN.stale_after_s)  # what attempts on "other hosts" left is stale from here on
        last = Round((_CLEAN,))
        before = self.world.snapshot()
        (ended,) = self._run_all(last, "end")
        after = self.world.snapshot()
        self._story.append(f"--- end\n{ended}")
        self._judge("end", check_round(self.world, before, after, last, [ended]))
        self._judge("end", check_end(self.world, after, ended))

    def _judge(self, title: str, violations: Iterator[str]) -> None:
        self.verdict.violations += [f"{title}: {violation}" for violation in violations]

    @contextlib.contextmanager
    def _outage(self, played: Round) -> Iterator[None]:
        if not played.outage:
            yield
            return
        self.verdict.faults["outage"] += 1
        self.proxy.kill()
        try:
            yield
        finally:
            self.proxy.revive()

    def _replace_midway(self, request: RecordedRequest) -> None:
        if request.operation != "GetObject" or request.key != self.world.key(self.scenario.replaced):
            return
        with self._lock:
            self._gets += 1
            now = self._gets == self.scenario.replaced_at
        if now:
            self.verdict.faults["object replaced"] += 1
            self.world.replace_object(self.scenario.replaced)

    # --- processes -------------------------------------------------------------------------------------------------

    def _run_all(self, played: Round, title: str) -> list[Ended]:
        if len(played.attempts) > 1:
            self.verdict.faults["concurrent run"] += 1
        running = [Running(self._job(attempt, title), self.metronome) for attempt in played.attempts]
        ended = [each.wait() for each in running]
        for each in ended:
            self.verdict.attempts += 1
            self.verdict.endings[each.result.end if each.result else "killed"] += 1
            killed = {each.attempt.death.how if each.attempt.death else "SIGKILL": 1}
            self.verdict.faults.update(each.result.injected if each.result else killed)
            self.verdict.faults.update(f"others {done.how}" for done in each.others)
        return ended

    def _job(self, attempt: Attempt, title: str) -> child.Job:
        name = f"{title.replace(' ', '-')}-{attempt.number}"
        return job_of(self.world, self.folder, attempt, name, endpoint_url=self.proxy.url, sabotage=self.sabotage)


def job_of(
    world: World, folder: Path, attempt: Attempt, name: str, *, endpoint_url: str, sabotage: str = "", **settings: Any
) -> child.Job:
    """What a child needs to know to run the task once; ``settings`` are of the product."""
    options: dict[str, Any] = {
        "max_concurrency": attempt.max_concurrency,
        # Long enough for a busy machine when nothing is meant to stall.
        "stall_timeout_s": 10.0 if attempt.clean else 0.4,
        "verify": attempt.verify,
        "patience_s": 5,
        "stale_after_s": attempt.stale_after_s,
        **settings,
    }
    return child.Job(
        attempt=attempt,
        document=world.document,
        settings_file=world.write_settings(name=name, **options),
        endpoint_url=endpoint_url,
        root=str(world.destination),
        umask=world.scenario.umask,
        scaled=world.scenario.scaled,
        log_file=str(folder / f"{name}.log"),
        result_file=str(folder / f"{name}.json"),
        notes_file=str(folder / f"{name}.others.jsonl"),
        power_file=str(folder / f"{name}.power"),
        seed=world.scenario.seed,
        sizes={file.path: file.size for file in world.scenario.files},
        sabotage=sabotage,
    )


class Running:
    """One attempt under way."""

    def __init__(self, job: child.Job, metronome: Metronome | None = None) -> None:
        self._attempt = attempt = job.attempt
        self._metronome = metronome
        self._job = job
        self._process = child.server().Process(target=child.main, args=(self._job,), daemon=True)
        self._process.start()
        self._gone_at = 0.0
        # Joined at once: another attempt may take longer, and what one waits for it is not this one's time.
        self._waiter = threading.Thread(target=self._await_the_end, daemon=True)
        self._waiter.start()
        self._killer: threading.Timer | None = None
        if attempt.death and attempt.death.after_s:
            self._killer = threading.Timer(attempt.death.after_s, self._kill)
            self._killer.start()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    def _await_the_end(self) -> None:
        self._process.join(_HANG_S)
        self._gone_at = time.monotonic()

    def wait(self) -> Ended:
        self._waiter.join()
        if self._killer:
            self._killer.cancel()
        exit_code = self._process.exitcode
        if exit_code is None:
            self._process.kill()
            self._process.join()
        self._process.close()
        result = None
        with contextlib.suppress(FileNotFoundError):
            loaded = json.loads(Path(self._job.result_file).read_text())
            result = child.ChildResult(
                **{**loaded, "descriptors": tuple(loaded["descriptors"]), "threads": tuple(loaded["threads"])}
            )
        power.lay_out(Path(self._job.root).parents[1], Path(self._job.power_file))
        slow = self._seconds_after_signal(result) if result else None
        return Ended(self._attempt, exit_code, result, slow, tuple(read_notes(Path(self._job.notes_file))))

    def _seconds_after_signal(self, result: child.ChildResult) -> float | None:
        """From the moment at which the task was asked to end, without the time in which the machine stood still.

        What came before does not count, however long it took: there are waits that are meant (X5).
        """
        if result.signalled_at is None:
            return None
        # The process of a task that ended well stays for a while, for the checks of threads and open files.
        end = self._gone_at if result.end == "ended from outside" else result.ended_at
        stalled_s = self._metronome.stalled_s(result.signalled_at, end) if self._metronome else 0.0
        return end - result.signalled_at - stalled_s


def play(seed: int, keep: Path | None = None, *, sabotage: str = "") -> Verdict:
    """Play the scenario of a seed; its folder stays when something is wrong and ``keep`` says where.

    ``sabotage`` breaks the product first (see the module of that name).
    """
    return play_scenario(draw(seed), keep, sabotage=sabotage)


def play_scenario(scenario: Scenario, keep: Path | None = None, *, sabotage: str = "") -> Verdict:
    """Play any scenario."""
    seed = scenario.seed
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    try:
        with (
            S3StandIn(versioning=scenario.versioning) as server,
            FaultProxy(server.url) as proxy,
            Metronome() as metronome,
        ):
            verdict = _Stage(scenario, folder, server, proxy, metronome=metronome, sabotage=sabotage).play()
        verdict.violations += _secrets_in(folder)
        if keep and verdict.violations:
            shutil.rmtree(keep / str(seed), ignore_errors=True)
            shutil.copytree(folder, keep / str(seed), symlinks=True)
            (keep / str(seed) / "story.txt").write_text(verdict.story)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    verdict.seconds = time.monotonic() - begun
    return verdict


def _secrets_in(folder: Path) -> list[str]:
    secret = "a-secret-key-that-no-log-may-show"
    return [f"the secret key is in {log.name}" for log in folder.glob("*.log") if secret in log.read_text()]
