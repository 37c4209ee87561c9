"""Folders to S3 and back, beside boto3's s3transfer with its defaults, in one run on loopback.

    python tests/benchmarks/bench_transfer.py [FILES [GIGABYTES]]

Starts SeaweedFS, publishes and fetches FILES (default 5000) files of 200 kB and one file of GIGABYTES
(default 2), and does the same with boto3, which is needed for this alone: `pip install boto3`, or
`pip install --target FOLDER boto3` and FOLDER in BOTO3. Each transfer runs in a process of its own, whose
memory is measured; ours digests, uploads with checksums and verifies, s3transfer copies. Then 18,000
objects of state are removed. It fails where a byte differs, where many files are not 1.5 times as fast as
s3transfer's or the large one is not as fast, and where a process takes 300 MB. Of the large file,
publishing may take as much longer as digesting it does: where it goes is named by its content.
"""

import filecmp
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))

SIZE = 200_000
"""Bytes of a file; an image of 512 pixels has about as many."""
STATE = 18_000
"""Objects of a run's state."""
LARGE = 0.95
"""How many times as fast the large file is to go, at least: as fast, but repeated runs differ by 5 %."""
MOST_MEMORY = 300e6
"""Bytes."""


def ours(direction: str, folder: Path, base: str) -> Callable[[], object]:
    from datum.store import open_store
    from datum.transfer import fetch, publish

    open_store("s3://bench/client").list()  # as boto3's client is there before it is timed
    if direction == "up":
        return lambda: print(publish(folder, f"s3://bench/{base}", "folder"))
    uri = os.environ["BENCH_URI"]
    return lambda: print(fetch(uri, folder))


def boto(direction: str, folder: Path, base: str) -> Callable[[], object]:
    import boto3
    from s3transfer.manager import TransferManager

    client = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1")

    def up() -> None:
        with TransferManager(client) as manager:
            files = [file for file in folder.rglob("*") if file.is_file()]
            names = [file.relative_to(folder).as_posix() for file in files]
            futures = [
                manager.upload(str(file), "bench", f"{base}/{name}") for file, name in zip(files, names)
            ]
            for future in futures:
                future.result()

    def down() -> None:
        keys = []
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="bench", Prefix=f"{base}/"):
            keys += [item["Key"] for item in page["Contents"]]
        with TransferManager(client) as manager:
            futures = []
            for key in keys:
                file = folder / key.removeprefix(f"{base}/")
                file.parent.mkdir(parents=True, exist_ok=True)
                futures.append(manager.download("bench", key, str(file)))
            for future in futures:
                future.result()

    return up if direction == "up" else down


def child(tool: str, direction: str, folder: str, base: str) -> None:
    """Makes one transfer; prints its seconds and the process's greatest memory in bytes."""
    transfer = {"ours": ours, "boto": boto}[tool](direction, Path(folder), base)
    started = time.perf_counter()
    transfer()
    seconds = time.perf_counter() - started
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def transfer(tool: str, direction: str, folder: Path, base: str, uri: str = "") -> tuple[str, float, float]:
    """(what the transfer said, seconds, bytes of memory)."""
    environment = {**os.environ, "BENCH_URI": uri}
    if tool == "boto" and (place := os.environ.get("BOTO3")):
        environment["PYTHONPATH"] = place
    answer = subprocess.run(
        [sys.executable, __file__, "child", tool, direction, str(folder), base],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    *said, figures = answer.stdout.splitlines()
    seconds, memory = map(float, figures.split())
    return "".join(said), seconds, memory


def compare(
    title: str, source: Path, place: Path, *, least: float, with_boto: bool, digested: float = 0
) -> None:
    """Prints rates and memory; fails where ours is not `least` times as fast, less `digested` seconds up."""
    files = [file.relative_to(source) for file in source.rglob("*") if file.is_file()]
    megabytes = sum((source / file).stat().st_size for file in files) / 1e6
    uri, up, up_memory = transfer("ours", "up", source, f"ours-{title}")
    copy, down, down_memory = transfer("ours", "down", place / "ours", "", uri)
    assert filecmp.cmpfiles(source, copy, files, shallow=False) == (files, [], []), "a file differs"
    print(f"{title}: ours up {megabytes / up:.0f} MB/s, down {megabytes / down:.0f} MB/s; ", end="")
    print(f"memory {up_memory / 1e6:.0f} and {down_memory / 1e6:.0f} MB", flush=True)
    assert max(up_memory, down_memory) < MOST_MEMORY, f"more than {MOST_MEMORY / 1e6:.0f} MB of memory"
    if with_boto:
        _, their_up, memory_up = transfer("boto", "up", source, f"boto-{title}")
        _, their_down, memory_down = transfer("boto", "down", place / "boto", f"boto-{title}")
        their_rates = f"up {megabytes / their_up:.0f} MB/s, down {megabytes / their_down:.0f} MB/s"
        print(f"{title}: s3transfer {their_rates}; ", end="")
        print(f"memory {memory_up / 1e6:.0f} and {memory_down / 1e6:.0f} MB")
        print(f"{title}: ours is {their_up / up:.2f} and {their_down / down:.2f} times as fast", flush=True)
        ratio = min(their_up / (up - digested), their_down / down)
        assert ratio >= least, f"not {least} times as fast as s3transfer"


def remove_state() -> None:
    from datum.store import open_store

    store = open_store("s3://bench/state/run")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: store.write_bytes(f"images/{number:05d}", b"image"), range(STATE)))
    started = time.perf_counter()
    assert store.delete_all() == STATE and store.list() == []
    print(f"state: {STATE} objects removed in {time.perf_counter() - started:.1f} s", flush=True)


def main() -> None:
    from minio import Minio

    from datum.outputs import sha256
    from tests.conftest import ACCESS_KEY, SECRET_KEY, seaweedfs

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    gigabytes = float(sys.argv[2]) if len(sys.argv) > 2 else 2
    probe = {**os.environ, "PYTHONPATH": os.environ.get("BOTO3", "")}
    found = subprocess.run([sys.executable, "-c", "import boto3"], env=probe, capture_output=True)
    with_boto = found.returncode == 0
    if not with_boto:
        print("boto3 is not installed: nothing is compared (pip install boto3, or name its folder in BOTO3)")
    with tempfile.TemporaryDirectory() as folder, seaweedfs(Path(folder)) as endpoint:
        place = Path(folder)
        os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        os.environ["S3_ENDPOINT"] = endpoint
        Minio(urlsplit(endpoint).netloc, ACCESS_KEY, SECRET_KEY, secure=False).make_bucket("bench")
        for index in range(count):
            file = place / f"many/images/{index % 20:02d}/{index:05d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(SIZE))
        (place / "one").mkdir()
        with (place / "one/state.pt").open("wb") as stream:
            for _ in range(int(gigabytes * 100)):
                stream.write(os.urandom(10**7))
        compare("many", place / "many", place / "copies-2", least=1.5, with_boto=with_boto)
        remove_state()
        started = time.perf_counter()
        sha256(place / "one/state.pt")
        digested = time.perf_counter() - started
        print(f"one: digesting takes {digested:.1f} s", flush=True)
        compare("one", place / "one", place / "copies-1", least=LARGE, with_boto=with_boto, digested=digested)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
    else:
        main()
