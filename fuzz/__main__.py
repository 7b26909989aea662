"""Fuzz what reads foreign bytes, one target after the other, and keep what it finds in build/fuzz."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from fuzz import seeds

_BUILD: Final = Path(__file__).parents[1] / "build" / "fuzz"
_LIMITS: Final = ("-timeout=20", "-rss_limit_mb=1024", "-malloc_limit_mb=256")
"""Seconds for an input, MiB for a target's process, MiB at once."""
_STATE: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_RUNS: Final = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_MEMORY: Final = re.compile(r"stat::peak_rss_mb:\s+(\d+)")
_TOLD: Final = 40
"""Lines of a log that are shown of a finding."""


@click.command(help=__doc__)
@click.option("--seconds", type=click.IntRange(min=1), default=60, show_default=True, help="for each target")
@click.argument("targets", nargs=-1, type=click.Choice(seeds.TARGETS))
def main(seconds: int, targets: tuple[str, ...]) -> None:
    print(f"{'target':20} {'inputs':>10} {'a second':>9} {'edges':>6} {'features':>8} {'corpus':>6} {'MiB':>5}")
    found = [target for target in targets or seeds.TARGETS if not fuzz(target, seconds)]
    if found:
        sys.exit(f"Error: {', '.join(found)}: an input failed; see above")


def fuzz(target: str, seconds: int) -> bool:
    """One target for a while; False when an input failed. What is learnt stays for the next time."""
    folder = _BUILD / target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    seeds.write(target, folder / "seeds")
    command = [sys.executable, "-m", "fuzz.child", target, f"-max_total_time={seconds}", "-print_final_stats=1"]
    command += [*_LIMITS, f"-artifact_prefix={folder}/found-", str(corpus), str(folder / "seeds")]
    log = folder / "log"
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # fsync costs nothing there
    with log.open("w") as output, tempfile.TemporaryDirectory(prefix="pacsops-fuzz-", dir=memory) as temporary:
        environment = {**os.environ, "TMPDIR": temporary}
        status = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
        ).returncode
    said = log.read_text(errors="replace")
    edges, features, kept = (_STATE.findall(said) or [("?",) * 3])[-1]
    runs, mebibytes = (int(match[1]) if (match := one.search(said)) else 0 for one in (_RUNS, _MEMORY))
    print(f"{target:20} {runs:10} {runs / seconds:9.0f} {edges:>6} {features:>8} {kept:>6} {mebibytes:5}", flush=True)
    if status:
        print("\n".join(said.splitlines()[-_TOLD:]))
        print(f"hint: run it once more with {sys.executable} -m fuzz.child {target} {folder}/found-…", flush=True)
    return status == 0


if __name__ == "__main__":
    main()
