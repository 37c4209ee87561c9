"""Every stage under every fault, in full, with a table at the end: `make faults`.

    python -m tests.faults.run --kills 30 --only adapt report --seed 7

Exit status 1 where anything is not as it must be. About an hour on two cores; what each process printed lies
below `--work`.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import ACCESS_KEY, SECRET_KEY, seaweedfs
from tests.faults.kills import Tally, try_kills
from tests.faults.world import STAGES, Stage, World, fetch_stage


def main() -> None:
    """Tries all, prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30, help="by SIGKILL, of each stage")
    parser.add_argument("--terms", type=int, default=30, help="by SIGTERM, of each stage")
    parser.add_argument("--only", nargs="+", choices=(*STAGES, "fetch"), default=(*STAGES, "fetch"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/faults"))
    parser.add_argument("--at-once", type=int, default=2, help="stages that are tried side by side")
    options = parser.parse_args()
    began = time.monotonic()
    work = options.work.resolve() / f"{time.strftime('%Y%m%d-%H%M%S')}"
    world = World(work / "world")
    with ExitStack() as stack:
        stages = [world.stage(name) for name in options.only if name != "fetch"]
        if "fetch" in options.only:
            stages.append(stack.enter_context(_fetching(world, work)))
        # Threads only wait here: the work is in processes of its own.
        with ThreadPoolExecutor(options.at_once) as pool:
            tallies = list(pool.map(lambda stage: _try(stage, options, work), stages))
    rows = [row for group in tallies for row in group]
    print("\n".join([f"\n{Tally.HEADING}", *(tally.row() for tally in rows)]))
    print(f"{sum(t.kills for t in rows)} kills in {(time.monotonic() - began) / 60:.0f} minutes; {work}")
    sys.exit(not all(tally.holds() for tally in rows))


def _try(stage: Stage, options: argparse.Namespace, work: Path) -> list[Tally]:
    tallies = []
    for how, count in ((signal.SIGKILL, options.kills), (signal.SIGTERM, options.terms)):
        if count:
            tally = try_kills(stage, count, how=how, seed=options.seed, logs=work / "logs")
            print(tally.row(), flush=True)
            tallies.append(tally)
    return tallies


@contextmanager
def _fetching(world: World, work: Path) -> Iterator[Stage]:
    (work / "store").mkdir()
    with seaweedfs(work / "store") as endpoint:
        yield fetch_stage(world, endpoint, ACCESS_KEY, SECRET_KEY)


if __name__ == "__main__":
    main()
