//! Several live encryption subkeys: each of them alone must do.

use crate::bed::{Bed, Gpg, run};
use crate::certificates::{Kind, fingerprints};
use crate::mails::{self, Letter};

/// P1: somebody may have only one of the department's subkeys on a card or a telephone.
#[test]
fn each_live_encryption_subkey_alone_opens_the_mail() {
    let bed = Bed::new();
    let key = Kind::SeveralSubkeys.make();
    let wanted = [(Letter::Department { files: 1 }, true)];
    let sample = mails::samples(&bed, bed.path(), Kind::SeveralSubkeys, &key, &wanted).remove(0);

    let whole = Gpg::new();
    let secret = whole.file("secret.asc", &key.secret);
    whole.run(&["--import", secret.to_str().unwrap()]);
    let all = fingerprints(&whole);
    let subkeys = &all[1..];
    assert_eq!(subkeys.len(), 3);
    for subkey in subkeys {
        let one = whole.run(&["--armor", "--export-secret-subkeys", &format!("{subkey}!")]);
        let gpg = Gpg::new();
        let file = gpg.file("one.asc", &one);
        gpg.run(&["--import", file.to_str().unwrap()]);
        let opened = run(gpg.command().arg("--decrypt").arg(&sample.armored));
        // The signer is unknown here, which GnuPG says with exit status 2 after it has written everything.
        let opened = match opened {
            Ok(output) => output.stdout,
            Err(_) => {
                gpg.command()
                    .arg("--decrypt")
                    .arg(&sample.armored)
                    .output()
                    .unwrap()
                    .stdout
            }
        };
        assert!(opened == sample.inner, "{subkey} alone does not open it");
    }
}
