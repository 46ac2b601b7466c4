"""Opens a mail in Thunderbird's own window and says what its reader sees.

    thunderbird.py FOLDER

FOLDER holds key.asc (the reader's secret key), signer.asc (who signs) and mail.eml. Thunderbird runs in a virtual screen,
with a profile of its own below FOLDER, and is driven by Marionette, its remote protocol: it imports the key, opens the
mail, and the window is read and photographed (FOLDER/window.png). One JSON object goes to standard output. Python's own
library and Debian's thunderbird, xvfb and imagemagick are all that is needed.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

PATIENCE = 120

PREFERENCES = {
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "extensions.update.enabled": False,
    "mail.account.account1.server": "server1",
    "mail.accountmanager.accounts": "account1",
    "mail.accountmanager.localfoldersserver": "server1",
    "mail.inappnotifications.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.server.server1.directory-rel": "[ProfD]Mail/Local Folders",
    "mail.server.server1.hostname": "Local Folders",
    "mail.server.server1.name": "Local Folders",
    "mail.server.server1.type": "none",
    "mail.server.server1.userName": "nobody",
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "marionette.port": 0,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "devtools.chrome.enabled": True,
}

IMPORT = """
const [secret, signer, done] = [arguments[0], arguments[1], arguments[arguments.length - 1]];
(async () => {
  const { BondOpenPGP } = ChromeUtils.importESModule("chrome://openpgp/content/BondOpenPGP.sys.mjs");
  const { RNP } = ChromeUtils.importESModule("chrome://openpgp/content/modules/RNP.sys.mjs");
  const { PgpSqliteDb2 } = ChromeUtils.importESModule("chrome://openpgp/content/modules/sqliteDb.sys.mjs");
  await BondOpenPGP.init();
  const none = (win, prompt, flags) => { flags.canceled = false; return ""; };
  const own = await RNP.importSecKeyBlockImpl(null, none, false, secret);
  const other = await RNP.importPubkeyBlockAutoAcceptImpl(null, signer, "verified");
  for (const key of own.importedKeys ?? []) {
    await PgpSqliteDb2.acceptAsPersonalKey(key.replace("0x", ""));
  }
  return [own.exitCode, own.importedKeys?.length, other.exitCode, other.importedKeys?.length];
})().then(done, error => done(String(error)));
"""

OPEN = """
const done = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
(async () => {
  const win = Services.wm.getMostRecentWindow("mail:3pane");
  const folder = MailServices.accounts.localFoldersServer.rootFolder.getChildNamed("Kvit");
  await new Promise(resolve => {
    try {
      folder.QueryInterface(Ci.nsIMsgLocalMailFolder);
      folder.getDatabaseWithReparse({ OnStartRunningUrl() {}, OnStopRunningUrl: resolve }, null);
      resolve();
    } catch {} // there is no index yet: it is made, and the listener told
  });
  const about = win.document.getElementById("tabmail").currentAbout3Pane;
  about.displayFolder(folder.URI);
  for (let n = 0; n < 100 && !about.gDBView?.rowCount; n++) {
    await new Promise(resolve => win.setTimeout(resolve, 100));
  }
  about.threadTree.selectedIndex = 0;
})().then(() => done("opened"), error => done(String(error)));
"""

READ = """
const win = Services.wm.getMostRecentWindow("mail:3pane");
const message = win.document.getElementById("tabmail").currentAboutMessage?.document;
const body = message?.getElementById("messagepane")?.contentDocument;
if (!body?.body) {
  return null;
}
const shown = id => { const element = message.getElementById(id); return !!element && !element.hidden; };
const names = [...message.querySelectorAll("#attachmentList > richlistitem")].map(item => item.attachment.name);
return {
  "title": win.document.title,
  "subject": message.getElementById("expandedsubjectBox")?.textContent.trim() ?? "",
  "body": body.body.textContent,
  "attachments": names,
  "encrypted": shown("encryptedHdrIcon") && message.getElementById("encryptedHdrIcon").src,
  "signed": shown("signedHdrIcon") && message.getElementById("signedHdrIcon").src,
};
"""

SHOW_ATTACHMENTS = """
const win = Services.wm.getMostRecentWindow("mail:3pane");
win.resizeTo(1240, 960);
win.moveTo(10, 10);
win.focus();
win.document.getElementById("tabmail").currentAboutMessage.toggleAttachmentList(true);
"""


class Marionette:
    """The protocol: length, colon, JSON."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.buffer = b""
        self.number = 0
        self.receive()
        self.ask("WebDriver:NewSession", {"capabilities": {}})
        self.ask("Marionette:SetContext", {"value": "chrome"})
        self.ask("WebDriver:SetTimeouts", {"script": PATIENCE * 1000})

    def receive(self):
        while b":" not in self.buffer:
            self.more()
        length, rest = self.buffer.split(b":", 1)
        self.buffer = rest
        while len(self.buffer) < int(length):
            self.more()
        told, self.buffer = self.buffer[: int(length)], self.buffer[int(length) :]
        return json.loads(told)

    def more(self):
        some = self.socket.recv(65536)
        if not some:
            raise SystemExit("Thunderbird closed the connection")
        self.buffer += some

    def ask(self, command, parameters):
        self.number += 1
        words = json.dumps([0, self.number, command, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(words), words))
        _, _, error, result = self.receive()
        if error:
            raise SystemExit(f"{command}: {error.get('error')}: {error.get('message')}")
        return result

    def run(self, script, arguments=(), waits=False):
        kind = "WebDriver:ExecuteAsyncScript" if waits else "WebDriver:ExecuteScript"
        parameters = {"script": script, "args": list(arguments), "sandbox": "system"}
        return self.ask(kind, parameters).get("value")


