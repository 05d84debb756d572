#!/bin/sh
# build.sh PREFIX: makes PREFIX/bin/python from this tree.
#
# The tree of a real trunk takes ten minutes to build. This one takes a moment, because it changes an interpreter that
# is there already: whatever stands in Lib comes before the standard library.
set -eu

prefix=$1
source=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
case $prefix in
    *:*) echo "build.sh: $prefix: a colon would end the launcher's PYTHONPATH there; nothing was built" >&2; exit 1 ;;
    /*) ;;
    *) prefix=$PWD/$prefix ;;
esac

mkdir -p "$prefix/bin"
cp -R "$source/Lib" "$prefix/"

# sys.executable, because the python3 on PATH may be a wrapper that chooses by folder.
python3 -I - "$source/python.in" "$prefix" <<'END'
import compileall, os, shlex, sys

template, prefix = sys.argv[1:]
lib = os.path.join(prefix, "Lib")
if not compileall.compile_dir(lib, quiet=1):
    sys.exit("build.sh: Lib does not compile; nothing was built")
with open(template) as file:
    text = file.read().replace("@LIB@", shlex.quote(lib)).replace("@REAL@", shlex.quote(sys.executable))
with open(os.path.join(prefix, "bin", "python"), "w") as file:
    file.write(text)
END
chmod 755 "$prefix/bin/python"
echo "built $prefix/bin/python"
