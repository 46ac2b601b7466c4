//! `kvit.toml`: what is taken, what is refused and with which words, and what wins over what.

use crate::folder::{CONFIG, Folder};
use domain::Language;
use jiff::SignedDuration;
use runtime::config::{Environment, Require};

/// The line of a text in the configuration.
fn line(text: &str) -> usize {
    CONFIG
        .lines()
        .position(|line| line.contains(text))
        .expect("it is there")
        + 1
}

/// The one fault of a configuration.
pub(crate) fn only(folder: &Folder) -> String {
    let refused = folder.refused();
    assert_eq!(refused.len(), 1, "{refused:#?}");
    refused[0].clone()
}

#[test]
fn what_is_not_stated_has_its_default() {
    let folder = Folder::new();
    let loaded = folder.loaded();
    let config = &loaded.config;
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(config.broker.url().unwrap(), "amqp://guest:guest@127.0.0.1:5672/%2f");
    assert_eq!((config.broker.prefetch, config.broker.declare), (64, true));
    assert_eq!(config.smtp.url().unwrap(), "smtp://127.0.0.1:25");
    assert_eq!(
        (config.smtp.connections, config.smtp.max_message_bytes),
        (8, 20_971_520)
    );
    assert_eq!(
        (config.intake.listen.as_str(), config.intake.max_message_bytes),
        ("127.0.0.1:9101", 16_777_216)
    );
    assert_eq!(config.mailer.lease, SignedDuration::from_secs(20));
    assert_eq!(config.retry.first, SignedDuration::from_secs(30));
    assert_eq!(config.retry.most, SignedDuration::from_hours(1));
    assert_eq!(config.retry.give_up, SignedDuration::from_hours(120));
    assert_eq!(config.retention.link, SignedDuration::from_hours(90 * 24));
    assert_eq!(config.schedules.checkpoint, "0 7 * * *");
    assert_eq!(config.controller.language, Language::Da);
    assert_eq!(config.controller.time_zone.iana_name(), Some("Europe/Copenhagen"));
    assert_eq!(config.sites[0].environment, Environment::Production);
    assert_eq!(config.departments[0].require, Require::All);
    assert_eq!(loaded.forms.len(), 1);
}

#[test]
fn paths_are_absolute_and_relative_to_the_file() {
    let folder = Folder::new();
    let config = folder.loaded().config;
    assert_eq!(config.forms_dir, folder.path("forms"));
    assert_eq!(config.evidence.dir, folder.path("evidence"));
    assert_eq!(config.journal.dir, folder.path("journal"));
    assert_eq!(config.evidence.copy_dir, None);
    assert_eq!(config.vault.mail_key_file, Some(folder.path("secrets/mail.key")));
    assert_eq!(config.departments[0].certificates[0].file, folder.path("keys/t.asc"));
    assert_eq!(
        config.store.url().unwrap(),
        format!("sqlite:{}", folder.path("kvit.db").display())
    );
    assert_eq!(
        config.vault.url().unwrap(),
        format!("sqlite:{}", folder.path("kvit-keys.db").display())
    );
}

