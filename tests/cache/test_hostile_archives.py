"""Exports that somebody made to do harm are refused, and nothing is written anywhere."""

import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from beacon_cli.cache.archive import Archive, export
from beacon_cli.cache.store import Store
from beacon_cli.durable.records import seal
from beacon_cli.errors import CacheError
from tests.cache.synthetic_cache import KEY, build, check_message, entry_in

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def members(tmp_path: Path) -> Members:
    export(build(tmp_path / "cache"), tmp_path / "book.beacon")
    with tarfile.open(tmp_path / "book.beacon") as tar:
        return [(info, file.read()) for info in tar if (file := tar.extractfile(info))]


def packed(members: Members, format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def renamed(name: str) -> Callable[[Members], object]:
    return lambda members: setattr(members[1][0], "name", name)


def linked(kind: bytes) -> Callable[[Members], object]:
    def change(members: Members) -> None:
        members[1][0].type, members[1][0].linkname = kind, "/etc/passwd"

    return change


def bigger(members: Members) -> None:
    members[1] = (members[1][0], members[1][1] + bytes(10_000_000))


def extra(members: Members) -> None:
    members.append((tarfile.TarInfo(f"{KEY}/extra"), b"more"))


def test_what_is_packed_as_it_was_is_accepted(members: Members, tmp_path: Path) -> None:
    assert packed(members) == (tmp_path / "book.beacon").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        renamed("../../../etc/cron.d/x"),
        renamed("/etc/cron.d/x"),
        renamed(f"{KEY}/../{KEY}/x"),
        linked(tarfile.SYMTYPE),
        linked(tarfile.LNKTYPE),
        linked(tarfile.FIFOTYPE),
        linked(tarfile.DIRTYPE),
        linked(tarfile.GNUTYPE_SPARSE),
        bigger,
        extra,
        lambda members: members.pop(1),
        lambda members: members.append(members[1]),
        lambda members: members.reverse(),
        lambda members: members.insert(1, members[2]),
        lambda members: setattr(members[1][0], "mode", 0o4755),
        lambda members: setattr(members[0][0], "name", f"{'0' * 32}/manifest.json"),
        lambda members: setattr(members[0][0], "name", "../documents/manifest.json"),
    ],
)
def test_an_archive_with_anything_else_in_it_is_refused(
    members: Members, tmp_path: Path, change: Callable[[Members], object]
) -> None:
    change(members)
    refused(packed(members), tmp_path)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_other_spellings_are_refused(members: Members, tmp_path: Path, format: int) -> None:
    members[1][0].pax_headers = {"path": "../x"}
    members[1][0].name = "x" * 200
    refused(packed(members, format), tmp_path)


def test_a_manifest_of_another_identity_is_refused(members: Members, tmp_path: Path) -> None:
    manifest = entry_in(tmp_path / "cache").manifest()
    assert manifest is not None
    subject = replace(manifest.subject, identity=replace(manifest.subject.identity, base="another"))
    members[0] = (members[0][0], seal(replace(manifest, subject=subject)))
    refused(packed(members), tmp_path, subject.key)


def test_an_unfinished_cache_is_neither_exported_nor_imported(members: Members, tmp_path: Path) -> None:
    manifest = entry_in(tmp_path / "cache").manifest()
    assert manifest is not None
    cut = manifest.truncated(1)
    refused(packed([(members[0][0], seal(cut)), members[1]]), tmp_path)
    (entry_in(tmp_path / "cache").folder / "manifest.json").write_bytes(seal(cut))
    with pytest.raises(CacheError, match="not finished"):
        export(entry_in(tmp_path / "cache"), tmp_path / "other.beacon")


def test_a_declared_size_is_not_believed(members: Members, tmp_path: Path) -> None:
    data = bytearray(packed(members))
    info = members[0][0]
    info.size = 2**28
    data[:512] = info.tobuf(tarfile.USTAR_FORMAT)
    refused(bytes(data), tmp_path, "cut off")


@pytest.mark.parametrize("size", [-5, 2**40])
def test_a_size_that_no_header_of_ours_can_hold(members: Members, tmp_path: Path, size: int) -> None:
    data = bytearray(packed(members))
    info = members[0][0]
    info.size = size
    data[:512] = info.tobuf(tarfile.GNU_FORMAT)
    refused(bytes(data), tmp_path, "begin like one")


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CacheError, match="cannot be read"):
            Archive(path)


def refused(data: bytes, tmp_path: Path, *words: str) -> None:
    path, store = tmp_path / "changed.beacon", Store(tmp_path / "target")
    path.write_bytes(data)
    with pytest.raises(CacheError) as error:
        Archive(path).install(store, None, replace_existing=True)
    check_message(error.value, str(path), "not a whole export", *words)
    assert not list((store.path / "documents").iterdir())
    assert {each.name for each in tmp_path.iterdir()} == {"cache", "book.beacon", "changed.beacon", "target"}
