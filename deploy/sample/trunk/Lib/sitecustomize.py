"""What this Python does differently from the one it is built upon."""

import sys

sys.pybots_trunk = "sample"
