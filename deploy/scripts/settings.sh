# shellcheck shell=sh disable=SC2034
# Yours to edit: what the scripts beside this file may fetch, and how Python is built. They read it as shell, so quote
# what has spaces. What is said per project stands in projects.ini and requirements-PROJECT.txt.

# Each repository that a command may name: where this machine fetches it from, and the branches, with spaces between,
# whose commits it is willing to run. A command only names a repository and a revision; these lines answer both.
# What was fetched is kept in the cache, and believed from then on: builders that share a cache trust each other.
URL_PYTHON=https://github.com/python/cpython
BRANCHES_PYTHON=main
#URL_MARKUPSAFE=https://github.com/pallets/markupsafe
#BRANCHES_MARKUPSAFE=main

# The transports that git may use, with colons between. Add `file` for a repository on this machine.
PROTOCOLS=https:ssh

# Words for Python's configure. Another compiler or other flags: export CC=… and CFLAGS=… here. A change of any of these
# makes the next build start from nothing.
CONFIGURE_OPTIONS=

# How many compilers may run at once; empty for one per processor.
JOBS=

# The name that Python's own build gives the binary: python.exe where file names ignore case (macOS).
PYTHON_NAME=python

# With less free space than this nothing is built, and the machine is blamed, not the change. Python's source, build and
# history take about 2 GB.
MEGABYTES_NEEDED=3000
