"""The rule of which files of a folder count."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datum.errors import InputError
from datum.folders import files_below, images_below, is_passed_over, printable, require_portable


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_what_systems_and_killed_processes_leave_is_passed_over(tmp_path: Path) -> None:
    write(
        tmp_path,
        *("b/1.png", "a.png", "notes.txt"),
        *(
            "._a.png",
            ".datum-0123abcd.png",
            ".trash/1.png",
            "__MACOSX/b/._1.png",
            "@eaDir/a.png/SYNO_THUMB_M.jpg",
        ),
    )
    assert files_below(tmp_path) == ["a.png", "b/1.png", "notes.txt"]


def test_images_may_end_in_upper_case_and_lie_in_a_linked_folder(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "1.PNG", "2.jpeg", "3.JPG", "4.tif")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/more").symlink_to(tmp_path / "elsewhere")
    names = [file.relative_to(tmp_path / "images").as_posix() for file in images_below(tmp_path / "images")]
    assert names == ["more/1.PNG", "more/2.jpeg", "more/3.JPG"]


def test_a_link_that_leads_back_is_entered_once(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self.png")
    (tmp_path / "self.png").write_bytes(b"x")
    assert files_below(tmp_path) == ["a/1.png", "self", "self.png"]


@pytest.mark.parametrize("name", ["1.png", "city"])
@pytest.mark.parametrize("kind", ["to nothing", "to itself", "pipe"])
def test_what_has_an_images_name_and_is_none_is_named(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / "1.png")
    else:
        (tmp_path / name).symlink_to(tmp_path / ("absent" if kind == "to nothing" else name))
    with pytest.raises(InputError, match=r"/(1\.png|city): is (a link that leads nowhere|no regular file)"):
        files_below(tmp_path)


def test_a_name_that_is_not_utf_8_is_named_in_printable_characters(tmp_path: Path) -> None:
    file = os.fsdecode(os.fsencode(tmp_path) + b"/z\xfcrich/1.png")
    write(tmp_path, os.path.relpath(file, tmp_path))
    with pytest.raises(InputError, match=r"/z\\xfcrich/1\.png: the name is not UTF-8") as error:
        images_below(tmp_path)
    str(error.value).encode("utf-8")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a\n1.png"], r"a\\n1\.png: the name is not UTF-8 or holds control characters"),
        (["City/1.png", "city/1.png"], r"differs from City/1\.png in case"),
        (["\u00fc.png", "u\u0308.png"], "in case or in the writing of accents"),
    ],
)
def test_names_that_no_other_system_can_keep_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        require_portable("root", names)
    assert "\n" not in str(error.value)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True, max_size=5))
def test_names_are_accepted_or_refused_in_one_printable_line(names: list[str]) -> None:
    try:
        require_portable("root", names)
    except InputError as error:
        assert "\n" not in printable(str(error))
    else:
        assert len({name.casefold() for name in names}) == len(names)
        assert all(printable(name) == name for name in names)


@given(st.lists(st.sampled_from(["a", ".b", "c.png", "__MACOSX", "@eaDir"]), min_size=1, max_size=4))
def test_a_name_counts_where_no_part_of_it_is_hidden(parts: list[str]) -> None:
    assert is_passed_over("/".join(parts)) == bool({".b", "__MACOSX", "@eaDir"} & set(parts))
