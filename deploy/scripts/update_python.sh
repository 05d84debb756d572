#!/bin/sh
# First step: brings Python's trunk, in the workspace, to the commanded revision.
# Nothing to change here: the address and the branches stand in settings.sh, the care in checkout.sh.
set -eu
exec sh "$PYBOTS_SCRIPT_DIR/checkout.sh" python python/source
