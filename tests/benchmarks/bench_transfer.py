"""A folder of small files to and from S3, one file at a time beside many at once.

    python tests/benchmarks/bench_transfer.py [FILES]

Starts SeaweedFS on loopback, publishes and fetches FILES (default 2000) files of 20 kB with one thread and
with `datum.transfer.THREADS`, in one run; then a tenth of the files through a proxy that keeps every request
back for 20 ms, as the way to a store elsewhere does. It prints files a second and their ratio, and fails
where a byte differs, or where many threads are not three times as fast on the long way. On loopback nothing
but processors is to be had, and the server takes its share of them.

On two cores of an AMD EPYC, with other work on them, 2026-11-23: published 320 -> 508 files/s (1.6x) and
fetched 358 -> 393 files/s (1.1x) on loopback; 29 -> 303 (10.6x) and 40 -> 293 (7.4x) through the proxy.
"""

import asyncio
import filecmp
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio

import datum.transfer
from datum.transfer import fetch, publish

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import ACCESS_KEY, SECRET_KEY, seaweedfs

SIZE = 20_000
"""Bytes of a file; a label of Cityscapes has about as many."""
DELAY = 0.02
"""Seconds that the proxy keeps a request back."""


def draw(folder: Path, count: int) -> Path:
    for index in range(count):
        file = folder / f"labels/{index % 20:02d}/{index:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(SIZE))
    return folder


def delayed(endpoint: str) -> str:
    """The endpoint of a TCP proxy before `endpoint` that holds each piece sent to it for `DELAY` seconds."""
    upstream = urlsplit(endpoint)
    loop = asyncio.new_event_loop()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        while data := await reader.read(2**20):
            await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(upstream.hostname, upstream.port)
        await asyncio.gather(copy(reader, server_writer, DELAY), copy(server_reader, writer, 0))

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def files_a_second(folder: Path, count: int, base: str, scratch: Path, threads: int) -> tuple[float, float]:
    """Published and fetched with so many threads."""
    datum.transfer.THREADS = threads
    started = time.perf_counter()
    uri = publish(folder, base, "bench")
    published = time.perf_counter()
    copy = fetch(uri, scratch)
    fetched = time.perf_counter()
    names = [file.relative_to(folder) for file in folder.rglob("*.png")]
    assert len(names) == count
    assert filecmp.cmpfiles(folder, copy, names, shallow=False) == (names, [], []), "a file differs"
    return count / (published - started), count / (fetched - published)


def compare(title: str, folder: Path, count: int, scratch: Path, *, least: float) -> None:
    """Prints the rates; fails where many threads are not `least` times as fast as one."""
    many = datum.transfer.THREADS
    rates = {
        threads: files_a_second(
            folder, count, f"s3://bench/{title.split()[0]}-{threads}", scratch / str(threads), threads
        )
        for threads in (1, many)
    }
    datum.transfer.THREADS = many
    for direction, one, all_ in zip(("published", "fetched"), rates[1], rates[many]):
        print(
            f"{title}: {count} files of {SIZE // 1000} kB {direction}: 1 thread {one:.0f}/s, {many} threads "
            f"{all_:.0f}/s, {all_ / one:.2f}x",
            flush=True,
        )
        assert all_ > least * one, f"{many} threads are not {least} times as fast as one"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as place, seaweedfs(Path(place)) as endpoint:
        os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        Minio(urlsplit(endpoint).netloc, ACCESS_KEY, SECRET_KEY, secure=False).make_bucket("bench")
        os.environ["S3_ENDPOINT"] = endpoint
        compare("loopback", draw(Path(place) / "all", count), count, Path(place) / "scratch-1", least=0)
        os.environ["S3_ENDPOINT"] = delayed(endpoint)
        few = count // 10
        compare("20 ms away", draw(Path(place) / "few", few), few, Path(place) / "scratch-2", least=3)


if __name__ == "__main__":
    main()
