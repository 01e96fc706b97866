"""OCR of a page by tesseract, where that is installed. Runs in the reading process, within its limits."""

from __future__ import annotations

import os
import shutil
import subprocess

from beacon_cli.errors import DocumentError

PROGRAM = "tesseract"


def check_ocr(name: str) -> None:
    """Raises `DocumentError` if there is no OCR on this machine."""
    if shutil.which(PROGRAM) is None:
        raise DocumentError(
            f"{name}: --ocr needs {PROGRAM}: install it (for instance: apt install tesseract-ocr, or brew install "
            "tesseract), or read the document without --ocr"
        )


def recognized(image: bytes) -> str:
    """The text in a PNM image, as tesseract reads it. Raises `OSError` or `CalledProcessError` if it fails."""
    done = subprocess.run(
        [PROGRAM, "stdin", "stdout"],
        input=image,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_THREAD_LIMIT": "1"},  # more threads make it slower, page by page
        check=True,
    )
    return done.stdout.decode("utf-8", "replace").replace("\f", "")
