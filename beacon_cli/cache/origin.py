"""Where an imported cache comes from, and what of it has been proven on this machine.

Checksums prove that an archive is what its maker wrote, not that he told the truth: its text need not be the text of
the document that it names, nor its activations what the model makes of that text. So an import is *foreign* until both
were proven here, or it was signed by somebody whom the user trusts. What was proven is written down with the chain of
which it was: of other contents it says nothing.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from beacon_cli.cache.manifest import Manifest
from beacon_cli.durable.records import from_json, parse, unseal

ORIGIN = "origin.json"


@dataclass(frozen=True)
class Origin:
    """Of an imported cache. Each of the chains is "" as long as nothing has it.

    Attributes:
        signer: fingerprint of the trusted key that signed it ("SHA256:…"); "" if none did.
        signed: the chain that was signed.
        text: the chain whose tokens and pages were found to be those of the document itself.
        activations: the chain whose intervals were condensed here.
    """

    signer: str = ""
    signed: str = ""
    text: str = ""
    activations: str = ""

    def is_signed(self, manifest: Manifest) -> bool:
        """Whether a trusted key signed what `manifest` names."""
        return bool(self.signer) and self.signed == manifest.chain

    def has_text(self, manifest: Manifest) -> bool:
        """Whether the text is known to be the document's."""
        return self.is_signed(manifest) or self.text == manifest.chain

    def has_activations(self, manifest: Manifest) -> bool:
        """Whether the activations are known to be those of the text."""
        return self.is_signed(manifest) or self.activations == manifest.chain

    def is_foreign(self, manifest: Manifest) -> bool:
        """Whether anything of it has to be believed."""
        return not (self.has_text(manifest) and self.has_activations(manifest))

    def proven(self, manifest: Manifest) -> list[str]:
        """What was proven on this machine: "text", "activations"."""
        proofs = {"text": self.text, "activations": self.activations}
        return [what for what, chain in proofs.items() if chain == manifest.chain]

    def told(self, manifest: Manifest) -> str:
        """In words."""
        if self.is_signed(manifest):
            return f"imported, signed by {self.signer}"
        proven = " and ".join(self.proven(manifest)) or "nothing of it"
        return f"{'foreign' if self.is_foreign(manifest) else 'imported'}, {proven} proven here"


def has_own_text(origin: Origin | None, manifest: Manifest) -> bool:
    """Whether nobody has to be believed that this text is that of the document."""
    return origin is None or origin.has_text(manifest)


def has_own_activations(origin: Origin | None, manifest: Manifest) -> bool:
    """Whether nobody has to be believed that these activations are those of their tokens."""
    return origin is None or origin.has_activations(manifest)


def read_origin(folder: Path) -> Origin | None:
    """None of a cache that was built here; an unreadable one proves nothing.

    Read it after the manifest that it is asked about: an import writes it first.
    """
    try:
        data = (folder / ORIGIN).read_bytes()
        return parse(Origin, unseal(data, from_json(data)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return Origin()


def forget_origin(folder: Path) -> None:
    """From now on the cache is one that was built here."""
    with suppress(OSError):  # then it goes on as foreign
        (folder / ORIGIN).unlink(missing_ok=True)
