"""The browser that takes pictures for the documentation, with the same letters everywhere."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><include ignore_missing="yes">/etc/fonts/fonts.conf</include>
<match><test name="family" qual="any"><string>system-ui</string></test>
<edit name="family" mode="assign" binding="strong"><string>Inter</string></edit></match>
<match><test name="family" qual="any"><string>sans</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>
<match><test name="family" qual="any"><string>sans-serif</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>
</fontconfig>"""


@asynccontextmanager
async def chromium(program: Path, folder: Path) -> AsyncIterator[Browser]:
    """Yield the browser; ``folder`` takes what it needs to find its letters."""
    fonts = folder / "fonts.conf"
    fonts.write_text(_FONTS)
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(
            executable_path=program,
            args=[*flags, "--font-render-hinting=none"],
            env=os.environ | {"FONTCONFIG_FILE": str(fonts)},
        )
