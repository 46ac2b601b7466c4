"""Opens OpenPGP messages with PGPy: KEY SIGNER MESSAGE…; each plaintext goes to MESSAGE.pgpy.

Prints a JSON list: {"verified": true or false} or {"error": …} for each message.
"""
import json
import sys
import warnings

warnings.simplefilter("ignore")
import pgpy  # noqa: E402


def attempt(key, signer, path):
    try:
        opened = key.decrypt(pgpy.PGPMessage.from_file(path))
        content = opened.message
        with open(path + ".pgpy", "wb") as file:
            file.write(content.encode() if isinstance(content, str) else bytes(content))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    try:
        return {"verified": opened.is_signed and bool(signer.verify(opened))}
    except Exception as error:
        return {"verified": False, "why": f"{type(error).__name__}: {error}"}


def main(key, signer, *messages):
    try:
        key, signer = (pgpy.PGPKey.from_file(path)[0] for path in (key, signer))
    except Exception as error:
        return [{"error": f"{type(error).__name__}: {error}"}] * len(messages)
    return [attempt(key, signer, path) for path in messages]


json.dump(main(*sys.argv[1:]), sys.stdout)
