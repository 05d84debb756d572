#!/bin/sh
# Builds a Python from the trunk that update-trunk.sh checked out.
set -eu

if [ ! -d "$PYBOTS_WORKSPACE/trunk" ]; then
    echo "build-trunk: no trunk in the workspace: nothing was built; map update-trunk.sh as the step before" >&2
    exit 75
fi
rm -rf "$PYBOTS_WORKSPACE/python"

# 1 whatever the trunk's own script exits with: it may not say "errored" (75) or "skipped" (77) of itself.
sh "$PYBOTS_WORKSPACE/trunk/build.sh" "$PYBOTS_WORKSPACE/python" || exit 1
