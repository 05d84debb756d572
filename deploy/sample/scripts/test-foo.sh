#!/bin/sh
# Runs project foo's own tests with the Python that build-trunk.sh built.
set -eu
. "$PYBOTS_SCRIPT_DIR/repositories"
. "$PYBOTS_SCRIPT_DIR/checkout.sh"

python=$PYBOTS_WORKSPACE/python/bin/python
if [ ! -x "$python" ]; then
    echo "test-foo: no Python in the workspace: nothing was tested; map build-trunk.sh as the step before" >&2
    exit 75
fi

# shellcheck disable=SC2086 # a list of branches
checkout foo "$URL_FOO" "$PYBOTS_REV_FOO" "$PYBOTS_WORKSPACE/foo" $BRANCHES_FOO
cd "$PYBOTS_WORKSPACE/foo"

# 1 whatever the Python under test exits with: it may not say "errored" (75) or "skipped" (77) of itself.
"$python" -c '
import sys
print("testing with", sys.argv[1])
print("version", sys.version.replace("\n", " "))
print("trunk", getattr(sys, "pybots_trunk", "unmarked"))
' "$python" || exit 1
"$python" -m unittest -v || exit 1
