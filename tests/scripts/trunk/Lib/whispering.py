"""A part that it does not use."""


def whisper(text):
    return text.lower()
