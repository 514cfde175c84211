"""Packs an installed distribution as a wheel again: python repack.py NAME FOLDER.

llama-cpp-python is compiled once, into .venv; other environments of the same Python can have it from there.
"""

import base64
import hashlib
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

OF_THE_INSTALLER = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}


def repack(installed: Distribution, folder: Path) -> Path:
    """Write the wheel into ``folder`` and return its path; scripts outside the library folder are left out."""
    tag = next(line for line in (installed.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: "))
    stem = f"{installed.name.replace('-', '_')}-{installed.version}"
    wheel = folder / f"{stem}-{tag.removeprefix('Tag: ')}.whl"
    record = ""
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in installed.files or []:
            if path.name in OF_THE_INSTALLER or ".." in path.parts or path.suffix == ".pyc":
                continue
            content = path.read_binary()
            archive.writestr(str(path), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(content)}\n"
        own = f"{stem}.dist-info/RECORD"
        archive.writestr(own, f"{record}{own},,\n")
    return wheel


if __name__ == "__main__":
    print(repack(distribution(sys.argv[1]), Path(sys.argv[2])).name)
