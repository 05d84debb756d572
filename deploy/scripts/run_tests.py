#!/usr/bin/env python3
"""Last step: runs a project's own tests with the new Python. It needs no network.

prepare_packages.sh has fetched the project. What to run stands in projects.ini beside this script; there is nothing to
change here.

Exit status: 0 passed, 1 failed or not to be run, 75 the machine's fault.
"""

import os
import shlex
import subprocess
import sys

# What it shares with the script that fetches.
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["PYBOTS_SCRIPT_DIR"])
try:
    from fetch_project import FETCHED, Errored, Refused, answer_of, run, say, settings
except ImportError as error:
    print(f"run_tests: {error}: nothing was tested", file=sys.stderr)
    sys.exit(75)


def main():
    workspace = os.path.realpath(os.environ["PYBOTS_WORKSPACE"])
    python = os.path.join(workspace, "venv", "bin", "python")
    introduce(python, os.path.join(workspace, "python", "build"))
    project = settings(os.environ["PYBOTS_PROJECT"])
    tree = fetched(workspace)

    environment = dict(os.environ, VIRTUAL_ENV=os.path.join(workspace, "venv"))
    environment["PATH"] = os.path.dirname(python) + os.pathsep + os.environ.get("PATH", os.defpath)
    # pip would take a wheel of the project that it built with an older revision's Python.
    environment["PIP_NO_CACHE_DIR"] = "1"
    places = {"{python}": python, "{reports}": os.environ["PYBOTS_REPORTS"]}
    project_ran = False
    for line in filter(None, map(str.strip, project.get("run", "").splitlines())):
        words = shlex.split(line)
        for place, path in places.items():
            words = [word.replace(place, path) for word in words]
        say("running", shlex.join(words))
        try:
            status = subprocess.run(words, cwd=tree, env=environment).returncode
        except OSError as error:
            why = f"{words[0]} cannot be run ({error.strerror})"
            # The project may lack its own program, or have removed what the next line needs.
            if project_ran or ("/" in words[0] and not os.path.isabs(words[0])):
                raise Refused(why)
            raise Errored(f"{why}: mend the line in projects.ini")
        project_ran = True
        # 1 whatever the project's programs exit with: they may not say "errored" (75) or "skipped" (77) of themselves.
        if status != 0:
            raise Refused(f"exit status {status}")


def fetched(workspace):
    """The folder in which the step before has put the project."""
    try:
        with open(os.path.join(workspace, FETCHED), encoding="utf-8") as file:
            tree = os.path.realpath(os.path.join(workspace, file.read()))
    except (OSError, ValueError) as error:
        raise Errored(f"no project was fetched ({error}): nothing was tested; map prepare_packages.sh before this step")
    if not tree.startswith(workspace + os.sep):
        raise Refused("the project is not in the workspace: nothing was tested")
    if not os.path.isdir(tree):
        raise Errored(f"{tree} is not there any more: nothing was tested")
    say("testing", os.path.relpath(tree, workspace))
    return tree


def introduce(python, build):
    """Lets the interpreter say who it is, first thing, so that the log proves what was tested."""
    for name in ("PYTHONHOME", "PYTHONEXECUTABLE"):
        if name in os.environ:
            raise Errored(f"{name} is set, which misleads the new Python: nothing was tested; see slave.toml")
    if not os.path.realpath(python).startswith(build + os.sep):
        why = f"{python} is not made by {build}: nothing was tested"
        # Where prepare_packages.sh came to its end, the new Python itself made it so.
        if os.path.exists(os.path.join(os.path.dirname(python), "..", "made-for")):
            raise Refused(why)
        raise Errored(f"{why}; map the steps before this one")
    ask = "import os, sys; print(sys.executable, os.path.realpath(sys.executable), sys.version, sep='\\n')"
    status, said = answer_of([python, "-c", ask])
    said = said.split("\n", 2)
    if status != 0 or len(said) != 3:
        raise Refused(f"the new Python does not start (exit status {status})")
    executable, real, version = said
    say("testing with", executable)
    say("which is", real)
    say("version", " ".join(version.split()))
    if executable != python or not real.startswith(build + os.sep):
        raise Refused("the new Python takes itself for another than the one in the workspace: nothing was tested")


if __name__ == "__main__":
    run("run_tests", main)
