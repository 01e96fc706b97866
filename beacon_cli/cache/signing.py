"""Signatures of exported caches, with the SSH keys that people have: OpenSSH's `ssh-keygen -Y` makes and checks them.

It asks for a key's passphrase or its agent, knows every kind of key, security tokens included, and is kept by those who
keep SSH. What is signed is the archive's manifest, which names the checksum of everything else:

    tar xOf book.beacon KEY/manifest.json | ssh-keygen -Y check-novalidate -n beacon-cache -s book.beacon.sig
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from beacon_cli.errors import CacheError

SUFFIX = ".sig"
_NAMESPACE = "beacon-cache"
_PRINCIPAL = "trusted"
# The kind of a public key and the key itself, wherever they stand in a line of a .pub file or of authorized_keys.
_PUBLIC_KEY = re.compile(r"\b((?:sk-)?(?:ssh|ecdsa)-[\w@.-]+) +([A-Za-z0-9+/]{32,}={0,3})(?:\s|$)")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]+")
# Of what stands in a signature or a file of public keys: more is none.
_LARGEST = 2**20


def sign(data: bytes, key: Path) -> bytes:
    """The signature of `data` by a private key, or by a public one whose private half ssh-agent has.

    Raises:
        CacheError: if it cannot be made.
    """
    key = key.expanduser()
    if not key.is_file():
        raise CacheError(f"{key} is no file; name an SSH key with --sign, like ~/.ssh/id_ed25519")
    # Its prompt for a passphrase goes to the terminal, not to stderr.
    made = _ssh_keygen("sign", "-f", str(key), data=data)
    if made.returncode or not made.stdout:
        raise CacheError(f"{key} does not sign ({_reason(made)}); name an SSH key with --sign, like ~/.ssh/id_ed25519")
    return made.stdout


def signer(data: bytes, signature: Path, keys: Path) -> str:
    """The fingerprint ("SHA256:…") of the key that signed `data`, one of those in the file `keys`.

    Raises:
        CacheError: if none of them did.
    """
    trusted = _PUBLIC_KEY.findall(_read(keys, "name a file of public SSH keys with --trust, like alice.pub"))
    if not trusted:
        raise CacheError(f"{keys} holds no public SSH key; name one with --trust, like alice.pub")
    _read(signature, "it lies beside the archive that `beacon cache export --sign` wrote; copy both")
    with tempfile.TemporaryDirectory() as folder:
        allowed = Path(folder) / "allowed"
        allowed.write_text("".join(f"{_PRINCIPAL} {kind} {key}\n" for kind, key in trusted))
        checked = _ssh_keygen("verify", "-f", str(allowed), "-I", _PRINCIPAL, "-s", str(signature), data=data)
    found = _FINGERPRINT.search(checked.stdout.decode(errors="replace"))
    if checked.returncode or found is None:
        raise CacheError(
            f"{signature} is no signature of this archive by a key in {keys} ({_reason(checked)}); have it signed with "
            "such a key, or import it without --trust"
        )
    return found[0]


def _read(path: Path, advice: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode(errors="replace")
    except OSError as error:
        raise CacheError(f"{path} cannot be read ({error.strerror}); {advice}") from error


def _ssh_keygen(action: str, *arguments: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise CacheError("signatures need OpenSSH's ssh-keygen; install it (openssh-client), or go without them")
    try:
        return subprocess.run(
            [program, "-Y", action, "-n", _NAMESPACE, *arguments], input=data, capture_output=True, check=False
        )
    except OSError as error:
        raise CacheError(f"{program} does not run ({error.strerror}); install OpenSSH's client") from error


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """What ssh-keygen says last, or how it ended."""
    said = (done.stderr + done.stdout).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(said) if line.strip()), f"exit code {done.returncode}")
