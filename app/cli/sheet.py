# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A page of found pictures, in one file that needs nothing else."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from app.errors import TwinlensError
from app.host import memory
from app.library import addresses
from app.library.folders import Photo
from app.library.items import Stored
from app.pictures.decode import decode

log = logging.getLogger("twinlens.cli")

_EDGE = 320  # pixels: twice what a phone shows, for its fine screen
_QUALITY = 80

#: Pictures of one page, which then has about 40 MB. Browsers cannot show many more.
MOST = 2_000
# Pictures that are decoded before a request to stop is looked at.
_BATCH = 16

_HEAD = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.4 system-ui, sans-serif; margin: 1rem;
  color: light-dark(#1b1b1f, #e6e6ea); background: light-dark(#fff, #16161a); }}
h1 {{ font-size: 1.1rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.3rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }}
h2 img {{ display: block; max-height: 8rem; border-radius: .3rem; }}
ul {{ display: grid; gap: 1rem; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }}
figure {{ margin: 0; }}
li img, .missing {{ display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: contain;
  background: light-dark(#ececf0, #26262c); border-radius: .3rem; }}
.missing {{ display: grid; place-items: center; text-align: center; padding: .5rem;
  box-sizing: border-box; font-size: .85rem; }}
figcaption {{ font-size: .85rem; overflow-wrap: anywhere; }}
</style>
<h1>{title}</h1>
"""


@dataclass(frozen=True)
class Hit:
    """A picture that was found."""

    id: str
    path: str
    #: a cosine
    score: float


@dataclass
class Section:
    """What was found for one query, or the pictures of one group."""

    title: str
    hits: list[Hit] = field(default_factory=list)
    #: the picture that was searched for; None for words and groups
    picture: Path | None = None


def write(
    file: BinaryIO,
    sections: Sequence[Section],
    title: str,
    max_pixels: int,
    *,
    most_each: int = MOST,
    check_cancelled: Callable[[], None] = lambda: None,
) -> int:
    """Write the page as HTML, one section after the other.

    Args:
        file: to write to.
        sections: what it shows.
        title: its heading.
        max_pixels: larger pictures are named, not shown.
        most_each: pictures of one section. Of all sections together, ``MOST`` are shown; the page
            says how many more there are.
        check_cancelled: raises an exception to end it.

    Returns:
        The number of pictures that are shown.

    Raises:
        OSError: it cannot be written.
    """
    shown = left = pictures_left = 0

    def put(text: str) -> None:
        file.write(text.encode("utf-8", "backslashreplace"))

    put(_HEAD.format(title=escape(title)))
    with ThreadPoolExecutor(memory.usable_cores()) as pool:
        for section in sections:
            hits = section.hits[: min(most_each, MOST - shown)]
            if section.hits and not hits:
                left += 1
                pictures_left += len(section.hits)
                continue
            query = _image(str(section.picture), max_pixels) if section.picture else ""
            put(f"<section>\n<h2>{escape(section.title)}{query}</h2>\n")
            put("<ul>\n" if hits else "<p>Nothing reaches the threshold.</p>\n")
            for start in range(0, len(hits), _BATCH):
                check_cancelled()
                batch = hits[start : start + _BATCH]
                images = pool.map(lambda hit: _image(hit.path, max_pixels), batch)
                for hit, image in zip(batch, images, strict=True):
                    put(f"<li><figure>{image}<figcaption><b>{hit.score:.3f}</b> ")
                    put(f"{escape(hit.path)}</figcaption></figure></li>\n")
            put("</ul>\n" if hits else "")
            if more := len(section.hits) - len(hits):
                put(f"<p>Not shown: {more:,} more.</p>\n")
            put("</section>\n")
            shown += len(hits)
    if left:
        sections_left = "1 more section" if left == 1 else f"{left:,} more sections"
        put(f"<p>Not shown: {sections_left} with {pictures_left:,} pictures.</p>\n")
    return shown


def _image(path: str, max_pixels: int) -> str:
    """An element with a small copy of a picture, or with the reason why there is none."""
    try:
        with _open(path) as file:
            picture = decode(file, max_pixels, lambda *_: (_EDGE, _EDGE)).image
    except TwinlensError as error:
        return f'<div class="missing">{escape(error.message)}</div>'
    picture.thumbnail((_EDGE, _EDGE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=_QUALITY)
    text = base64.b64encode(data.getvalue()).decode()
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="data:image/jpeg;base64,{text}" alt="" {size}>'


def _open(path: str) -> BinaryIO:
    """Open a picture by the path in its row; nothing is fetched from web servers for a page."""
    if addresses.is_local(path) or addresses.is_web(path):
        return Photo(Path(path), Path(path)).open()
    return Stored(path, path, path).open()