def until(what, look):
    """The first answer of `look` that is one."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if (answer := look()) is not None:
            return answer
        time.sleep(0.2)
    raise SystemExit(f"{what} did not come about within {PATIENCE} s")


def port_of(profile):
    file = profile / "MarionetteActivePort"
    return int(file.read_text()) if file.exists() and file.read_text().strip() else None


def screen():
    xvfb = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x1000x24", "-nolisten", "tcp"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return xvfb, ":" + xvfb.stdout.readline().decode().strip()


def drive(folder, profile, display):
    marionette = Marionette(until("Thunderbird's start", lambda: port_of(profile)))
    main = 'return Services.wm.getMostRecentWindow("mail:3pane")?.document.readyState == "complete" || null'
    until("the main window", lambda: marionette.run(main))
    keys = [(folder / name).read_text() for name in ("key.asc", "signer.asc")]
    imported = marionette.run(IMPORT, keys, waits=True)
    if not isinstance(imported, list) or imported[0] != 0 or imported[2] != 0:
        raise SystemExit(f"the keys were not imported: {imported}")
    if (opened := marionette.run(OPEN, waits=True)) != "opened":
        raise SystemExit(f"the mail was not opened: {opened}")

    def read():
        seen = marionette.run(READ)
        return seen if seen and seen["attachments"] and seen["encrypted"] else None

    until("the opened mail", read)
    marionette.run(SHOW_ATTACHMENTS)
    time.sleep(2)  # for the eye alone: what is checked was read before
    picture = folder / "window.png"
    subprocess.run(["import", "-display", display, "-window", "root", str(picture)], check=True)
    seen = read()
    marionette.run("Services.startup.quit(Ci.nsIAppStartup.eForceQuit)")
    return seen


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    profile.mkdir()
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    mailbox = profile / "Mail" / "Local Folders" / "Kvit"
    mailbox.parent.mkdir(parents=True)
    mail = (folder / "mail.eml").read_bytes().replace(b"\r\n", b"\n")
    mailbox.write_bytes(b"From - Sat Nov 21 13:05:00 2026\n" + mail.rstrip(b"\n") + b"\n\n")
    xvfb, display = screen()
    environment = {**os.environ, "DISPLAY": display, "HOME": str(folder), "LANG": "C.UTF-8", "GDK_BACKEND": "x11"}
    environment.pop("WAYLAND_DISPLAY", None)
    with (folder / "thunderbird.log").open("w") as log:
        reader = subprocess.Popen(
            ["thunderbird", "--profile", str(profile), "--no-remote", "--marionette", "--remote-allow-system-access"],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            print(json.dumps(drive(folder, profile, display)))
        finally:
            reader.terminate()
            try:
                reader.wait(20)
            except subprocess.TimeoutExpired:
                reader.kill()
            xvfb.terminate()


main()
