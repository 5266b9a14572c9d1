# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Names that a NAS or an operating system keeps beside photos: thumbnails, trash, snapshots."""

from __future__ import annotations

import re

# Whole names, compared without regard to case, as shares often change it.
_NAMES = frozenset(
    name.casefold()
    for name in (
        # Synology
        "@eaDir",
        "#recycle",
        "#snapshot",
        "@sharesnap",
        "@tmp",
        "@SynoResource",
        # QNAP
        ".@__thumb",
        "@__thumb",
        "@Recycle",
        "@Recently-Snapshot",
        "@Transcode",
        # Windows
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "$RECYCLE.BIN",
        "RECYCLER",
        "System Volume Information",
        # macOS, also on shares of other systems
        ".DS_Store",
        "__MACOSX",
        ".AppleDouble",
        ".AppleDB",
        ".AppleDesktop",
        ".Spotlight-V100",
        ".fseventsd",
        ".TemporaryItems",
        "Network Trash Folder",
        "Temporary Items",
        # Linux and file servers
        "lost+found",
        ".recycle",
        ".thumbnails",
        ".snapshot",
        ".snapshots",
        "~snapshot",
        ".zfs",
        ".stfolder",
        ".stversions",
    )
)
_PATTERNS = re.compile(
    r"\._.*"  # macOS: what a foreign file system cannot keep of the file of the same name
    r"|\.Trash.*"
    r"|found\.\d{3}"  # Windows, after a check of the disk
    r"|.*@Syno(EAStream|Resource)",
    re.IGNORECASE | re.DOTALL,
)


def is_kept_by_system(name: str) -> bool:
    """Whether a file or folder of this name holds no photos of the user's own."""
    return name.casefold() in _NAMES or _PATTERNS.fullmatch(name) is not None
