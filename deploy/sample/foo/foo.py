"""Headings for people."""

import string


def heading(text):
    """Each word with a capital, one space between words."""
    return string.capwords(text)


def underlined(text):
    """A heading over a line of its own length."""
    line = heading(text)
    return line + "\n" + "=" * len(line)


def initials(text):
    """The first letter of each word."""
    return "".join(word[0].upper() for word in text.split())
