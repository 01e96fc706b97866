"""Small changes to files, drawn at random: of their bytes, of numbers and names in them, of what is packed in them."""

import io
import json
import random
import re
import zipfile
from typing import Any

STRANGE: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 10**400, 1e308, "", "x" * 3000, "\0", "\ud800", "../../x", [], {}, [[]], "NaN",
]  # fmt: skip
_PIECES = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"<",
    b"&",
    b"]]>",
    b"(" * 500,
    b"<<" * 500,
    b"[" * 5000,
    b"9" * 400,
    b"-1",
    b"\x1b]0;x\x07",
]


def of_bytes(data: bytes, draw: random.Random) -> bytes:
    """A few bits, pieces cut out, copied, repeated or put in."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(len(changed) + 1)
        end = min(at + draw.choice((1, 4, 40, 4000)), len(changed))
        match draw.randrange(6):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << draw.randrange(8)
            case 1:
                del changed[at:end]
            case 2:
                changed[at:at] = changed[at:end] * draw.choice((1, 50))
            case 3:
                changed[at:end] = draw.choice(_PIECES)
            case 4:
                numbers = list(re.finditer(rb"\d+", changed))
                if numbers:
                    found = draw.choice(numbers)
                    changed[found.start() : found.end()] = draw.choice((b"0", b"1", b"65536", b"4294967295", b"9" * 30))
            case _:
                del changed[at:]
    return bytes(changed)


def of_json(value: Any, draw: random.Random) -> Any:
    """The same with one thing in it replaced, left out, repeated or nested."""
    places: list[tuple[Any, Any]] = []

    def walk(within: Any) -> None:
        for key in within if isinstance(within, dict) else range(len(within)):
            places.append((within, key))
            if isinstance(within[key], dict | list):
                walk(within[key])

    value = json.loads(json.dumps(value))
    walk(value)
    if places:
        within, key = draw.choice(places)
        other, name = draw.choice(places)
        match draw.randrange(4):
            case 0:
                del within[key]
            case 1:
                within[key] = json.loads(json.dumps(other[name])) if name in other or isinstance(other, list) else None
            case 2:
                within[key] = [within[key]] * 3
            case _:
                within[key] = draw.choice(STRANGE)
    return value


def of_zip(data: bytes, draw: random.Random) -> bytes:
    """The same archive with one of its files changed, renamed, doubled or left out: whole, as an archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as after:
        names = before.namelist()
        chosen = draw.choice(names)
        for name in names:
            content = before.read(name)
            if name == chosen:
                what = draw.randrange(6)
                if what == 0:
                    continue
                if what == 1:
                    name = draw.choice(("../" + name, name.upper(), name + "/x", "x" * 300))
                else:
                    content = of_bytes(content, draw)
            after.writestr(name, content)
    return target.getvalue()
