#!/usr/bin/env python3
"""Last step: runs a project's own tests with the new Python.

The project comes as a released archive, if the command gives the parameter `version`, otherwise from its repository.
What to run stands in projects.ini beside this script; there is nothing to change here.

The archive is fetched by the package's name through the index's page of links (the simple repository API, which every
package index has) and compared with the hash there. Not by `pip download`: that runs the archive's setup code only to
read its metadata, and unpacks it whatever its size. Here nothing of the project runs before its tests do.

Exit status: 0 passed, 1 failed or not to be run, 75 the machine's or the network's fault.
"""

import configparser
import errno
import gzip
import hashlib
import html.parser
import http.client
import os
import re
import shlex
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zlib

# The most that a page of links, an archive, and what is in it may take.
MAX_PAGE = 32 << 20
MAX_ARCHIVE = 128 << 20
MAX_UNPACKED = 512 << 20
MAX_MEMBERS = 50_000
MAX_DEPTH = 100
NETWORK_SECONDS = 60

# An OSError with any other number may be the doing of what is tested.
OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE}

VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?", re.ASCII)


class Errored(Exception):
    """The machine's or the network's fault."""


class Refused(Exception):
    """Something that is not to be run here, or that cannot be."""


def main():
    workspace = os.path.realpath(os.environ["PYBOTS_WORKSPACE"])
    python = os.path.join(workspace, "venv", "bin", "python")
    introduce(python, os.path.join(workspace, "python", "build"))
    project = settings(os.environ["PYBOTS_PROJECT"])
    version = os.environ.get("PYBOTS_P_VERSION")
    if version is not None:
        tree = released(project, version, python, workspace)
    else:
        tree = checked_out(project, workspace)

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


def say(*words):
    print(*words, flush=True)


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


def answer_of(words, **variables):
    """The exit status of the new Python, and what it printed. That it does not even start is its own fault."""
    environment = dict(os.environ, **variables)
    try:
        asked = subprocess.run(words, env=environment, stdout=subprocess.PIPE, encoding="utf-8", errors="replace")
    except OSError as error:
        if error.errno in OF_THE_MACHINE:
            raise
        raise Refused(f"the new Python does not start ({error.strerror})")
    return asked.returncode, asked.stdout


def settings(name):
    file = os.path.join(os.environ["PYBOTS_SCRIPT_DIR"], "projects.ini")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file, encoding="utf-8")
        project = parser[name]
    except (configparser.Error, KeyError) as error:
        raise Errored(f"{file} has no section [{name}] ({error}): nothing was tested")
    if not project.get("run", "").strip():
        raise Errored(f"{file}: [{name}] says nothing to run: nothing was tested")
    return project


def checked_out(project, workspace):
    if "repository" not in project:
        raise Errored("the command gives no version and projects.ini no repository: nothing was tested")
    script = os.path.join(os.environ["PYBOTS_SCRIPT_DIR"], "checkout.sh")
    status = subprocess.run(["sh", script, project["repository"], "project"]).returncode
    if status != 0:
        sys.exit(status if status == 75 else 1)
    return os.path.join(workspace, "project")


def released(project, version, python, workspace):
    """The unpacked archive of that version."""
    if len(version) > 40 or not VERSION.fullmatch(version):
        raise Refused(f"{version[:60]!r} is not a version")
    if "package" not in project:
        raise Errored("projects.ini names no package: nothing was tested")
    package = normal(project["package"])
    page_url = f"{(project.get('index') or index_of_pip(python)).rstrip('/')}/{package}/"
    for link in links_of(fetch(page_url, MAX_PAGE).decode("utf-8", "replace"), page_url):
        url, fragment = urllib.parse.urldefrag(link)
        name = urllib.parse.unquote(url).rsplit("/", 1)[-1]
        stem, dash, found = name[: -len(".tar.gz")].rpartition("-")
        if name.endswith(".tar.gz") and dash and normal(stem) == package and found == version:
            break
    else:
        raise Errored(f"{page_url} has no .tar.gz of version {version}: nothing was tested")
    if not re.fullmatch("sha256=[0-9a-f]{64}", fragment):
        raise Errored(f"{page_url} gives no sha256 of {name}: nothing was tested")
    archive = kept_or_fetched(url, fragment[len("sha256=") :])
    say("testing the released", name, fragment)
    tree = os.path.join(workspace, "released")
    remove(tree)
    return unpack(archive, tree)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


