"""What Python's email package finds in each mail of the corpus: one JSON object a line, for the test that compares.

Usage: oracle.py > oracle.jsonl   (Python 3.11)
"""

import email
import email.policy
import hashlib
import json
import pathlib
import re

SAMPLE = 40


def plain(text):
    """Without white space and without the marks of quotes, which readers of format=flowed move."""
    return re.sub(r"[\s>\ufeff\x00-\x1f]+", "", text)


def leaves(part, unused=False):
    if part.is_multipart():
        kind = part.get_content_type()
        children = part.get_payload()
        for child in children:
            yield from leaves(child, unused or kind == "multipart/alternative")
        return
    octets = part.get_payload(decode=True)
    if octets is None:
        octets = b""
    kind = part.get_content_type()
    leaf = {"type": kind, "alternative": unused, "bytes": len(octets)}
    if kind.startswith("text/"):
        charset = part.get_content_charset() or "utf-8"
        try:
            text = octets.decode(charset, "replace")
        except LookupError:
            text = octets.decode("latin-1")
        text = plain(text)
        middle = max(0, len(text) // 2 - SAMPLE // 2)
        leaf["samples"] = [text[:SAMPLE], text[middle : middle + SAMPLE], text[-SAMPLE:]]
    else:
        leaf["sha256"] = hashlib.sha256(octets).hexdigest()
    if name := part.get_filename():
        leaf["name"] = name
    yield leaf


def main():
    folder = pathlib.Path(__file__).parent
    for path in sorted([*folder.glob("mail-parser/*.eml"), *folder.glob("python/*.txt")]):
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.compat32)
        name = str(path.relative_to(folder))
        subject = mail.get("Subject")
        print(json.dumps({"mail": name, "subject": subject is not None, "leaves": list(leaves(mail))}, ensure_ascii=False))


main()
