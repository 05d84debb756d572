#!/usr/bin/env python3
"""Reads the golden files without any code of pybots: what a verifier in another language has to do, on a few pages.

It begins with the farm's id, checks the keyring against it, learns the signing keys from the keyring and the report keys
from the roster, and opens every file of manifest.json with these. A good file must open and be what the manifest says; a
bad one must be refused with the code that the manifest names. Needs cbor2 and cryptography (requirements.txt).
"""

import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FOLDER = Path(__file__).resolve().parent


class Refused(Exception):
    """Why something is not believed."""

    def __init__(self, code, reason):
        super().__init__(f"{code}, {reason}")
        self.code = code


def sha256(data):
    return hashlib.sha256(data).digest()


def decode(data, code):
    """The one item in `data`, which must be in deterministic encoding (RFC 8949, section 4.2.1)."""
    try:
        item = cbor2.loads(data)
        again = cbor2.dumps(item, canonical=True)
    except cbor2.CBORError as error:
        raise Refused(code, f"not CBOR: {error}") from error
    if again != data:
        raise Refused(code, "not in deterministic encoding")
    return item


# What may stand in a payload. A grammar is a function that refuses what does not fit.


def expect(condition, reason):
    if not condition:
        raise Refused("E-PAYLOAD", reason)


def unsigned(bits):
    def check(value):
        expect(type(value) is int and 0 <= value < 1 << bits, f"not a number of {bits} bits")

    return check


def signed(value):
    expect(type(value) is int and -(2**63) <= value < 2**63, "is no signed number of 64 bits")


def boolean(value):
    expect(type(value) is bool, "not true or false")


def byte_string(length=None):
    def check(value):
        expect(type(value) is bytes and length in (None, len(value)), f"not a byte string of {length}")

    return check


def matching(pattern):
    def check(value):
        expect(type(value) is str and re.fullmatch(pattern, value, re.ASCII), f"{value!r} is not {pattern}")

    return check


def text(value):
    expect(type(value) is str and len(value.encode()) <= 512, "not a text of at most 512 bytes")
    for character in value:
        direction = character in "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        expect(unicodedata.category(character) != "Cc" and not direction, f"{character!r} in a text")


def branch(value):
    matching("[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")(value)
    trick = re.search(r"\.\.|//|/\.|\.lock(/|$)|[/.]$", value)
    expect(not trick, f"{value!r} is not a branch")


def each(item):
    def check(value):
        expect(type(value) is list, "not an array")
        for one in value:
            item(one)

    return check


def table(key, item):
    def check(value):
        expect(type(value) is dict, "not a map")
        for name, one in value.items():
            key(name)
            item(one)

    return check


def optional(grammar):
    return ("optional", grammar)


def record(*fields):
    """A map from field numbers, counted from 0."""
    grammars = {n: field[1] if type(field) is tuple else field for n, field in enumerate(fields)}
    required = {n for n, field in enumerate(fields) if type(field) is not tuple}

    def check(value):
        expect(type(value) is dict, "not a map")
        for number in value:
            expect(type(number) is int and number in grammars, f"field {number!r} is unknown")
        expect(required <= set(value), f"fields {required - set(value)} are missing")
        for number, one in value.items():
            grammars[number](one)

    return check


EXT = 99


def ext(value):
    """What later versions may add to a message: any map, as long as it is plain."""
    expect(type(value) is dict and value, "an ext is a map with something in it")
    plain(value, 8)


def plain(value, depth):
    if type(value) in (dict, list):
        expect(depth > 0, "an ext nests too deep")
        if type(value) is dict:
            for key in value:
                unsigned(64)(key)
        for one in value.values() if type(value) is dict else value:
            plain(one, depth - 1)
    elif type(value) is int:
        expect(-1 << 64 <= value < 1 << 64, "a big number in an ext")
    else:
        expect(value is None or type(value) in (bool, bytes, str), f"{value!r} in an ext")


def message(*fields):
    """A record at the top of a payload, which may have an ext."""
    own = record(*fields)

    def check(value):
        expect(type(value) is dict, "not a map")
        if EXT in value:
            ext(value[EXT])
        own({number: one for number, one in value.items() if number != EXT})

    return check


def choice(*variants):
    """`[variant, record]`."""

    def check(value):
        expect(type(value) is list and len(value) == 2, "not a variant and its fields")
        expect(type(value[0]) is int and 0 <= value[0] < len(variants), f"variant {value[0]!r} is unknown")
        variants[value[0]](value[1])

    return check


def one_of(count):
    def check(value):
        expect(type(value) is int and 0 <= value < count, f"{value!r} is none of {count}")

    return check


def position(value):
    expect(type(value) is list and len(value) == 2, "not a generation and a serial")
    for number in value:
        unsigned(32)(number)


