#!/usr/bin/env python3
"""Fetches the project that is to be tested. Not to be mapped: prepare_packages.sh calls it, for it needs the network.

The project comes as a released archive, if the command gives the parameter `version`, otherwise from its repository.
Which one stands in projects.ini beside this script; there is nothing to change here. run_tests.py, which needs no
network, finds in the workspace where it is.

The archive is fetched by the package's name through the index's page of links (the simple repository API, which every
package index has) and compared with the hash there. Not by `pip download`: that runs the archive's setup code only to
read its metadata, and unpacks it whatever its size. Here nothing of the project runs.

Exit status: 0 fetched, 1 not to be run, 75 the machine's or the network's fault.
"""

import configparser
import errno
import gzip
import hashlib
import html.parser
import http.client
import os
import re
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
# In the workspace, says in which folder of it the project is.
FETCHED = "project.fetched"


class Errored(Exception):
    """The machine's or the network's fault."""


class Refused(Exception):
    """Something that is not to be run here, or that cannot be."""


def main():
    workspace = os.path.realpath(os.environ["PYBOTS_WORKSPACE"])
    # Whatever an earlier build tested is not tested again in this one's name.
    note = os.path.join(workspace, FETCHED)
    remove(note)
    project = settings(os.environ["PYBOTS_PROJECT"])
    version = os.environ.get("PYBOTS_P_VERSION")
    if version is not None:
        tree = released(project, version, os.path.join(workspace, "venv", "bin", "python"), workspace)
    else:
        tree = checked_out(project, workspace)
    with open(note, "x", encoding="utf-8") as file:
        file.write(os.path.relpath(tree, workspace))


def say(*words):
    print(*words, flush=True)


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
    say("fetched the released", name, fragment)
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


def run(name, main):
    """Runs a script's `main`, and lets its exit status say whose fault it is."""
    try:
        main()
    except Errored as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(75)
    except OSError as error:
        print(f"{name}: {error}: nothing more was done", file=sys.stderr)
        sys.exit(75)
    except Refused as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run("fetch_project", main)
