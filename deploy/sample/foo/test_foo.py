import unittest

import foo


class HeadingTest(unittest.TestCase):
    def test_each_word_gets_a_capital(self):
        self.assertEqual(foo.heading("the life of brian"), "The Life Of Brian")

    def test_an_apostrophe_starts_no_word(self):
        self.assertEqual(foo.heading("what's  new"), "What's New")

    def test_the_line_is_as_long_as_the_heading(self):
        self.assertEqual(foo.underlined("news"), "News\n====")


class InitialsTest(unittest.TestCase):
    def test_first_letters(self):
        self.assertEqual(foo.initials("what is new"), "WIN")


if __name__ == "__main__":
    unittest.main()
