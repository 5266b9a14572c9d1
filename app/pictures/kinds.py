# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Recognises supported formats by their first bytes, and names other types of files."""

from __future__ import annotations

import re

#: The supported formats. Pillow has many more, but each parser adds attack surface.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "HEIF")
#: Number of bytes at the start of a file that suffice to recognise its type.
HEAD = 512

# We have our own signatures, because Pillow recognises a format only by running its parser.
_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("BMP", re.compile(rb"BM")),
    # Like Pillow, this accepts the number 42 in the wrong byte order.
    ("TIFF", re.compile(rb"II[*+]\0|II\0[*]|MM\0[*+]|MM[*]\0")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("AVIF", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("HEIF", re.compile(rb"....ftyp", re.DOTALL)),
)

_CONVERT = "convert it to JPEG or PNG first"
_EXPORT = "export the photo as JPEG from the camera or a RAW converter first"
_FRAME = "send a picture, for example one frame of it"
_UNPACK = "unpack it and send the picture that is in it"
_BYTES = "decode it and send the bytes themselves"
_ADDRESS = "the address shows a page around the picture; use the address of the picture itself"
_OTHERS = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), name, advice)
    for pattern, name, advice in (
        (rb"%PDF-", "a PDF document", "save the page as JPEG or PNG first"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file", _CONVERT),
        (rb"(\xef\xbb\xbf)?\s*(<\?xml.*)?(<!--.*)?(<!DOCTYPE svg.*)?<svg", "an SVG drawing",
         "save it as PNG first"),
        (rb"(\xef\xbb\xbf)?\s*(<!--.*-->\s*)?<(!doctype html|html|head|body|script|title)",
         "an HTML page", _ADDRESS),
        (rb"....ftypcrx ", "a RAW photo (CR3)", _EXPORT),
        (rb"FUJIFILMCCD-RAW", "a RAW photo (RAF)", _EXPORT),
        (rb"IIR[OS]|MMOR", "a RAW photo (ORF)", _EXPORT),
        (rb"IIU\0", "a RAW photo (RW2)", _EXPORT),
        (rb"FOVb|\0MRM|II\x1a\0\0\0HEAPCCDR", "a RAW photo", _EXPORT),
        (rb"....ftyp(isom|iso\d|mp4|m4v|m4a|qt  |3g|avc1|dash|mmp4|M4VP|MSNV|XAVC|f4v)",
         "an MP4 or QuickTime video", _FRAME),
        (rb"....(moov|mdat|wide|free|skip|pnot)", "a QuickTime video", _FRAME),
        (rb"\x1aE\xdf\xa3", "a Matroska or WebM video", _FRAME),
        (rb"RIFF....AVI ", "an AVI video", _FRAME),
        (rb"\x00\x00\x01[\xb3\xba]|G.{187}G", "an MPEG video", _FRAME),
        (rb"ID3|OggS|fLaC|RIFF....WAVE", "a sound file", "send a picture"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
        (rb"\0\0\0\x0cjP  |\xffO\xffQ", "a JPEG 2000 picture", _CONVERT),
        (rb"II\xbc", "a JPEG XR picture", _CONVERT),
        (rb"8BPS", "a Photoshop file (PSD)", _CONVERT),
        (rb"gimp xcf", "a GIMP file (XCF)", _CONVERT),
        (rb"\0\0[\x01\x02]\0[^\0]\0", "an icon (ICO)", _CONVERT),
        (rb".\0[\x02\x03\x0a\x0b]\0{5}.{8}[\x08\x10\x18\x20]", "a Targa picture (TGA)", _CONVERT),
        (rb"icns", "an icon (ICNS)", _CONVERT),
        (rb"v/1\x01", "an OpenEXR picture", _CONVERT),
        (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR picture", _CONVERT),
        (rb"DDS ", "a DDS texture", _CONVERT),
        (rb"qoif", "a QOI picture", _CONVERT),
        (rb"P[1-7fF]\s", "a Netpbm picture (PPM)", _CONVERT),
        (rb"SIMPLE  =", "a FITS picture", _CONVERT),
        (rb".{128}DICM", "a DICOM picture", _CONVERT),
        (rb"\x8a(MNG|JNG)\r\n|\x8bJNG\r\n", "an MNG or JNG picture", _CONVERT),
        (rb"\x1f\x8b", "packed with gzip", _UNPACK),
        (rb"PK\x03\x04", "a ZIP archive or an office document", _UNPACK),
        (rb"7z\xbc\xaf\x27\x1c|Rar!|\xfd7zXZ|BZh\d|\x28\xb5\x2f\xfd", "an archive", _UNPACK),
        (rb"\0\x05\x16[\0\x07]", "what macOS keeps beside a file (its name begins with \"._\")",
         "send the picture of the same name"),
        (rb"data:image/|/9j/|iVBORw0KGgo|UklGR|R0lGOD", "a picture as base64 text", _BYTES),
        (rb"\s*[{\[]\s*[\"{}\]]", "JSON text", "send the bytes of a picture"),
        (rb"\0{16}", "filled with zeros in place of a picture", "copy it anew"),
    )
)  # fmt: skip


def known(head: bytes) -> str | None:
    """The format in ``FORMATS`` whose signature a file begins with; None if there is none."""
    return next((name for name, signature in _SIGNATURES if signature.match(head)), None)


def explanation(head: bytes) -> str:
    """The error message for an unsupported file: what the file is, and what to do."""
    if not head:
        return "The file is empty"
    for signature, name, advice in _OTHERS:
        if signature.match(head):
            return f"The file is {name}: {advice}"
    kind = known(head)
    if kind == "HEIF":
        return "The file is a video, or a HEIF picture whose structure is damaged"
    if kind:
        return f"The {kind} is damaged: its header cannot be read"
    return "The file is not an image that can be read"


# Brands of still pictures in the MP4 container (ISO/IEC 23008-12); videos have other brands.
_PICTURE_BRANDS = frozenset(
    b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 miaf avif avis".split()
)


def may_be_picture(head: bytes) -> bool:
    """Whether a file may be in a supported format; fast enough to search whole folders.

    Args:
        head: the first ``HEAD`` bytes of the file, or all of a shorter file.
    """
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), len(head))
        # The major brand is at 8, a version at 12, the compatible brands follow from 16.
        return any(head[at : at + 4] in _PICTURE_BRANDS for at in (8, *range(16, end - 3, 4)))
    return known(head) is not None