class Links(html.parser.HTMLParser):
    """The targets of a page's links."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def links_of(page, page_url):
    """Yields the whole address of each link that has one."""
    links = Links()
    try:
        links.feed(page)
    except (ValueError, AssertionError) as error:
        raise Errored(f"{page_url} cannot be read ({error}): nothing was tested")
    for link in links.found:
        try:
            yield urllib.parse.urljoin(page_url, link)
        except ValueError:
            say("left out, not an address:", repr(link))


def index_of_pip(python):
    """The index that pip would ask. Its own configuration says so; `pip download --help` prints what came of that."""
    status, said = answer_of([python, "-m", "pip", "download", "--help"], COLUMNS="1000")
    found = re.search(r"--index-url <url>[^\n]*\(default (\S+)\)", said)
    # Whatever index is configured, a pip that works says so: the new Python broke it.
    if status != 0 or not found:
        raise Refused(f"the new Python's pip does not say which index it uses (exit status {status})")
    return found[1]


def fetch(url, most):
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise Errored(f"the index's address cannot be read ({error}): nothing was fetched")
    if "@" in parts.netloc:
        raise Errored("the index's address holds a login, which would stand in the log: nothing was fetched")
    if parts.scheme not in ("https", "http"):
        raise Errored(f"{url} is neither https nor http: nothing was fetched")
    try:
        trust = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
        with urllib.request.urlopen(url, timeout=NETWORK_SECONDS, context=trust) as answer:
            content = answer.read(most + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Errored(f"{url} cannot be had ({error}): nothing was tested")
    if len(content) > most:
        raise Refused(f"{url} has more than {most} bytes")
    return content


def kept_or_fetched(url, digest):
    """The archive with that hash. Kept in the cache, so that an index is asked for it once."""
    folder = os.path.join(os.environ["PYBOTS_CACHE"], "archives")
    path = os.path.join(folder, digest)
    try:
        with open(path, "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() == digest:
                return path
    except OSError:
        pass
    content = fetch(url, MAX_ARCHIVE)
    if hashlib.sha256(content).hexdigest() != digest:
        raise Refused(f"{url} does not have the sha256 that the index gives")
    os.makedirs(folder, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=folder)
    with open(handle, "wb") as file:
        file.write(content)
    os.replace(draft, path)
    return path


def remove(tree):
    # Foreign code may have left folders that cannot be entered, or so deep that walking them here would fail.
    subprocess.run(["rm", "-rf", "--", tree], stderr=subprocess.DEVNULL)
    if os.path.lexists(tree):
        subprocess.run(["chmod", "-R", "u+rwX", "--", tree])
        subprocess.run(["rm", "-rf", "--", tree])


def unpack(archive, tree):
    """Writes regular files and folders only, and only below `tree`. Anything that is not plainly fine is refused."""
    os.mkdir(tree)
    # Decompressed first, up to the limit: no header of the tar file can then ask for more than that.
    with open(archive, "rb") as kept, tempfile.TemporaryFile(dir=os.path.dirname(tree)) as plain:
        try:
            with gzip.open(kept) as packed:
                copy(packed, plain, MAX_UNPACKED)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:") as tar:
                left = MAX_UNPACKED
                for number, member in enumerate(tar):
                    if number == MAX_MEMBERS:
                        raise Refused(f"the archive has more than {MAX_MEMBERS} members")
                    left -= write(tar, member, tree, left)
        except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, RecursionError) as error:
            raise Refused(f"the archive cannot be read ({error})")
        except OSError as error:
            if error.errno in OF_THE_MACHINE:
                raise
            raise Refused(f"the archive cannot be unpacked ({error})")
    tops = os.listdir(tree)
    if len(tops) != 1 or not os.path.isdir(os.path.join(tree, tops[0])):
        raise Refused("the archive does not hold one folder with everything in it")
    return os.path.join(tree, tops[0])


def write(tar, member, tree, left):
    """Writes one member; returns how many bytes it took."""
    parts = member.name.rstrip("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise Refused(f"the archive has a member named {member.name!r}")
    if len(parts) > MAX_DEPTH:
        raise Refused(f"the archive has a member more than {MAX_DEPTH} folders deep")
    path = os.path.join(tree, *parts)
    if member.isdir():
        os.makedirs(path, exist_ok=True)
        return 0
    if not member.isfile():
        say("left out, neither file nor folder:", repr(member.name))
        return 0
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tar.extractfile(member) as source, open(path, "wb") as target:
        written = copy(source, target, left)
    os.chmod(path, 0o755 if member.mode & 0o100 else 0o644)
    return written


def copy(source, target, most):
    written = 0
    while block := source.read(1 << 16):
        written += len(block)
        if written > most:
            raise Refused(f"the archive holds more than {MAX_UNPACKED} bytes")
        target.write(block)
    return written


if __name__ == "__main__":
    try:
        main()
    except Errored as error:
        print(f"run_tests: {error}", file=sys.stderr)
        sys.exit(75)
    except OSError as error:
        print(f"run_tests: {error}: nothing more was tested", file=sys.stderr)
        sys.exit(75)
    except Refused as error:
        print(f"run_tests: {error}", file=sys.stderr)
        sys.exit(1)