u8, u16, u32, u64 = map(unsigned, (8, 16, 32, 64))
hashed, instance = byte_string(32), byte_string(16)
name = matching("[a-z0-9][a-z0-9-]{0,47}")
command_id = matching("[a-z0-9][a-z0-9._-]{0,63}")
parameter = matching("[a-z0-9][a-z0-9-]{0,31}")
revision = matching("[0-9a-f]{40}|[0-9a-f]{64}")
version = matching("[0-9A-Za-z][0-9A-Za-z.!+_-]{0,63}")

window = record(hashed, u64, u64)
revoked = record(window, one_of(2), u64)
line = record(name, hashed, hashed, text, text, each(name), one_of(4), u64, optional(u64))
commit = record(revision, text, text, u64)
source = record(name, branch, revision)
step = record(command_id, table(parameter, text), u64, boolean, boolean, boolean, optional(hashed))
experiment = record(hashed, one_of(3), each(source))
build = message(
    *(hashed, name, hashed, name, u64, u64, u64, u64, position, name, each(source), each(hashed), each(step), text),
    *(optional(text), optional(hashed), optional(u64), u32, optional(experiment)),
)
cancel = message(hashed, name, name, hashed, u64, text, optional(text), optional(hashed))
verdict = one_of(9)
failed_test = record(text, optional(text))
test_results = record(u32, u32, u32, each(failed_test), u32, each(text))
outcome = record(
    *(verdict, optional(u8), optional(u8), u64, optional(u64), optional(u64), hashed, u64, u64, optional(test_results)),
    *(optional(one_of(7)), optional(u32), optional(one_of(3))),
)
body = choice(
    record(u64),
    record(text, text),
    record(u64),
    record(u16, command_id, u64, hashed, optional(hashed), one_of(3), one_of(3)),
    record(u16, outcome),
    record(verdict, hashed, one_of(3), optional(text), one_of(3)),
    record(text),
)
wish = choice(
    record(name, each(source)),
    record(name, u64),
    record(name, u64),
    record(name, u64),
    record(name),
    record(name, version),
)

GRAMMAR = {
    "keyring": message(
        *(name, position, optional(hashed), u64, u64, each(hashed), u8, hashed, each(window), each(revoked)),
    ),
    "roster": message(hashed, u64, position, u64, each(line)),
    "head": message(hashed, position, u64, u64),
    "lead": message(hashed, u64, instance, hashed, u64),
    "change": message(hashed, name, branch, revision, optional(revision), u64, each(commit), u32, boolean, optional(each(text))),
    "command": choice(build, cancel),
    "report": message(
        *(hashed, name, instance, name, hashed, u64, u64, optional(hashed), position, u64),
        *(optional(experiment), body),
    ),
    "log": message(hashed, name, name, hashed, u16, u64, u64, byte_string()),
    "presence": message(
        *(hashed, name, instance, u64, u64, optional(hashed), table(name, u64), position, u32, optional(u64), u64,
          optional(signed)),
    ),
    "release": message(hashed, name, version, optional(version), u64, one_of(3), optional(hashed)),
    "request": message(hashed, name, instance, u64, text, wish),
    "answer": message(hashed, hashed, name, u64, optional(record(text, text))),
    "lease": message(hashed, u64, instance, u64, u64),
}
ISSUED = {"roster": 3, "head": 3, "lead": 4, "change": 5, "report": 9, "log": 6, "presence": 3,
          "release": 4, "answer": 3, "lease": 3}
# Whom the master lets ask: its configuration says so, and here the manifest.
REQUESTERS = {}
FROM_SLAVES = {"report", "log", "presence"}
LONGEST = {"command": 16 << 10, "request": 16 << 10, "answer": 4 << 10, "roster": 768 << 10}
LONGEST |= dict.fromkeys(("head", "lead", "release", "lease"), 1 << 10)


def read_payload(kind, payload):
    value = decode(payload, "E-PAYLOAD")
    GRAMMAR[kind](value)
    return value


# Keys and signatures.

