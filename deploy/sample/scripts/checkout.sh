# Sourced by the scripts beside it, for
#
#   checkout NAME URL REVISION DIR BRANCH...
#
# which replaces DIR by the tree of REVISION, if that commit is on one of the branches. A commit of anyone's fork can
# often be fetched by its hash from the upstream address, so a hash alone says nothing about who let it in.
#
# Any failure is 75, "errored": nothing was tested, so it is nobody's change that broke.

checkout() (
    name=$1 url=$2 revision=$3 dir=$4
    shift 4

    give_up() {
        echo "checkout of $name: $*: nothing was checked out" >&2
        exit 75
    }

    # Nothing that git could take for an option, a ref or an abbreviation. Each kind of hash has its own mirror, so
    # that a revision of the wrong kind cannot spoil the mirror for the next ones.
    case $revision in
        *[!0123456789abcdef]*) give_up "the revision is not a full commit hash in lower-case hex" ;;
    esac
    case ${#revision} in
        40) format=sha1 mirror=$PYBOTS_CACHE/$name ;;
        64) format=sha256 mirror=$PYBOTS_CACHE/$name-sha256 ;;
        *) give_up "the revision is not a full commit hash of 40 or 64 digits" ;;
    esac

    # No configuration but what stands here and in the mirror, which is made anew each time: no hook, no filter (so neither
    # LFS nor any other smudge command of a .gitattributes runs), no helper program, no question. And no object stands in
    # for another, whatever a ref says. The sample's repositories lie on this machine, so `file` is allowed.
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
    export GIT_NO_REPLACE_OBJECTS=1 GIT_DEFAULT_REF_FORMAT=files
    export GIT_ALLOW_PROTOCOL=https:ssh:file GIT_SSH_COMMAND="ssh -oBatchMode=yes"
    in_mirror() {
        git --git-dir="$mirror" -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.attributesFile=/dev/null \
            -c gc.autoDetach=false -c maintenance.autoDetach=false -c gc.packRefs=false "$@"
    }

    # Builders share the cache, and one fetch at a time may write a mirror. Without a lock each builder has its own
    # mirror; one builder's builds never overlap.
    command -v flock >/dev/null || mirror=$mirror-$PYBOTS_BUILDER
    mirror=$mirror.git
    mkdir -p "$PYBOTS_CACHE" || give_up "the cache cannot be made"
    {
        if command -v flock >/dev/null; then
            flock 9 || give_up "the mirror cannot be locked"
        fi
        # Whatever ran here before could have written to the cache. Of a mirror only objects and branches are kept, no link
        # and no lock (of a fetch that was killed; the mirror is ours now): no configuration, hook, attribute, graft.
        [ -d "$mirror" ] && [ ! -L "$mirror" ] || { rm -f "$mirror" && mkdir "$mirror"; } ||
            give_up "the mirror cannot be made"
        (cd "$mirror" && find . \( -type l -o -name '*.lock' -o \
            ! -path . ! -path ./objects ! -path './objects/[0-9a-f][0-9a-f]' ! -path './objects/[0-9a-f][0-9a-f]/*' \
            ! -path ./objects/pack ! -path './objects/pack/*' ! -path ./refs ! -path ./refs/heads \
            ! -path './refs/heads/*' \) -prune -exec rm -rf {} +) || give_up "$mirror cannot be cleaned; remove it"
        git init --quiet --bare --template= --object-format="$format" "$mirror" || give_up "the mirror cannot be made"

        # Turns each branch into its refspec. Only these are ever fetched.
        for branch; do
            shift
            set -- "$@" "+refs/heads/$branch:refs/heads/$branch"
        done
        in_mirror fetch --quiet --no-tags --no-recurse-submodules --no-write-fetch-head -- "$url" "$@" ||
            give_up "$url does not answer, or lacks one of the branches"

        # Equal to the whole hash, so that neither a tag object nor the start of a longer hash will do.
        [ "$(in_mirror rev-parse --quiet --verify "$revision^{commit}")" = "$revision" ] ||
            give_up "$revision is no commit of the listed branches"
        branch=
        for refspec; do
            if in_mirror merge-base --is-ancestor "$revision" "${refspec#*:}"; then
                branch=${refspec#*:refs/heads/}
                break
            fi
        done
        [ -n "$branch" ] || give_up "$revision is on none of the listed branches"

        # Not `git archive`, which leaves out what the tree marks export-ignore, and that is often the tests. Submodules
        # stay empty folders. No repository is left in the tree.
        rm -rf "$dir" "$dir.index" && mkdir -p "$dir" || give_up "$dir cannot be made anew"
        GIT_INDEX_FILE="$dir.index" in_mirror --work-tree="$dir" read-tree --reset -u "$revision" ||
            give_up "$dir cannot be written"
        rm -f "$dir.index"
    } 9>>"$mirror.lock" || exit 75
    echo "checked out $name at $revision, on branch $branch"
)
