#!/bin/sh
# Second step: builds the trunk that update_python.sh checked out. The later steps find the new binary in the workspace at
# python/build, and nothing is installed anywhere. Options and compiler stand in settings.sh.
#
# A kept build is built upon: make compiles what changed. It starts from nothing when configure or its options changed,
# and once more when building upon it failed, so that what older revisions left never counts against a change.
set -eu
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$PYBOTS_SCRIPT_DIR/settings.sh"

# Where a symbolic link led the compiler, Python would not know its own build again.
top=$(cd "$PYBOTS_WORKSPACE" && pwd -P)/python
source=$top/source
build=$top/build
python=$build/$PYTHON_NAME

errored() {
    echo "build_python: $*: nothing was built" >&2
    exit 75
}
[ -f "$source.revision" ] || errored "no trunk in the workspace; map update_python.sh as the step before"
for tool in make "${CC:-cc}"; do
    command -v "${tool%% *}" >/dev/null || errored "no ${tool%% *} on PATH; install a compiler and make"
done
free=$(df -Pk "$top" | awk 'END { print int($4 / 1024) }')
[ "$free" -ge "$MEGABYTES_NEEDED" ] || errored "only $free MB free, settings.sh wants $MEGABYTES_NEEDED"

configured_for=$({
    echo "$source $CONFIGURE_OPTIONS ${CC-} ${CFLAGS-} ${CPPFLAGS-} ${LDFLAGS-}"
    ${CC:-cc} --version
    cat "$source/configure" "$source/configure.ac" "$source"/Makefile*.in
} 2>&1 | cksum)

remove_build() {
    rm -rf "$build" || { chmod -R u+rwX "$build" && rm -rf "$build"; }
}

build() {
    if [ "$(cat "$build/configured-for" 2>/dev/null)" != "$configured_for" ]; then
        echo "build_python: configuring, and building from nothing"
        { remove_build && mkdir "$build"; } || errored "$build cannot be made anew"
        # shellcheck disable=SC2086 # a list of words
        (cd "$build" && "$source/configure" $CONFIGURE_OPTIONS) || return 1
        echo "$configured_for" >"$build/configured-for"
    fi
    make -C "$build" -j "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" || return 1
    "$python" -c '
import sys
print("built", " ".join(sys.version.split()))
print("as", sys.executable)
'
}

kept=
[ ! -f "$build/configured-for" ] || kept=yes
# 1 whatever the trunk's own programs exit with: they may not say "errored" (75) or "skipped" (77) of themselves.
if ! build; then
    [ -n "$kept" ] || exit 1
    echo "build_python: building upon the kept build failed; once more from nothing"
    rm -f "$build/configured-for"
    build || exit 1
fi
echo "from revision $(cat "$source.revision")"
