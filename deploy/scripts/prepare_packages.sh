#!/bin/sh
# Third step: all that is fetched for the tests, so that these need no network. An environment of the new Python's own
# (venv), with what the project's tests need beside the project itself; the list is yours: requirements-PROJECT.txt
# beside this script, in pip's own format. And the project, by fetch_project.py.
#
# The environment is made anew when the binary or the list has changed, otherwise kept. pip keeps what it fetched in the
# cache. Which index pip asks, and by which proxy, is pip's own configuration: PIP_INDEX_URL, PIP_CONFIG_FILE and the
# like, listed under [environment] in slave.toml.
set -eu
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$PYBOTS_SCRIPT_DIR/settings.sh"

top=$(cd "$PYBOTS_WORKSPACE" && pwd -P)
python=$top/python/build/$PYTHON_NAME
venv=$top/venv
list=$PYBOTS_SCRIPT_DIR/requirements-$PYBOTS_PROJECT.txt

errored() {
    echo "prepare_packages: $*" >&2
    exit 75
}
[ -x "$python" ] || errored "no Python in the workspace: nothing was prepared; map build_python.sh as the step before"
command -v python3 >/dev/null || errored "no python3 on PATH: nothing was prepared; install it"
[ -f "$list" ] || errored "$list is missing: nothing was prepared; write it, empty if the tests need nothing"

made_for=$(cat "$python" "${python%/*}"/libpython*.so* "$list" 2>/dev/null | cksum)
fetch_project() {
    exec python3 "$PYBOTS_SCRIPT_DIR/fetch_project.py"
}
if [ "$(cat "$venv/made-for" 2>/dev/null)" = "$made_for" ]; then
    echo "kept $venv: neither the binary nor the list has changed"
    fetch_project
fi

rm -rf "$venv" || { chmod -R u+rwX "$venv" && rm -rf "$venv"; } ||
    errored "$venv cannot be removed: nothing was prepared"
# 1 whatever the new Python exits with: it may not say "errored" (75) or "skipped" (77) of itself.
"$python" -m venv "$venv" || exit 1
"$venv/bin/python" -m pip --version || exit 1

# A cache for each builder: wheels built with one revision's Python must not get into another's.
rm -rf "$PYBOTS_CACHE/pip-$PYBOTS_BUILDER/wheels"
said=$venv/pip.log
status=0
"$venv/bin/python" -m pip --disable-pip-version-check --no-input --cache-dir "$PYBOTS_CACHE/pip-$PYBOTS_BUILDER" \
    install --requirement "$list" >"$said" 2>&1 || status=$?
cat "$said"
# pip ends with 1 when it could not get something, and also when something could not be built; with another status when
# it crashed itself. The last two may well be the new Python's doing.
if [ "$status" = 1 ] && ! grep -q 'subprocess-exited-with-error' "$said"; then
    errored "pip could not get what $list names: nothing was tested; is the network up, and pip's index the right one?"
fi
[ "$status" = 0 ] || exit 1
echo "$made_for" >"$venv/made-for"
fetch_project