#[test]
fn the_whole_of_the_contract_is_taken() {
    let folder = Folder::new().write("kvit.toml", include_str!("contract/kvit.toml"));
    let folder = folder.write("forms/anmeldelse.toml", include_str!("contract/form.toml"));
    let loaded = folder.loaded();
    assert!(loaded.config.signing.is_some() && loaded.config.recovery.is_some());
    assert_eq!(loaded.config.evidence.copy_dir, None, "an empty folder is none");
    let (site, form) = ("eksempel".parse().unwrap(), "anmeldelse_teknik_miljoe".parse().unwrap());
    let form = loaded.forms.get(&site, &form).expect("the form");
    assert_eq!(
        form.fields.keys().next().map(String::as_str),
        Some("navn"),
        "the order is the file's"
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let folder = Folder::new().with("bounce =", "bounze = 1\nbounce =");
    let told = only(&folder);
    let expected = format!(
        "kvit.toml:{}: unknown key `bounze` in `[smtp]` (did you mean `bounce`?)",
        line("bounce =")
    );
    assert_eq!(told, expected);

    let far = only(&Folder::new().with("[smtp]", "[colour]\nred = 1\n[smtp]"));
    assert!(
        far.contains("unknown key `colour`; the nearest known key is `"),
        "{far}"
    );
}

#[test]
fn every_fault_is_told_at_once_in_the_order_of_the_lines() {
    let folder = Folder::new()
        .with("name = \"Eksempel Kommune\"", "nam = \"x\"\nname = \"\"")
        .with("bounce = \"bounce@eksempel.example\"", "bounce = 7\nconnections = 0")
        .with("require_sealed = false", "environment = \"prod\"")
        .write("forms/b.toml", "id = \"b\"\n");
    let refused = folder.refused();
    let has = |words: &str| {
        refused
            .iter()
            .position(|told| told.contains(words))
            .unwrap_or_else(|| panic!("{refused:#?}"))
    };
    let order = [
        has("unknown key `nam`"),
        has("`controller.name` is empty"),
        has("`smtp.bounce` must be a text, not an integer"),
        has("`smtp.connections` must be from 1 to 65535"),
        has("`sites.eksempel.require_sealed` must be stated"),
        has("`sites.eksempel.environment` must be one of `production`, `test`, not `prod`"),
        has("forms/b.toml:1: `title` must be stated"),
    ];
    assert!(order.is_sorted(), "{refused:#?}");
}

#[test]
fn a_fault_of_syntax_has_its_line_and_shows_no_value() {
    let told = only(&Folder::new().with("[smtp]", "[smtp]\nurl = \"smtps://u:hunter2@relay.example"));
    assert!(
        told.starts_with(&format!("kvit.toml:{}: not TOML: ", line("[smtp]") + 1)),
        "{told}"
    );
    assert!(!told.contains("hunter2"));
    let twice = only(&Folder::new().with("[smtp]", "[controller]\n[smtp]"));
    assert!(twice.contains("duplicate key"), "{twice}");
}

#[test]
fn a_missing_file_or_section_is_told() {
    let nowhere = runtime::Loaded::load_with(std::path::Path::new("/nonexistent/kvit.toml"), &runtime::Layers::none());
    assert!(
        nowhere
            .unwrap_err()
            .to_string()
            .starts_with("/nonexistent/kvit.toml: cannot read the configuration")
    );
    let refused = Folder::new().write("kvit.toml", "").refused();
    assert_eq!(
        refused[..2],
        [
            "kvit.toml:1: section `[controller]` is missing",
            "kvit.toml:1: section `[smtp]` is missing"
        ]
    );
}

/// G8, G9
#[test]
fn a_controller_that_is_empty_or_undecided_is_refused() {
    for key in ["name", "address", "dpo", "contact_url", "privacy_url", "complaint"] {
        let at = line(&format!("{key} ="));
        let old = CONFIG.lines().nth(at - 1).expect("the line");
        for wrong in ["", "   ", "TODO", "Rådhuset (TODO: hvor?)"] {
            let told = only(&Folder::new().with(old, &format!("{key} = \"{wrong}\"")));
            assert!(
                told.starts_with(&format!("kvit.toml:{at}: `controller.{key}`")),
                "{told}"
            );
        }
        let told = only(&Folder::new().with(&format!("{old}\n"), ""));
        assert!(told.contains(&format!("`controller.{key}` must be stated")), "{told}");
    }
}

/// P12
#[test]
fn plaintext_to_another_machine_is_refused() {
    for (section, url) in [
        ("broker", "amqp://u:hunter2@broker.example"),
        ("store", "postgres://u:hunter2@db.example/kvit"),
        ("vault", "postgres://u:hunter2@db.example/kvit"),
    ] {
        let told = only(&Folder::new().with("[smtp]", &format!("[{section}]\nurl = \"{url}\"\n[smtp]")));
        assert!(
            told.starts_with(&format!("kvit.toml:{}: `{section}.url` is refused", line("[smtp]") + 1)),
            "{told}"
        );
        assert!(told.contains("plaintext") && !told.contains("hunter2"), "{told}");
    }
    let told = only(&Folder::new().with("[smtp]", "[smtp]\nurl = \"smtp://relay.example\""));
    assert!(
        told.contains("`smtp.url` is refused") && told.contains("plaintext"),
        "{told}"
    );
    Folder::new()
        .with("[smtp]", "[smtp]\nurl = \"smtp+starttls://relay.example\"")
        .loaded();
}

/// P12: an address in a file is judged when it is read.
#[test]
fn plaintext_from_a_secret_file_is_refused_when_it_is_read() {
    let folder = Folder::new().with("[smtp]", "[broker]\nurl_file = \"broker\"\n[smtp]");
    let folder = folder.write("broker", "amqp://u:hunter2@broker.example\n");
    let error = folder.loaded().config.broker.url().expect_err("plaintext");
    assert!(!format!("{:#}", anyhow::Error::from(error)).contains("hunter2"));
    let folder = folder.write("broker", "amqps://u:p@broker.example\n");
    assert_eq!(
        folder.loaded().config.broker.url().unwrap(),
        "amqps://u:p@broker.example"
    );
}

#[test]
fn the_vault_is_never_the_store() {
    for same in ["sqlite:kvit.db", "sqlite:./x/../kvit.db", "sqlite://kvit.db"] {
        let told = only(&Folder::new().with("[smtp]", &format!("[vault]\nurl = \"{same}\"\n[smtp]")));
        assert!(
            told.contains("`vault.url` is refused: it is the store's own file"),
            "{told}"
        );
    }
    let folder = Folder::new()
        .with("[smtp]", "[vault]\nurl_file = \"vault\"\n[smtp]")
        .write("vault", "sqlite:kvit.db\n");
    assert!(
        folder.loaded().config.vault.url().is_err(),
        "also when it is read from a file"
    );
}

#[test]
fn each_purpose_has_a_key_of_its_own() {
    let told = only(&Folder::new().with("[smtp]", "[vault]\nmail_key_file = \"secrets/intake.key\"\n[smtp]"));
    assert!(
        told.contains("`vault.mail_key_file` is `vault.intake_key_file`"),
        "{told}"
    );
}

#[test]
fn a_secret_is_given_once_and_never_shown() {
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
    let both = format!("[vault]\nmail_key = \"{key}\"\nmail_key_file = \"mail.key\"\n[smtp]");
    let told = only(&Folder::new().with("[smtp]", &both));
    assert!(
        told.contains("`vault.mail_key` and `mail_key_file` are both given"),
        "{told}"
    );

    let folder = Folder::new().with("[smtp]", &format!("[vault]\nmail_key = \"{key}\"\n[smtp]"));
    let config = folder.loaded().config;
    assert_eq!(config.vault.mail_key().unwrap(), [*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"]);
    assert!(!format!("{config:?}").contains("QUJD"));

    let told = only(&Folder::new().with("[smtp]", "[vault]\nmail_key = \"aHVudGVyMg==\"\n[smtp]"));
    assert!(
        told.contains("not 32 bytes in base64") && !told.contains("aHVu"),
        "{told}"
    );
}

#[test]
fn a_secret_file_is_read_only_when_asked_for() {
    let folder = Folder::new().with("[smtp]", "[vault]\nmail_key_file = \"mail.key\"\n[smtp]");
    let config = folder.loaded().config;
    let error = config.vault.mail_key().expect_err("there is no file");
    assert!(
        error.to_string().ends_with("which vault.mail_key_file names"),
        "{error}"
    );
    let folder = folder.write("mail.key", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\n");
    assert!(config.vault.mail_key().is_ok());
    let secrets = folder.loaded().check_secrets().to_string();
    assert!(
        secrets.contains("intake.key") && !secrets.contains("mail.key"),
        "{secrets}"
    );
}

#[test]
fn a_site_states_require_sealed_and_can_be_opened() {
    let told = only(&Folder::new().with("require_sealed = false\n", ""));
    let expected = format!(
        "kvit.toml:{}: `sites.eksempel.require_sealed` must be stated",
        line("[sites.eksempel]")
    );
    assert_eq!(told, expected);
    let told = only(&Folder::new().with("require_sealed = false", "require_sealed = true"));
    assert!(
        told.contains("`require_sealed` needs `intake.unseal_key_file`"),
        "{told}"
    );
    let told = only(&Folder::new().with(
        "require_sealed = false",
        "require_sealed = false\nenvironment = \"test\"",
    ));
    assert!(told.contains("`test_mail` must be stated"), "{told}");
}

#[test]
fn an_id_is_short_and_plain() {
    let told = only(&Folder::new().with(
        "[sites.eksempel]",
        "[sites.eksempel]\nrequire_sealed = false\n[sites.\"Æ\"]",
    ));
    assert!(told.contains("`Æ` is no id"), "{told}");
}

#[test]
fn leaves_are_held_against_their_format() {
    for (section, key, wrong, words) in [
        ("retry", "first", "\"30s\"", "ISO 8601"),
        ("retry", "give_up", "\"P1M\"", "ISO 8601"),
        ("schedules", "purge", "\"* * * *\"", "cron expression of five fields"),
        ("schedules", "purge", "\"99 * * * *\"", "cron expression of five fields"),
        ("intake", "listen", "\"9101\"", "address and port"),
        ("intake", "max_message_bytes", "-1", "at least 1024"),
        ("evidence", "mail_to", "\"dpo\"", "mail address"),
        ("evidence", "copy_dir", "\"evidence\"", "`evidence.dir` itself"),
        ("broker", "prefetch", "0", "from 1 to 65535"),
        ("broker", "prefetch", "99999999999999999999", "an integer"),
        ("broker", "declare", "\"yes\"", "true or false, not a text"),
    ] {
        let told = only(&Folder::new().with("[smtp]", &format!("[{section}]\n{key} = {wrong}\n[smtp]")));
        assert!(
            told.contains(words) && told.contains(&format!("`{section}.{key}`")),
            "{told}"
        );
        assert!(
            told.starts_with(&format!("kvit.toml:{}: ", line("[smtp]") + 1)),
            "{told}"
        );
    }
    let told = only(&Folder::new().with("complaint =", "time_zone = \"Europe/Kopenhagen\"\ncomplaint ="));
    assert!(told.contains("time zone"), "{told}");
    let told = only(&Folder::new().with("0123456789012345678901234567890123456789", "0123"));
    assert!(
        told.contains("`departments.teknik-miljoe.certificates.0.fingerprint`"),
        "{told}"
    );
    let told = only(&Folder::new().with("[smtp]", "[retry]\nfirst = \"PT2H\"\n[smtp]"));
    assert!(told.contains("longer than `retry.most`"), "{told}");
    let told = only(&Folder::new().with("[smtp]", "[signing]\n[smtp]"));
    assert!(told.contains("`[signing]` needs `key` or `key_file`"), "{told}");
}

/// G1: no password crosses a network in plaintext, and nobody is believed to be somebody unasked.
#[test]
fn a_console_that_strangers_could_use_is_refused() {
    for (lines, words) in [
        ("listen = \"0.0.0.0:8080\"", "in plaintext"),
        ("listen = \"0.0.0.0:8080\"\nproxies = [\"proxy\"]", "no IP address"),
        (
            "user_header = \"X-Remote-User\"",
            "believed from `console.proxies` alone",
        ),
        ("[console.users.a]\nlogin = \" \"\nrole = \"viewer\"", "is empty"),
        ("[console.users.a]\nlogin = \"x\"\nrole = \"department\"", "names none"),
        (
            "[console.users.a]\nlogin = \"x\"\nrole = \"viewer\"\ndepartments = [\"no-such\"]",
            "no department no-such",
        ),
        (
            "[console.users.a]\nlogin = \"x\"\nrole = \"viewer\"\n[console.users.b]\nlogin = \"x\"\nrole = \"officer\"",
            "or another's too",
        ),
    ] {
        let told = only(&Folder::new().with("[smtp]", &format!("[console]\n{lines}\n[smtp]")));
        assert!(told.contains(words), "{told}");
    }
    let behind =
        "[console]\nlisten = \"0.0.0.0:8080\"\nproxies = [\"10.0.0.2\"]\nuser_header = \"X-Remote-User\"\n[smtp]";
    Folder::new().with("[smtp]", behind).loaded();
}

#[test]
fn what_only_deserves_a_look_is_a_warning() {
    let folder = Folder::new().with("[smtp]", "[intake]\nlisten = \"0.0.0.0:9101\"\n[smtp]");
    let expected = format!(
        "kvit.toml:{}: warning: `intake.listen` can be reached from other machines",
        line("[smtp]") + 1
    );
    assert_eq!(folder.said(), [expected]);
    let warnings = folder.loaded().warnings;
    assert!(!warnings.has_errors());
}

#[test]
fn a_finding_of_another_program_has_its_line_too() {
    let loaded = Folder::new().loaded();
    let path = ["departments", "teknik-miljoe", "certificates", "0", "file"];
    let finding = loaded.finding(&path, runtime::config::Weight::Warning, "the certificate has expired");
    let expected = format!(
        "kvit.toml:{}: warning: the certificate has expired",
        line("certificates =")
    );
    assert!(finding.to_string().ends_with(&expected), "{finding}");
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(
        (&json["line"], &json["severity"]),
        (&line("certificates =").into(), &"warning".into())
    );
}
