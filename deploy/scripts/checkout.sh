#!/bin/sh
# checkout.sh NAME FOLDER makes FOLDER, in the workspace, the tree of $PYBOTS_REV_<NAME>. Not to be mapped: the scripts
# beside it call it. Nothing to change here: what may be fetched stands in settings.sh.
#
# A commit of anyone's fork can often be fetched by its hash from the upstream address, so a hash alone says nothing about
# who let it in: the commit must be on one of the owner's branches. The folder is kept from build to build and only what
# differs is written, so that make sees which files are new.
#
# Ends with 75, the machine's or the network's fault, or with 1 if the revision is not one to be run here.
set -eu
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$PYBOTS_SCRIPT_DIR/settings.sh"

blame() {
    status=$1
    shift
    echo "checkout of $name: $*: nothing was checked out" >&2
    exit "$status"
}

name=$1
case $name in *[!a-z0-9-]*) blame 75 "not a repository's name" ;; esac
upper=$(printf %s "$name" | tr abcdefghijklmnopqrstuvwxyz- ABCDEFGHIJKLMNOPQRSTUVWXYZ_)
url='' branches='' revision=''
eval "url=\${URL_$upper-} branches=\${BRANCHES_$upper-} revision=\${PYBOTS_REV_$upper-}"
if [ -z "$url" ] || [ -z "$branches" ]; then
    blame 75 "settings.sh has no URL_$upper or no BRANCHES_$upper"
fi

# Nothing that git could take for an option, a ref or an abbreviation. Each kind of hash has its own mirror, so that a
# revision of the wrong kind cannot spoil the mirror for the next ones.
case $revision in
    *[!0123456789abcdef]*) blame 1 "the revision is not a full commit hash in lower-case hex" ;;
esac
case ${#revision} in
    0) blame 75 "the command names no revision; name the repository among the builder's sources" ;;
    40) format=sha1 mirror=$PYBOTS_CACHE/$name ;;
    64) format=sha256 mirror=$PYBOTS_CACHE/$name-sha256 ;;
    *) blame 1 "the revision is not a full commit hash of 40 or 64 digits" ;;
esac

# What ran here before could have left a link in the folder's place, and what it points to would be cleaned.
dir=$(cd "$PYBOTS_WORKSPACE" && pwd -P)/$2
mkdir -p "$dir" || blame 75 "$dir cannot be made"
[ "$(cd "$dir" && pwd -P)" = "$dir" ] || blame 75 "$dir is behind a symbolic link; empty the workspace"

# No configuration but what stands here, no question, no submodule; and without any filter configured, neither LFS nor
# another command of a .gitattributes runs.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
# And no object stands in for another, whatever a ref says.
export GIT_NO_REPLACE_OBJECTS=1 GIT_DEFAULT_REF_FORMAT=files
export GIT_ALLOW_PROTOCOL="$PROTOCOLS" GIT_SSH_COMMAND="ssh -oBatchMode=yes"
in_mirror() {
    git --git-dir="$mirror" -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.attributesFile=/dev/null \
        -c gc.autoDetach=false -c maintenance.autoDetach=false -c gc.packRefs=false \
        -c http.lowSpeedLimit=1000 -c http.lowSpeedTime=60 "$@"
}

update() {
    GIT_INDEX_FILE="$dir.index" in_mirror --work-tree="$dir" read-tree --reset -u "$revision" &&
        (cd "$dir" && GIT_INDEX_FILE="$dir.index" in_mirror --work-tree="$dir" clean -ffdxq)
}

# Builders share the cache, and one fetch at a time may write a mirror. Without a lock each builder has its own mirror;
# one builder's builds never overlap.
command -v flock >/dev/null || mirror=$mirror-$PYBOTS_BUILDER
mirror=$mirror.git
mkdir -p "$PYBOTS_CACHE" || blame 75 "the cache cannot be made"
exec 9>>"$mirror.lock"
if command -v flock >/dev/null; then
    flock 9 || blame 75 "the mirror cannot be locked"
fi
# Whatever ran here before could have written to the cache. Of a mirror only objects and branches are kept, no link and no
# lock (of a fetch that was killed; the mirror is ours now): so no configuration, hook, attribute, graft, replacement, nor
# another folder that it names. The branches only tell the server what is here already (gc leaves them loose, to be kept);
# the fetch sets them right.
# The contents of the objects are believed, for git takes minutes to compare all of Python's with their names. So builders
# that share a cache trust each other.
[ -d "$mirror" ] && [ ! -L "$mirror" ] || { rm -f "$mirror" && mkdir "$mirror"; } || blame 75 "the mirror cannot be made"
(cd "$mirror" && find . \( -type l -o -name '*.lock' -o \
    ! -path . ! -path ./objects ! -path './objects/[0-9a-f][0-9a-f]' ! -path './objects/[0-9a-f][0-9a-f]/*' \
    ! -path ./objects/pack ! -path './objects/pack/*' ! -path ./refs ! -path ./refs/heads ! -path './refs/heads/*' \
    \) -prune -exec rm -rf {} +) || blame 75 "$mirror cannot be cleaned; remove it"
git init --quiet --bare --template= --object-format="$format" "$mirror" || blame 75 "the mirror cannot be made"

# Turns each branch into its refspec. Only these are ever fetched.
set --
for branch in $branches; do
    set -- "$@" "+refs/heads/$branch:refs/heads/$branch"
done
in_mirror fetch --quiet --no-tags --no-recurse-submodules --no-write-fetch-head -- "$url" "$@" ||
    blame 75 "$url does not answer, or lacks one of the branches"

# Equal to the whole hash, so that neither a tag object nor the start of a longer hash will do.
[ "$(in_mirror rev-parse --quiet --verify "$revision^{commit}")" = "$revision" ] ||
    blame 1 "$revision is on none of the branches: $branches"
found=
for branch in $branches; do
    if in_mirror merge-base --is-ancestor "$revision" "refs/heads/$branch"; then
        found=$branch
        break
    fi
done
[ -n "$found" ] || blame 1 "$revision is on none of the branches: $branches"

# Without what the index knows of an older tree, or with what cannot be cleaned, the folder is made from nothing.
rm -f "$dir.index.lock" "$dir.revision"
if ! { [ -f "$dir.index" ] && update; }; then
    rm -rf "$dir" "$dir.index" || { chmod -R u+rwX "$dir" && rm -rf "$dir" "$dir.index"; } ||
        blame 75 "$dir cannot be removed"
    { mkdir -p "$dir" && update; } || blame 75 "$dir cannot be written"
fi
echo "$revision" >"$dir.revision"
echo "checked out $name at $revision, on branch $found"
