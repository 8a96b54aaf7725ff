"""Static files: what others made is what they made, listed with licence and hash, and named after its content."""

import tomllib
from hashlib import sha256
from pathlib import Path

from penstock.console import assets
from penstock.console.assets import Assets

STATIC = Path(assets.__file__).parent / "static"
OWN = {"console.css", "console.js", "live.js", "icon.svg"}


def test_vendored_files_are_as_their_makers_shipped_them() -> None:
    listed = tomllib.loads((STATIC / "vendored.toml").read_text())["file"]
    for file in listed:
        assert sha256((STATIC / file["name"]).read_bytes()).hexdigest() == file["sha256"], file["name"]
        assert file["version"] and file["licence"] in ("0BSD", "MIT")
    assert {file["name"] for file in listed} | OWN == {path.name for path in STATIC.iterdir()} - {"vendored.toml"}


def test_addresses_change_with_the_content() -> None:
    files = Assets()
    address = files.address("console.css")
    asset = files.find(address)
    assert asset is not None
    assert asset.body == (STATIC / "console.css").read_bytes()
    assert sha256(asset.body).hexdigest()[:12] in address
    assert files.find("/static/console.000000000000.css") is None
    assert files.find("/static/../app.py") is None


def test_no_style_and_no_script_within_templates() -> None:
    for template in (STATIC.parent / "templates").glob("*.html"):
        text = template.read_text()
        assert "style=" not in text and "<style" not in text, template.name
        assert "onclick" not in text and "hx-on" not in text and "|safe" not in text.replace('"<br>"|safe', ""), template.name
