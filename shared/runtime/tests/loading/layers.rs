//! What wins over what: flags, the environment, the file.

use crate::folder::Folder;
use crate::settings::only;

#[test]
fn the_environment_wins_over_the_file_and_flags_over_the_environment() {
    let folder = Folder::new().with(
        "[smtp]",
        "[broker]\nprefetch = 1\nurl = \"amqp://localhost/file\"\n[smtp]",
    );
    let folder = folder.env("KVIT_BROKER__URL", "amqp://localhost/env");
    assert_eq!(folder.loaded().config.broker.url().unwrap(), "amqp://localhost/env");
    assert_eq!(folder.loaded().config.broker.prefetch, 1);
    let folder = folder.env("KVIT_BROKER__PREFETCH", "2");
    assert_eq!(folder.loaded().config.broker.prefetch, 2);
    let folder = folder.flag("broker.prefetch", "3").flag("broker.declare", "false");
    assert_eq!(folder.loaded().config.broker.prefetch, 3);
    assert!(!folder.loaded().config.broker.declare);
}

#[test]
fn the_environment_reaches_every_kind_of_key() {
    let folder = Folder::new()
        .env("KVIT_INTAKE__LISTEN", "127.0.0.1:0")
        .env("KVIT_SITES__EKSEMPEL__CUSTOM_DATA", "kommune, deadline")
        .env("KVIT_SITES__ANDET__REQUIRE_SEALED", "false")
        .env("KVIT_DEPARTMENTS__TEKNIK_MILJOE__MAIL", "ny@eksempel.example")
        .env("KVIT_FORMS_DIR", "forms")
        .env("KVIT_EVIDENCE__DIR", "elsewhere")
        .env("KVIT_CONFIG", "/etc/kvit/kvit.toml")
        .env("KVIT_LOG", "trace")
        .env("HOME", "/root");
    let config = folder.loaded().config;
    assert_eq!(config.intake.listen, "127.0.0.1:0");
    assert_eq!(config.sites[0].custom_data, ["kommune", "deadline"]);
    assert_eq!(config.sites.len(), 2);
    assert_eq!(config.departments[0].mail.expose(), "ny@eksempel.example");
    assert_eq!(config.evidence.dir, folder.path("elsewhere"));
}

#[test]
fn a_secret_of_the_environment_replaces_the_file_of_the_file() {
    let folder = Folder::new().with("[smtp]", "[broker]\nurl_file = \"nowhere\"\n[smtp]");
    let folder = folder.env("KVIT_BROKER__URL", "amqp://localhost/env");
    assert_eq!(folder.loaded().config.broker.url().unwrap(), "amqp://localhost/env");
    let folder = folder
        .env("KVIT_STORE__URL_FILE", "store")
        .write("store", "sqlite:other.db");
    let url = folder.loaded().config.store.url().unwrap();
    assert_eq!(url, format!("sqlite:{}", folder.path("other.db").display()));
}

#[test]
fn a_fault_of_the_environment_names_its_variable() {
    let told = only(&Folder::new().env("KVIT_BROKER__PREFETSH", "2"));
    assert_eq!(
        told,
        "environment KVIT_BROKER__PREFETSH: unknown key `prefetsh` (did you mean `prefetch`?)"
    );
    let told = only(&Folder::new().env("KVIT_BROKER__PREFETCH", "many"));
    assert_eq!(
        told,
        "environment KVIT_BROKER__PREFETCH: `broker.prefetch` must be an integer, not a text"
    );
    let told = only(&Folder::new().env("KVIT_CONTROLLER__NAME", "TODO"));
    assert!(
        told.starts_with("environment KVIT_CONTROLLER__NAME: `controller.name`"),
        "{told}"
    );
    let told = only(&Folder::new().env("KVIT_SITES__EKSEMPEL", "x"));
    assert!(told.contains("is a section, not a key"), "{told}");
    let told = only(&Folder::new().flag("broker.prefetsh", "2"));
    assert!(told.starts_with("--set broker.prefetsh: unknown key"), "{told}");
    let said = Folder::new().env("KVIT_BROKER_URL", "amqp://localhost").said();
    assert_eq!(
        said,
        ["environment KVIT_BROKER_URL: warning: this variable names no key (did you mean `KVIT_BROKER__URL`?)"]
    );
}
