import unittest

import bar


class SlugTest(unittest.TestCase):
    def test_words_are_joined(self):
        self.assertEqual(bar.slug("The Life of Brian"), "the-life-of-brian")

    def test_punctuation_is_dropped(self):
        self.assertEqual(bar.slug("  News: again! "), "news-again")


class NumberedTest(unittest.TestCase):
    def test_places_start_at_one(self):
        self.assertEqual(bar.numbered(["A", "B"]), ["1-a", "2-b"])

    def test_places_are_equally_wide(self):
        self.assertEqual(bar.numbered(["X"] * 10)[0], "01-x")


if __name__ == "__main__":
    unittest.main()
