"""A settings.env means the same to `datum`, make and deploy.sh, or is refused."""

import shutil
import subprocess
from pathlib import Path

import pytest

from datum.cluster.settings import load_cluster_settings
from datum.errors import InputError

ROOT = Path(__file__).parents[2]
KEYS = ("NAMESPACE", "KFP_NAMESPACE", "STORE_ENDPOINT", "STORE_SECRET", "PIPELINE_ROOT", "REGISTRY", "TAG")
GOOD = """# A comment that is "quoted" $(and more)
NAMESPACE=team-a
KFP_NAMESPACE=kfp
STORE_ENDPOINT=http://store.team-b.svc:9000
STORE_SECRET=keys
PIPELINE_ROOT=minio://bucket/folder

REGISTRY=registry.example.org:5000/team/datum
TAG=1.2.3
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What reads the settings of the overlay `default`, alone."""
    overlay = tmp_path / "manifests/overlays/default"
    overlay.mkdir(parents=True)
    for name in ("deploy.sh", "setting.sh"):
        shutil.copy(ROOT / "manifests" / name, tmp_path / "manifests")
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def write(checkout: Path, content: bytes) -> Path:
    file = checkout / "manifests/overlays/default/settings.env"
    file.write_bytes(content)
    return file


def run(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=checkout, capture_output=True, text=True, timeout=30)


def by_datum(file: Path) -> dict[str, str]:
    settings = load_cluster_settings(file)
    return {key: getattr(settings, key.lower()) for key in KEYS}


def by_shell(checkout: Path) -> dict[str, str]:
    file = "manifests/overlays/default/settings.env"
    return {key: run(checkout, "manifests/setting.sh", file, key).stdout.removesuffix("\n") for key in KEYS}


def by_make(checkout: Path) -> tuple[str, str]:
    recipe = run(checkout, "make", "--dry-run", "images").stdout
    registry, tag = (
        recipe.partition(f'{option} "')[2].partition('"')[0] for option in ("--registry", "--tag")
    )
    return registry, tag


@pytest.mark.parametrize(
    "content",
    [
        GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + GOOD[GOOD.index("NAMESPACE") :].encode(),
        b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(),
        GOOD.rstrip("\n").encode(),
        GOOD.replace("# A", "  \t# A").replace("\n\n", "\n \t\n").encode(),
    ],
    ids=["plain", "CRLF", "byte order mark", "both", "no end of line", "blanks"],
)
def test_all_three_read_the_same(checkout: Path, content: bytes) -> None:
    file = write(checkout, content)
    found = by_datum(file)
    assert found["REGISTRY"] == "registry.example.org:5000/team/datum"
    assert found == by_shell(checkout)
    assert by_make(checkout) == (found["REGISTRY"], found["TAG"])


def test_an_empty_value_is_empty_however_the_line_ends(checkout: Path) -> None:
    write(checkout, b"NAMESPACE=team\r\nREGISTRY=\r\n")
    assert by_shell(checkout)["REGISTRY"] == ""
    ended = run(checkout, "manifests/setting.sh", "manifests/overlays/default/settings.env", "TAG")
    assert (ended.returncode, ended.stdout) == (0, "\n")


@pytest.mark.parametrize(
    "line",
    [
        "NAMESPACE=team-a ",
        "NAMESPACE=team-a\t",
        "NAMESPACE= team-a",
        "NAMESPACE =team-a",
        " NAMESPACE=team-a",
        "export NAMESPACE=team-a",
        "namespace=team-a",
        'NAMESPACE="team-a"',
        "NAMESPACE='team-a'",
        "NAMESPACE=team-a # ours",
        "NAMESPACE=team\r-a",
        "NAMESPACE=team-a\nNAMESPACE=team-b",
        "NAMESPACE",
        "TAG=$(id)",
        "TAG=`id`",
        'REGISTRY=a"b',
        "REGISTRY=a!b",
    ],
)
def test_what_they_would_read_differently_is_refused_by_all(checkout: Path, line: str) -> None:
    file = write(checkout, f"OVERLAY=default\n{line}\n".encode())
    with pytest.raises(InputError) as raised:
        load_cluster_settings(file)
    assert str(raised.value).startswith(f"{file}:{2 + line.count(chr(10))}: ")
    named = f"manifests/overlays/default/settings.env:{2 + line.count(chr(10))}: "
    made = run(checkout, "make", "images", "PYTHON=false")
    assert made.returncode == 2
    assert made.stderr.startswith(named) and "settings.env is refused" in made.stderr
    deployed = run(checkout, "manifests/deploy.sh", "deploy", "default")
    assert (deployed.returncode, deployed.stdout, deployed.stderr.count("\n")) == (2, "", 1)
    assert deployed.stderr.startswith(named)
