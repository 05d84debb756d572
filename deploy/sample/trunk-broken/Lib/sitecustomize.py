"""What this Python does differently from the one it is built upon."""

import string
import sys

sys.pybots_trunk = "sample"

# gh-12345: Remove string.capwords(), which str.title() has made redundant.
del string.capwords
string.__all__.remove("capwords")
