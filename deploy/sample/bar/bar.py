"""Names for files."""

import re


def slug(text):
    """Lower case, words joined by one hyphen."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def numbered(names):
    """Each name with its place in front, all places equally wide."""
    width = len(str(len(names)))
    return [f"{place:0{width}}-{slug(name)}" for place, name in enumerate(names, start=1)]
