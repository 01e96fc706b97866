"""One condensed document as one file, to be taken to another machine.

It is a plain tar file: the manifest, then every file that it names, in its order. What is read back must be, byte for
byte, what is written here: a header that differs in anything (another name, a link, a mode, a size that the manifest
does not give) is refused before its contents are looked at, and nothing is written under a name that the file chose.
"""

import os
import shutil
import tarfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import BinaryIO

from beacon_cli.cache.damage import read_checked
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Models
from beacon_cli.cache.leftovers import tidy
from beacon_cli.cache.manifest import MANIFEST, Manifest, parse_manifest
from beacon_cli.cache.matching import Matcher
from beacon_cli.cache.origin import ORIGIN, Origin
from beacon_cli.cache.repair import examine
from beacon_cli.cache.signing import SUFFIX as SIGNATURE_SUFFIX
from beacon_cli.cache.signing import sign, signer
from beacon_cli.cache.store import IMPORT_SUFFIX, Store
from beacon_cli.durable.files import make_private_folder, new_file, sync_path, write_durably, write_error
from beacon_cli.durable.locks import no_builder
from beacon_cli.durable.records import seal
from beacon_cli.errors import CacheError

SUFFIX = ".beacon"
_BLOCK = tarfile.BLOCKSIZE
# Of a manifest: a million intervals, with room to spare.
_LARGEST_MANIFEST = 2**29


def export(entry: Entry, target: Path, key: Path | None = None) -> int:
    """Write the cache to `target`, checking every byte on the way; returns the size of the file.

    Where the document and the models were on this machine is left out: they are nobody else's business.

    Args:
        key: of SSH, that signs it; the signature comes to stand beside it, see `signature_of`.

    Raises:
        CacheError: if the cache is not complete or is damaged, `target` cannot be written, or the key does not sign;
            or if it is to sign what others have made.
    """
    with entry.in_use():
        manifest = entry.finished_manifest()
        sealed = seal(_without_whereabouts(manifest))
        signature = None if key is None else _signature(entry, manifest, sealed, key)
        temporary = target.with_name(target.name + ".tmp")
        try:
            signature_of(target).unlink(missing_ok=True)
            with new_file(temporary) as write:
                write(_member(entry.key, MANIFEST, sealed))
                for name, there in manifest.files.items():
                    write(_member(entry.key, name, read_checked(entry.folder / name, there.size, there.sha256)))
                write(_end(temporary.stat().st_size))
            os.replace(temporary, target)
            if signature is not None:
                with new_file(signature_of(target)) as write:
                    write(signature)
            sync_path(target.parent)
            return target.stat().st_size
        except OSError as error:
            raise CacheError(f"cannot write {target}: {error.strerror}; choose another place with -o") from error
        finally:
            with suppress(OSError):
                temporary.unlink()


def signature_of(archive: Path) -> Path:
    """Where the signature of an archive is."""
    return archive.with_name(archive.name + SIGNATURE_SUFFIX)


def _signature(entry: Entry, manifest: Manifest, sealed: bytes, key: Path) -> bytes:
    origin = entry.origin()
    if origin is not None and origin.is_foreign(manifest):
        raise CacheError(
            f"cache {entry.key} was imported, and signing it would vouch for what others made: condense it anew "
            "(--refresh), then sign it"
        )
    return sign(sealed, key)


