"""Whole folders in a store of resumable state.

Contents lie below `files/` by their SHA-256, so that what several folders have in common is uploaded and kept
once; `<folder>/folder.json` lists what belongs to a folder and is written last: a folder is whole or absent.
"""

from collections.abc import Collection
from pathlib import Path

from datum.errors import InputError
from datum.store import Store, require_file_names
from datum.threads import at_once
from datum.transfer import described, index_bytes, parse_index, put_missing

INDEX_OF_KEPT = "folder.json"
"""Name of the list: `{"files": {name: {"size": bytes, "sha256": hexadecimal}}}`."""

_CONTENTS = "files/"


def put_folder(store: Store, folder: Path, prefix: str) -> None:
    """Puts every file below `folder` into the store, under the name `prefix`, in place of what was there.

    What the store holds already is not uploaded again, so an interrupted call is resumed by the next one.
    Raises `InputError` where another process put a folder there meanwhile: of two, the first stays.
    """
    key = f"{prefix.rstrip('/')}/{INDEX_OF_KEPT}"
    seen = "".join(entry.version for entry in store.entries(key) if entry.key == key)
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    files = described({name: folder / name for name in sorted(names)}, f"hash {folder.name}")
    there = {entry.key: entry.size for entry in store.entries(_CONTENTS)}
    contents = {_CONTENTS + file.sha256: (folder / name, file) for name, file in files.items()}
    put_missing(f"put {folder.name}", store, contents, there)
    if not store.swap_bytes(key, index_bytes(files), seen):
        raise InputError(f"{key}: another process put the same folder meanwhile, which stays; let one run")


def get_folder(store: Store, prefix: str, folder: Path, *, leaving_out: Collection[str] = ()) -> bool:
    """Brings every file that was put under the name `prefix` into `folder`, less those named in
    `leaving_out`; whether there was any. Without a list of them these are the files that lie there, all where
    `prefix` is empty.

    Raises `InputError`, before anything is written, for a name that cannot be a file below one folder.
    """
    place = f"{prefix.rstrip('/')}/" if prefix else ""
    try:
        files = parse_index(store.read_bytes(place + INDEX_OF_KEPT), place + INDEX_OF_KEPT)
    except KeyError:
        keys = {entry.key.removeprefix(place): entry for entry in store.entries(place)}
        sources = {name: (entry.key, "", entry.size) for name, entry in keys.items()}
    else:
        sources = {name: (_CONTENTS + file.sha256, file.sha256, file.size) for name, file in files.items()}
    require_file_names(sources, place or "the store")
    sources = {name: source for name, source in sources.items() if name not in leaving_out}
    for name in sources:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)

    def download(name: str) -> None:
        key, digest, _ = sources[name]
        store.get(key, folder / name, digest)

    at_once(f"get {place or folder.name}", {name: size for name, (_, _, size) in sources.items()}, download)
    return bool(sources)
