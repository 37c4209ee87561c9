"""What names a place, and what is refused because it could name another."""

from pathlib import Path

import pytest

from datum.errors import InputError
from datum.store import local_path, open_store, require_place, require_run_id


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://", "s3:///key", "s3://a b/key", "s3://x", "s3://abc./x", "s3://a..b/x", "s3://127.0.0.1/x"),
        *("s3://bucket/a?b", "s3://bucket/a#b", "s3://bucket#", "s3://bucket?x", "s3://bucket/#/run"),
        *("s3://bucket/..", "s3://bucket/a/../b", "s3://bucket/./a", "s3://bucket//a", "s3://bucket/a//"),
        *("s3://bucket/a\nb", "s3://bucket/a\x7f", "s3://bucket/\ud800"),
        *("ftp://host/folder", "http://host/bucket", "gs://bucket/x"),
        *("file://host/folder", "file://", "file://folder", "file:///a?b", "file:///a#b", "file:///a#"),
        *("file:///a/../b", "file:///a/%2e%2e/b", "file:///a/%2E./b", "file:///a/./b", "file:///a//b"),
        *("file:///a%2F..%2Fb", "file:///a%00b", "file:///a%0Ab", "file:////a", "a\0b"),
        *("file:///a#0123456789abcdeF", "file:///a#0123456789abcdef0", "file:///a#0123456789abcdef#b"),
    ],
)
def test_a_uri_that_could_mean_another_place_is_refused_in_one_line(s3_environment: str, uri: str) -> None:
    for call in (require_place, open_store):
        with pytest.raises(InputError) as refusal:
            call(uri)
        said = str(refusal.value)
        assert said.isprintable() and len(said) < 350
        assert "expected" in said or "name a place" in said


@pytest.mark.parametrize(
    "uri, path",
    [
        *(
            ("a#b?c", "a#b?c"),
            ("../a b", "../a b"),
            ("/a/../b", "/a/../b"),
            ("C:x", "C:x"),
            ("s3:/x", "s3:/x"),
        ),
        *(
            ("file:///a%20b", "/a b"),
            ("file:///a%23b%3Fc/", "/a#b?c"),
            ("file:///", "/"),
            ("FILE:///a", "/a"),
        ),
        *(("file:///a%FFb", "/a\udcffb"), ("file:///..a/b..", "/..a/b.."), ("a\nb", "a\nb")),
        ("file:///a#0123456789abcdef", "/a"),
    ],
)
def test_a_path_is_taken_as_it_is_written_and_a_uri_as_it_is_encoded(uri: str, path: str) -> None:
    assert local_path(uri) == Path(path)


def test_every_path_has_a_uri_that_leads_back_to_it(tmp_path: Path) -> None:
    for name in ("plain", "#", "a?b", "ä b", "%41", "100%", "a\udcffb"):
        assert local_path((tmp_path / name).as_uri()) == tmp_path / name


@pytest.mark.parametrize(
    "uri", ["s3://bucket", "s3://bucket/", "s3://my.bucket-1/a b/%2e%2e/c", "S3://bucket/x/"]
)
def test_a_plain_place_of_a_store_is_taken(s3_environment: str, uri: str) -> None:
    assert local_path(uri) is None
    require_place(uri)
    open_store(uri)


def test_keys_in_a_uri_are_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match="a URI takes no keys") as refusal:
        require_place("s3://key" + ":very-secret@bucket/x")
    assert "very-secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "value", ["#", "..", ".", "...", "../x", "a/b", "a#b", "a?b", "a b", "ä", "a\n", "x" * 129]
)
def test_what_is_no_run_id_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"resume_from=.*is no run's id, expected letters"):
        require_run_id("resume_from", value)


def test_a_run_id_is_taken() -> None:
    for value in ("3f0a1b2c-1111-2222-3333-444455556666", "run_1", "v1.2", "..a"):
        require_run_id("resume_from", value)
