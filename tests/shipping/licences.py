# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads which licences installed packages state, each under its SPDX name."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata

# What packages write instead of an SPDX name, as far as it says which licence that is.
SPDX = {
    "MIT License": "MIT",
    "BSD": "BSD",
    "BSD License": "BSD",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


def stated(name: str) -> str | None:
    """Return the licence of a package, "unknown: ..." with what it says, or None if not installed.

    The newer field comes first; of the older ones "License" may hold a whole text, and then the
    classifier counts.
    """
    try:
        fields = metadata(name)
    except PackageNotFoundError:
        return None
    if "License-Expression" in fields:
        return fields["License-Expression"]
    texts: list[str] = [
        *(text.removeprefix("OSI Approved :: ") for text in fields.get_all("License", [])),
        *(
            str(line).split(" :: ")[-1]
            for line in fields.get_all("Classifier", [])
            if "License" in line
        ),
    ]
    for text in texts:
        if text in SPDX:
            return SPDX[text]
        if re.fullmatch(r"[A-Za-z0-9.-]+-[0-9.]+[\w-]*( (AND|OR) [A-Za-z0-9.-]+)*|MIT", text):
            return text
    return f"unknown: {texts}"