P = 2**255 - 19
# The y coordinates of the points of small order.
WEAK = {0, 1, P - 1} | {
    int.from_bytes(bytes.fromhex(y), "little")
    for y in (
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
}


def thumbprint(key):
    """RFC 9679: SHA-256 of the key as a COSE_Key with only kty (OKP), crv (Ed25519) and x."""
    return sha256(cbor2.dumps({1: 1, -1: 6, -2: key}, canonical=True))


def sound(point, code="E-UNSOUND"):
    y = int.from_bytes(point, "little") & ((1 << 255) - 1)
    if y >= P or y in WEAK:
        raise Refused(code, f"{point.hex()} is of small order or not in its one spelling")
    return point


class Envelope:
    """A COSE_Sign1 in its one shape, from the decoded item."""

    def __init__(self, item):
        def need(condition, reason):
            if not condition:
                raise Refused("E-ENVELOPE", reason)

        need(isinstance(item, cbor2.CBORTag) and item.tag == 18, "not tagged 18")
        need(isinstance(item.value, (list, tuple)) and len(item.value) == 4, "not an array of four")
        self.protected, unprotected, self.payload, self.signature = item.value
        need(type(self.protected) is bytes, "the protected header is no byte string")
        header = decode(self.protected, "E-ENVELOPE")
        need(type(header) is dict and set(header) == {1, 3, 4}, "not the labels 1, 3 and 4")
        need(header[1] == -19, f"the algorithm is {header[1]!r}")
        need(isinstance(unprotected, Mapping) and not unprotected, "the unprotected header is not empty")
        need(type(self.payload) is bytes, "no payload")
        need(type(self.signature) is bytes and len(self.signature) == 64, "not a signature of 64 bytes")
        need(type(header[4]) is bytes and len(header[4]) == 32, "not a key id of 32 bytes")
        self.signer = header[4]
        content_type = re.fullmatch(r"application/vnd\.pybots\.([a-z]+)\.v1\+cbor", str(header[3]))
        need(content_type and content_type[1] in GRAMMAR, f"the content type is {header[3]!r}")
        self.kind = content_type[1]

    def verify(self, key, farm):
        context = cbor2.dumps(["pybots/1", self.kind, farm], canonical=True)
        signed = cbor2.dumps(["Signature1", self.protected, context, self.payload], canonical=True)
        try:
            # RFC 8032 leaves open whether this point may be one of small order; pybots says no.
            sound(self.signature[:32], "E-SIGNATURE")
            Ed25519PublicKey.from_public_bytes(key).verify(self.signature, signed)
        except InvalidSignature as error:
            raise Refused("E-SIGNATURE", f"the signature by {self.signer.hex()} does not match") from error


def limit(kind, data):
    if len(data) > LONGEST.get(kind, 64 << 10):
        raise Refused("E-SIZE", f"{len(data)} bytes are too many for a {kind}")


class Farm:
    """What a reader knows of a farm: signing keys from its first keyring, report keys from its roster."""

    def __init__(self, farm, data):
        limit("keyring", data)
        items = decode(data, "E-ENVELOPE")
        if type(items) is not list or not 1 <= len(items) <= 16:
            raise Refused("E-ENVELOPE", "not 1 to 16 envelopes")
        envelopes = [Envelope(item) for item in items]
        self.id, self.signers = farm, [envelope.signer for envelope in envelopes]
        self.payload = envelopes[0].payload
        if any(envelope.kind != "keyring" or envelope.payload != self.payload for envelope in envelopes):
            raise Refused("E-ENVELOPE", "not one keyring")
        if self.signers != sorted(set(self.signers)):
            raise Refused("E-ENVELOPE", "the key ids are not sorted and distinct")
        if sha256(self.payload) != farm:
            raise Refused("E-FARM", "the keyring is not the one that the farm's id is the hash of")
        keyring = read_payload("keyring", self.payload)
        if keyring[1] != [0, 0]:
            raise Refused("E-POSITION", f"the chain begins with 0.0, and this is {keyring[1]}")
        masters, threshold = [sound(key) for key in keyring[5]], keyring[6]
        windows = [(one, None) for one in keyring[8]] + [(one[0], one[1]) for one in keyring[9]]
        keys = [sound(one[0]) for one, _ in windows]
        if (
            2 in keyring
            or not 1 <= threshold <= len(masters)
            or len(set(masters + keys)) != len(masters + keys)
            or any(one[1] >= one[2] for one, _ in windows)
        ):
            raise Refused("E-KEYRING", "the keyring contradicts itself")
        known = {thumbprint(key): key for key in masters}
        for envelope in envelopes:
            if envelope.signer not in known:
                raise Refused("E-SIGNATURE", f"{envelope.signer.hex()} is no master key")
            envelope.verify(known[envelope.signer], b"")
        if len(envelopes) < threshold:
            raise Refused("E-THRESHOLD", f"{len(envelopes)} signed, {threshold} must")
        self.masters = masters
        self.signing = {thumbprint(one[0]): (one, reason) for one, reason in windows}
        self.reporting = {}

    def open(self, kind, data, now):
        """Payload, key id and standing of a message. `now` is none for a reader of the past."""
        limit(kind, data)
        envelope = Envelope(decode(data, "E-ENVELOPE"))
        signer = envelope.signer
        if envelope.kind != kind:
            raise Refused("E-KIND", f"a {envelope.kind} where a {kind} must stand")
        key = None
        if kind == "request":
            key = REQUESTERS.get(signer, (None,))[0]
        elif kind in FROM_SLAVES and signer in self.reporting:
            key = self.reporting[signer][0]
        elif kind not in FROM_SLAVES and signer in self.signing:
            key = self.signing[signer][0][0]
        if key is None:
            raise Refused("E-KEY", f"{signer.hex()} may not sign a {kind}")
        envelope.verify(key, self.id)
        value = read_payload(kind, envelope.payload)
        fields = value[1] if kind == "command" else value
        if fields[0] != self.id:
            raise Refused("E-FARM", "it names another farm")
        if kind == "request":
            if fields[1] != REQUESTERS[signer][1]:
                raise Refused("E-REQUESTER", f"the key is not that of {fields[1]}")
            return envelope, value, "good"
        if kind in FROM_SLAVES:
            if fields[1] != self.reporting[signer][1]:
                raise Refused("E-REPORTER", f"the key is not that of {fields[1]}")
            return envelope, value, "good"
        issued = fields[(5, 4)[value[0]] if kind == "command" else ISSUED[kind]]
        return envelope, value, self.standing(signer, issued, now)

    def standing(self, signer, issued, now):
        window, revoked = self.signing[signer]
        if now is not None and revoked is not None:
            raise Refused("E-REVOKED", "the key is revoked")
        if now is None and revoked == 1:
            return "unproven"
        if not window[1] <= (issued if now is None else now) < window[2]:
            raise Refused("E-KEY-WINDOW", "the key was not in force then")
        return "good"

    def learn(self, data):
        """Takes in a roster."""
        envelope, roster, standing = self.open("roster", data, None)
        if standing != "good":
            raise Refused("E-REVOKED", "others may hold the key that signed the roster")
        lines = roster[4]
        reporting = [sound(one[1]) for one in lines]
        login = {sound(one[2]) for one in lines}
        signing = {window[0] for window, _ in self.signing.values()}
        if login & (set(reporting) | signing | set(self.masters)):
            raise Refused("E-ONE-KEY", "a login key signs")
        serving = [one[0] for one in lines if 8 not in one]
        if len(set(reporting)) != len(lines) or len(set(serving)) != len(serving):
            raise Refused("E-ROSTER", "two lines contradict each other")
        self.reporting = {thumbprint(one[1]): (one[1], one[0]) for one in lines}
        return envelope, standing


# The files.


def read(entry, golden, now):
    """Payload id, key ids and standing of a file."""
    data = (FOLDER / entry["file"]).read_bytes()
    if entry["kind"] == "keyring":
        farm = Farm(bytes.fromhex(entry["farm"]), data)
        return sha256(farm.payload), farm.signers, "good"
    farm = Farm(bytes.fromhex(entry["farm"]), golden)
    if entry["kind"] == "roster":
        envelope, standing = farm.learn(data)
    else:
        farm.learn((FOLDER / "good/roster.cbor").read_bytes())
        moment = now if entry["purpose"] == "admit" else None
        envelope, _, standing = farm.open(entry["kind"], data, moment)
    return sha256(envelope.payload), [envelope.signer], standing


def check_good(entry, golden, now):
    payload_id, signers, standing = read(entry, golden, now)
    found = (payload_id.hex(), [signer.hex() for signer in signers], standing)
    if found != (entry["id"], entry["signers"], entry["standing"]):
        return False, f"the manifest says otherwise of it: {found}"
    return True, f"{entry['kind']} {found[0][:12]}, {standing}"


def check_bad(entry, golden, now):
    try:
        read(entry, golden, now)
    except Refused as refusal:
        return refusal.code == entry["code"], f"refused: {refusal}"
    return False, f"was believed, although {entry['why']}"


def main():
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    golden = (FOLDER / "good/keyring.cbor").read_bytes()
    for requester, key in manifest["requesters"].items():
        REQUESTERS[thumbprint(bytes.fromhex(key))] = (bytes.fromhex(key), requester)
    listed = {entry["file"] for entry in manifest["good"] + manifest["bad"]}
    there = {f"{part}/{path.name}" for part in ("good", "bad") for path in (FOLDER / part).iterdir()}
    passed, failed = 0, 0
    for file in sorted(listed ^ there):
        print("FAIL", file, "is not both listed in manifest.json and there")
        failed += 1
    for part, check in (("good", check_good), ("bad", check_bad)):
        for entry in manifest[part]:
            try:
                fine, said = check(entry, golden, manifest["now"])
            except (Refused, OSError) as error:
                fine, said = False, str(error)
            print("ok  " if fine else "FAIL", entry["file"], said)
            passed, failed = passed + fine, failed + (not fine)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
