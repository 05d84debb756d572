#!/bin/sh
# Checks the trunk out at the commanded revision.
set -eu
. "$PYBOTS_SCRIPT_DIR/repositories"
. "$PYBOTS_SCRIPT_DIR/checkout.sh"

# shellcheck disable=SC2086 # a list of branches
checkout python "$URL_PYTHON" "$PYBOTS_REV_PYTHON" "$PYBOTS_WORKSPACE/trunk" $BRANCHES_PYTHON
