"""Runs one command that prints one JSON object, on a machine that others may be using."""

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")

QUIET_SHARE = 0.1  # of a processor: others may use as much while a sample counts as undisturbed
RETRIES = 2  # of a disturbed sample; the least disturbed one is kept


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A command; `group` is what it is run in turn with, `requires` the files that it reads."""

    name: str
    group: str
    command: tuple[str, ...]
    requires: tuple[pathlib.Path, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    timeout: float = 1800  # seconds


@dataclasses.dataclass(frozen=True)
class Sample:
    """What one run printed, or why it failed; `others` is the processors that other processes kept busy."""

    figures: dict[str, object]
    others: float
    failure: str | None = None


def busy_seconds() -> float:
    """Processor seconds that all processes, and the host under this machine, have used since the start."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(
            int, file.readline().split()[1:9]
        )
    return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS


def children_seconds() -> float:
    """Processor seconds of this process and of the ones that it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def wait_for_quiet(limit: float) -> None:
    """Waits until others have left the processors alone for a second, `limit` seconds at most."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        before = busy_seconds()
        time.sleep(1)
        if busy_seconds() - before < QUIET_SHARE:
            return


def sample(measurement: Measurement, patience: float) -> Sample:
    """One sample, taken again while others disturb it; waits up to `patience` seconds before each try."""
    best = None
    for _ in range(1 + RETRIES):
        wait_for_quiet(patience)
        taken = run(measurement)
        if best is None or taken.others < best.others:
            best = taken
        if taken.failure or taken.others < QUIET_SHARE:
            break
    return best


def run(measurement: Measurement) -> Sample:
    missing = [str(path) for path in measurement.requires if not path.exists()]
    if missing:
        return Sample({}, 0, f"{', '.join(missing)}: not there")
    start, busy, ours = time.monotonic(), busy_seconds(), children_seconds()
    try:
        process = subprocess.run(
            measurement.command,
            env={**os.environ, **dict(measurement.environment)},
            capture_output=True,
            text=True,
            timeout=measurement.timeout,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Sample({}, 0, str(error))
    elapsed = time.monotonic() - start
    others = (busy_seconds() - busy) - (children_seconds() - ours)
    if process.returncode != 0:
        return Sample({}, 0, reason(process.stderr) or f"exit status {process.returncode}")
    try:
        figures = json.loads(process.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return Sample({}, 0, "no JSON on standard output")
    return Sample(figures, max(0.0, others / elapsed))


def reason(text: str) -> str:
    """The line that says what went wrong: the first that speaks of an error or a crash, else the last."""
    lines = text.strip().splitlines()
    telling = [line for line in lines if "rror:" in line or "crashed" in line]
    return (telling or lines[-1:] or [""])[0].strip()
