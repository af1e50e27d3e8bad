"""Make asv's pages of the recorded results without anything remote: ``python asv_bench/publish.py``.

``asv publish`` leaves a page that loads ten scripts and style sheets from hosts of others. Here they come from npm's
packages, by ``npm pack`` at exact versions, kept in `.asv/assets`, and the page is made to load these files; where asv
says what is in a file and the package has that very file, it is checked. `asv preview` shows the pages.
"""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
HTML, KEPT = HERE / ".asv" / "html", HERE / ".asv" / "assets"


class Asset(NamedTuple):
    """A file of a package of npm's in place of a remote one."""

    package: str
    file: str
    same: bool = True
    """Whether it is the very file, and not one that was made smaller, or of another version."""


ASSETS = {
    "jquery-3.3.1.min.js": Asset("jquery@3.3.1", "dist/jquery.min.js"),
    "jquery.flot.min.js": Asset("flot@0.8.3", "jquery.flot.js", same=False),
    "jquery.flot.time.min.js": Asset("flot@0.8.3", "jquery.flot.time.js", same=False),
    "jquery.flot.selection.min.js": Asset("flot@0.8.3", "jquery.flot.selection.js", same=False),
    "jquery.flot.categories.min.js": Asset("flot@0.8.3", "jquery.flot.categories.js", same=False),
    "jquery.flot.orderBars.js": Asset("flot-orderbars@1.0.0", "js/jquery.flot.orderBars.js"),
    "stupidtable.min.js": Asset("stupid-table-plugin@1.1.3", "stupidtable.min.js", same=False),
    "md5.min.js": Asset("blueimp-md5@2.19.0", "js/md5.min.js"),
    "bootstrap.min.js": Asset("bootstrap@3.1.1", "dist/js/bootstrap.min.js"),
    "bootstrap.min.css": Asset("bootstrap@3.1.1", "dist/css/bootstrap.min.css"),
}

TAG = re.compile(r"<(?:script|link)\b[^>]*>")
REMOTE = re.compile(r"""\b(?:src|href)\s*=\s*["']?((?:https?:)?//[^"'\s>]+)""", re.IGNORECASE)
INTEGRITY = re.compile(r'\s(?:integrity|crossorigin|referrerpolicy)="[^"]*"')


def content(asset):
    """Return the file of an asset, its package brought by npm unless it is there already."""
    packed = KEPT / f"{asset.package.replace('@', '-')}.tgz"
    if not packed.is_file():
        KEPT.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [shutil.which("npm"), "pack", "--silent", "--ignore-scripts", asset.package], cwd=KEPT, check=True
        )
    with tarfile.open(packed) as files:
        return files.extractfile(f"package/{asset.file}").read()


def local(tag):
    """Return a tag of a page with what it loads brought here."""
    found = REMOTE.search(tag[0])
    if not found:
        return tag[0]
    name = found[1].rpartition("/")[2]
    if name not in ASSETS:
        sys.exit(f"publish: asv's page loads {found[1]}, for which ASSETS has no package")
    asset = ASSETS[name]
    brought = content(asset)
    asked = re.search(r'integrity="(sha\d+)-([^"]*)"', tag[0])
    if asset.same and asked and base64.b64encode(hashlib.new(asked[1], brought).digest()).decode() != asked[2]:
        sys.exit(f"publish: {asset.file} of {asset.package} is not the file that asv's page asks for")
    (HTML / "assets").mkdir(exist_ok=True)
    (HTML / "assets" / name).write_bytes(brought)
    return INTEGRITY.sub("", tag[0].replace(found[1], f"assets/{name}"))


def remote(folder):
    """Return what pages and style sheets load from elsewhere, each with its file."""
    for path in sorted(folder.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        yield from (f"{path.name}: {found[1]}" for tag in TAG.findall(text) for found in REMOTE.finditer(tag))
    for path in sorted(folder.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        yield from (
            f"{path.name}: {found}" for found in re.findall(r"(?:@import|url\()\W*((?:https?:)?//[^\s)'\"]+)", text)
        )


def main():
    if shutil.which("npm") is None:
        sys.exit("publish: npm is needed, which brings the scripts and style sheets of asv's pages")
    subprocess.run([Path(sys.executable).with_name("asv"), "publish"], cwd=HERE, check=True)
    for path in HTML.rglob("*.html"):
        path.write_text(TAG.sub(local, path.read_text(encoding="utf-8")), encoding="utf-8")
    if left := list(remote(HTML)):
        sys.exit("publish: still loaded from elsewhere: " + ", ".join(left))
    print(f"nothing remote in {HTML}; asv preview shows it")


if __name__ == "__main__":
    main()