class Archive:
    """An exported cache, opened for import: its manifest is checked, its other files not yet.

    Attributes:
        path: of the file.
        manifest: what it holds.
    """

    def __init__(self, path: Path) -> None:
        """Read the manifest.

        Raises:
            CacheError: if the file cannot be read, or is not an export of this tool.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self.manifest = self._read_manifest(file)
                self._files_start = file.tell()
                present = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise CacheError(
                f"{path} cannot be read ({error.strerror}); give a file from `beacon cache export`"
            ) from error
        sizes = [_padded(_BLOCK + there.size) for there in self.manifest.files.values()]
        expected = self._files_start + sum(sizes)
        expected += len(_end(expected))
        if present != expected:
            raise self._bad(f"it has {present} bytes instead of {expected}")

    def signed_by(self, keys: Path) -> str:
        """The fingerprint of the key that signed it, one of those in the file `keys`.

        Raises:
            CacheError: if none of them did.
        """
        return signer(self._sealed, signature_of(self.path), keys)

    def install(self, store: Store, models: Models | None, *, replace_existing: bool, signed_by: str = "") -> Entry:
        """Put the cache into `store`, all of it or nothing. It is foreign there, see `origin`.

        Args:
            signed_by: fingerprint of the trusted key that signed it.
            models: what the models are called here; None keeps the names in the archive.
            replace_existing: also where there is a cache of the same document and identity already.

        Raises:
            CacheError: if anything in the archive is damaged or strange, if it cannot be written, or if such a cache is
                there already.
        """
        manifest = self.manifest
        if models is not None:
            manifest = replace(manifest, subject=replace(manifest.subject, models=models))
        entry = store.entry_of_key(manifest.subject.key)
        folder = entry.folder.with_name(entry.key + IMPORT_SUFFIX)
        try:
            with no_builder(entry.lock):
                if entry.folder.exists() and not replace_existing:
                    raise CacheError(
                        f"the cache holds this document already ({entry.key}); import it in its place with --force"
                    )
                try:
                    shutil.rmtree(folder, ignore_errors=True)
                    make_private_folder(folder)
                    self._unpack(folder)
                    origin = Origin(signed_by, (manifest.chain or "") if signed_by else "")
                    write_durably(folder / ORIGIN, seal(origin))
                    write_durably(folder / MANIFEST, seal(manifest))
                    for damage in examine(folder, manifest):
                        raise self._bad(damage.what)
                    if _is_there(entry, manifest):
                        pass  # built here, to the same bits: nothing of it has to be believed
                    elif _is_usable(entry):
                        _replace(entry, folder, manifest)
                    else:
                        store.delete(entry)
                        folder.rename(entry.folder)
                        sync_path(entry.folder.parent)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError as error:
            raise CacheError(f"cache {entry.key} is being built here; wait until that is done, then import") from error
        except OSError as error:
            raise write_error(folder, error) from error
        return entry

    def _read_manifest(self, file: BinaryIO) -> Manifest:
        header = file.read(_BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
            key = info.name.removesuffix(f"/{MANIFEST}")
            ours = 0 <= info.size <= _LARGEST_MANIFEST and header == _header(key, MANIFEST, info.size)
        except (tarfile.HeaderError, ValueError) as error:
            raise self._bad("it does not begin like one") from error
        if not ours:
            raise self._bad("it does not begin like one")
        data = self._content(file, info.size)
        self._sealed = data
        try:
            manifest = parse_manifest(data)
        except (ValueError, RecursionError) as error:
            raise self._bad(str(error)) from error
        if manifest.subject.key != key or not manifest.complete:
            raise self._bad(f"it says it is cache {key[:40]!r}, and its manifest is that of {manifest.subject.key}")
        return manifest

    def _unpack(self, folder: Path) -> None:
        """Copy the files that the manifest names, checking headers and padding; `examine` looks at what is in them."""
        with self.path.open("rb") as file:
            file.seek(self._files_start)
            for name, there in self.manifest.files.items():
                if file.read(_BLOCK) != _header(self.manifest.subject.key, name, there.size):
                    raise self._bad(f"where {name} should be, there is something else")
                data = self._content(file, there.size)
                with new_file(folder / name) as write:
                    write(data)
            end = _end(file.tell())
            if file.read() != end:
                raise self._bad("something follows its last file")

    def _content(self, file: BinaryIO, size: int) -> bytes:
        data = file.read(size)
        if len(data) != size:
            raise self._bad("it is cut off")
        if file.read(_padded(size) - size).strip(b"\0"):
            raise self._bad("there is something between its files")
        return data

    def _bad(self, what: str) -> CacheError:
        what = " ".join(what.split())
        return CacheError(f"{self.path} is not a whole export of a condensed document: {what}; export or copy it again")


def import_archive(
    store: Store, path: Path, matcher: Matcher, *, force: bool, trusted: Path | None = None
) -> tuple[Entry, bool]:
    """Put an exported cache into `store`; returns it, and whether a model here can use it.

    Args:
        force: also if there is no such model here, or in place of a cache that is here already.
        trusted: a file of public SSH keys; one of them must have signed it.

    Raises:
        CacheError: if it cannot be used here and `force` is not given, if it is not signed as it must be, or for
            whatever `Archive` refuses.
    """
    archive = Archive(path)
    signed_by = "" if trusted is None else archive.signed_by(trusted)
    subject = archive.manifest.subject
    found = matcher.find(subject)
    if found is None and not force:
        raise CacheError(
            f"{path} was condensed with {subject.models.base} ({subject.identity.base[:12]}) and the beacon "
            f"{subject.identity.beacon[:12]}, and no model on this disk is that one: name it with --model and "
            "--beacon, or import it all the same with --force"
        )
    models = None if found is None else Models(found.name, found.condenser_name)
    return archive.install(store, models, replace_existing=force, signed_by=signed_by), found is not None


def _is_there(entry: Entry, manifest: Manifest) -> bool:
    """Whether the same contents, whole, were built here."""
    found = entry.complete_manifest()
    if found is None or found.chain != manifest.chain or entry.origin() is not None:
        return False
    return not any(examine(entry.folder, found))


def _is_usable(entry: Entry) -> bool:
    try:
        return entry.manifest() is not None
    except CacheError:
        return False


def _replace(entry: Entry, folder: Path, manifest: Manifest) -> None:
    """Put what is in `folder` in place of a cache, which stays what it was until it is the new one.

    Files of one name have one content, for names carry checksums: only the manifest decides which of them count.
    """
    try:
        for name in (ORIGIN, *manifest.files):  # the origin first: before it is written, nothing foreign counts
            os.replace(folder / name, entry.folder / name)
        sync_path(entry.folder)
        write_durably(entry.folder / MANIFEST, seal(manifest))
    finally:
        # What cannot be tidied now is tidied by the next build; it must not hide why this failed.
        with suppress(CacheError):
            tidy(entry.folder, entry.use)


def _without_whereabouts(manifest: Manifest) -> Manifest:
    subject = manifest.subject
    names = Models(PurePath(subject.models.base).name, PurePath(subject.models.beacon).name)
    return replace(manifest, subject=replace(subject, document=replace(subject.document, path="-"), models=names))


def _header(key: str, name: str, size: int) -> bytes:
    """The 512 bytes in front of a member: one spelling only."""
    info = tarfile.TarInfo(f"{key}/{name}")
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.USTAR_FORMAT)


def _member(key: str, name: str, data: bytes) -> bytes:
    return _header(key, name, len(data)) + data + bytes(_padded(len(data)) - len(data))


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _end(position: int) -> bytes:
    """What follows the last member: two empty blocks, and as many as fill a record."""
    return bytes(2 * _BLOCK + -(position + 2 * _BLOCK) % tarfile.RECORDSIZE)
