"""pdf.js for the page of `beacon serve`, out of Mozilla's npm package, pinned and checked: `python -m recipes.pdfjs`.

What it writes is kept in the repository, so that neither installing nor serving needs npm or the network. No wheel on
PyPI has pdf.js without a whole toolkit around it. To update: name another version and what `npm view pdfjs-dist
dist.integrity` says of it.
"""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

VERSION = "6.5.438"
INTEGRITY = "sha512-vg8Pw1x+AFKy4AMDvhuWl5cOYV8d698UoEANoFFhc79hqXDnZQqnOXoxw3HG907WHOg1JYOvLhP756boddFxpA=="
TARGET = Path(__file__).parents[1] / "beacon_cli" / "serving" / "static" / "pdfjs"
# The build for browsers of the last years; the tables of CJK fonts; what decodes JBIG2, JPEG 2000 and colour
# profiles; the two standard fonts that no system has.
WANTED = (
    "LICENSE",
    "legacy/build/pdf.min.mjs",
    "legacy/build/pdf.worker.min.mjs",
    "cmaps/*",
    "wasm/jbig2.wasm",
    "wasm/openjpeg.wasm",
    "wasm/qcms_bg.wasm",
    *(f"wasm/LICENSE_{name}" for name in ("JBIG2", "OPENJPEG", "QCMS", "PDFJS_JBIG2", "PDFJS_OPENJPEG", "PDFJS_QCMS")),
    "standard_fonts/FoxitSymbol.pfb",
    "standard_fonts/FoxitDingbats.pfb",
    "standard_fonts/LICENSE_FOXIT",
)


def main() -> None:
    """Replace what is in `TARGET`."""
    with TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"pdfjs-dist@{VERSION}"], cwd=folder, check=True)
        (packed,) = Path(folder).iterdir()
        data = packed.read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != INTEGRITY:
        raise SystemExit(f"pdfjs-dist {VERSION} is not what was pinned: {found}")
    shutil.rmtree(TARGET, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive.getmembers():
            name = member.name.removeprefix("package/")
            if member.isfile() and any(fnmatch(name, wanted) for wanted in WANTED):
                path = TARGET / name.removeprefix("legacy/")
                path.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None
                path.write_bytes(content.read())


if __name__ == "__main__":
    main()
