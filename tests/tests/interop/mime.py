"""Reads the mails whose files are named, with Python's strictest policy, and prints a JSON value for each.

Every header is parsed, and every defect, in the tree or in a value, is an error: the value is then {"error": …}.
"""
import base64
import email
import email.policy
import json
import sys

POLICY = email.policy.default.clone(raise_on_defect=True)


def headers(part):
    return [[name.lower(), str(value)] for name, value in part.items()]


def parameters(part):
    return dict(part["content-type"].params) if "content-type" in part else {}


def leaf(part):
    return {
        "type": part.get_content_type(),
        "headers": headers(part),
        "disposition": part.get_content_disposition(),
        "name": part.get_filename(),
        "content": base64.b64encode(part.get_payload(decode=True)).decode(),
    }


def tree(part):
    if not part.is_multipart():
        return part.get_content_type()
    return [part.get_content_type(), [tree(child) for child in part.iter_parts()]]


def read(path):
    with open(path, "rb") as file:
        mail = email.message_from_binary_file(file, policy=POLICY)
    for part in mail.walk():
        assert not part.defects, part.defects
        for _, value in part.items():
            assert not getattr(value, "defects", ()), value.defects
    return {
        "headers": headers(mail),
        "parameters": parameters(mail),
        "tree": tree(mail),
        "leaves": [leaf(part) for part in mail.walk() if not part.is_multipart()],
    }


def attempt(path):
    try:
        return read(path)
    except Exception as error:  # whatever is wrong with the mail is the answer
        return {"error": f"{type(error).__name__}: {error}"}


json.dump([attempt(path) for path in sys.argv[1:]], sys.stdout)
