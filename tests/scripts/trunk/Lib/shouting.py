"""The part of this trunk's library that project Foo uses."""


def shout(text):
    return text.upper() + "!"
