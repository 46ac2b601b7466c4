// Opens OpenPGP messages with openpgp.js: FOLDER-OF-PACKAGE KEY SIGNER MESSAGE…; each plaintext goes to MESSAGE.openpgpjs.
//
// Prints a JSON list: {"verified": true or false} or {"error": …} for each message.
import { readFileSync, writeFileSync } from "node:fs";

const [folder, keyFile, signerFile, ...messages] = process.argv.slice(2);
// The build for browsers, as mail programs use it; the one for Node needs another package for Brainpool curves.
const openpgp = await import(`${folder}/node_modules/openpgp/dist/openpgp.min.mjs`);
const text = (file) => readFileSync(file, "utf8");
const key = await openpgp.readPrivateKey({ armoredKey: text(keyFile) });
const signer = await openpgp.readKey({ armoredKey: text(signerFile) });

async function attempt(file) {
  try {
    const message = await openpgp.readMessage({ armoredMessage: text(file) });
    const { data, signatures } = await openpgp.decrypt({
      message,
      decryptionKeys: key,
      verificationKeys: signer,
      format: "binary",
    });
    writeFileSync(`${file}.openpgpjs`, data);
    const checks = await Promise.allSettled(signatures.map((signature) => signature.verified));
    return { verified: checks.length > 0 && checks.every((check) => check.status === "fulfilled") };
  } catch (error) {
    return { error: String(error) };
  }
}

const found = [];
for (const file of messages) found.push(await attempt(file));
process.stdout.write(JSON.stringify(found));
