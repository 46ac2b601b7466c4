//! What the types of `kvit.toml` cannot say.

use domain::basis::Basis;
use domain::form_check::Fault;
use domain::{DepartmentId, Role};

use super::address;
use super::format;
use super::parties::{Environment, Site, TargetKind};
use super::sections::Config;

/// Every fault of a configuration beyond its types.
pub(crate) fn check(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    controller(config, &mut faults);
    vault(config, &mut faults);
    listening(config, &mut faults);
    retry(config, &mut faults);
    bounce(config, &mut faults);
    if let Some(signing) = &config.signing
        && signing.key.is_none()
        && signing.key_file.is_none()
    {
        faults.push(Fault::refused(&["signing"], "`[signing]` needs `key` or `key_file`"));
    }
    if config.evidence.copy_dir.as_ref() == Some(&config.evidence.dir) {
        faults.push(Fault::refused(
            &["evidence", "copy_dir"],
            "`evidence.copy_dir` is `evidence.dir` itself",
        ));
    }
    console(config, &mut faults);
    oidc(config, &mut faults);
    sites(config, &mut faults);
    departments(config, &mut faults);
    journal_targets(config, &mut faults);
    faults
}

/// G8, G9
fn controller(config: &Config, faults: &mut Vec<Fault>) {
    let controller = &config.controller;
    let texts = [
        ("name", &controller.name),
        ("address", &controller.address),
        ("dpo", &controller.dpo),
        ("contact_url", &controller.contact_url),
        ("privacy_url", &controller.privacy_url),
        ("complaint", &controller.complaint),
    ];
    for (key, text) in texts {
        if text.trim().is_empty() {
            let message = format!("`controller.{key}` is empty: every receipt shows it");
            faults.push(Fault::refused(&["controller", key], message));
        }
    }
    for (key, text) in [
        ("contact_url", &controller.contact_url),
        ("privacy_url", &controller.privacy_url),
    ] {
        if !text.trim().is_empty() && !text.starts_with("https://") {
            let message = format!("`controller.{key}` is no secure page (https://)");
            faults.push(Fault::warning(&["controller", key], message));
        }
    }
}

fn vault(config: &Config, faults: &mut Vec<Fault>) {
    let (store, vault) = (&config.store, &config.vault);
    let same = match (&store.url, &vault.url, &store.url_file, &vault.url_file) {
        (Some(store), Some(vault), ..) => address::same_store(store.expose(), vault.expose()),
        (None, None, Some(store), Some(vault)) => store == vault,
        _ => false,
    };
    if same {
        let message = format!("`vault.url` is refused: {}", address::Refusal::IsTheStore);
        faults.push(Fault::refused(&["vault", "url"], message));
    }
    let files = [
        ("intake_key_file", &vault.intake_key_file),
        ("mail_key_file", &vault.mail_key_file),
        ("journal_key_file", &vault.journal_key_file),
        ("registration_key_file", &vault.registration_key_file),
        ("index_key_file", &vault.index_key_file),
    ];
    for (n, (key, file)) in files.iter().enumerate() {
        let earlier = files[..n].iter().find(|(_, other)| file.is_some() && file == other);
        if let Some((other, _)) = earlier {
            let message = format!("`vault.{key}` is `vault.{other}`: each purpose has a key of its own");
            faults.push(Fault::refused(&["vault", key], message));
        }
    }
}

fn listening(config: &Config, faults: &mut Vec<Fault>) {
    let services = [
        ("intake", &config.intake.listen),
        ("mailer", &config.mailer.listen),
        ("journaliser", &config.journaliser.listen),
        ("scheduler", &config.scheduler.listen),
        ("console", &config.console.listen),
    ];
    for (n, (service, listen)) in services.iter().enumerate() {
        if !address::is_local(format::listen_host(listen)) {
            let message = format!("`{service}.listen` can be reached from other machines");
            faults.push(Fault::warning(&[*service, "listen"], message));
        }
        if !listen.ends_with(":0")
            && let Some((other, _)) = services[..n].iter().find(|(_, other)| other == listen)
        {
            let message = format!("`{service}.listen` is also `{other}.listen`: both cannot run on one machine");
            faults.push(Fault::warning(&[*service, "listen"], message));
        }
    }
}

/// Who may log in, and that no password crosses a network in plaintext.
fn console(config: &Config, faults: &mut Vec<Fault>) {
    let console = &config.console;
    if !address::is_local(format::listen_host(&console.listen)) && console.proxies.is_empty() {
        let message = "`console.listen` can be reached from other machines, in plaintext: listen on 127.0.0.1, or put a \
                       proxy that speaks TLS in front of it and name its address in `console.proxies`";
        faults.push(Fault::refused(&["console", "listen"], message));
    }
    for proxy in &console.proxies {
        if proxy.parse::<std::net::IpAddr>().is_err() {
            let message = format!("`console.proxies` has {proxy:?}, which is no IP address");
            faults.push(Fault::refused(&["console", "proxies"], message));
        }
    }
    if console.user_header.is_some() && console.proxies.is_empty() {
        let message = "`console.user_header` is believed from `console.proxies` alone, and there is none";
        faults.push(Fault::refused(&["console", "user_header"], message));
    }
    for (n, (id, user)) in console.users.iter().enumerate() {
        let mut refuse = |message: String| faults.push(Fault::refused(&["console", "users", id], message));
        if user.login.trim().is_empty() || console.users.values().take(n).any(|other| other.login == user.login) {
            refuse(format!("`console.users.{id}.login` is empty, or another's too"));
        }
        if user.password_hash.is_some() && user.password_hash_file.is_some() {
            refuse(format!(
                "`console.users.{id}` has both `password_hash` and `password_hash_file`"
            ));
        }
        let who = format!("console.users.{id}");
        limits(config, &who, user.role, &user.departments).for_each(refuse);
    }
}

/// What is wrong with the departments that somebody is limited to: a department's people need one, and each must be configured.
fn limits<'c>(
    config: &'c Config,
    who: &'c str,
    role: Role,
    departments: &'c [DepartmentId],
) -> impl Iterator<Item = String> + 'c {
    let needs_one = role == Role::Department && departments.is_empty();
    let none = needs_one.then(|| format!("`{who}` is a department's, and names none in `departments`"));
    let unknown = departments
        .iter()
        .filter(|department| !config.departments.contains_key(*department))
        .map(move |department| format!("`{who}.departments`: no department {department} is configured"));
    none.into_iter().chain(unknown)
}

/// That nothing about a login crosses a network in plaintext, and that each group's people may do something.
fn oidc(config: &Config, faults: &mut Vec<Fault>) {
    let Some(oidc) = &config.console.oidc else { return };
    let mut refuse = |key: &str, message: String| faults.push(Fault::refused(&["console", "oidc", key], message));
    for (key, url) in [("issuer", &oidc.issuer), ("public_url", &oidc.public_url)] {
        let parsed = url::Url::parse(url).ok();
        let is_safe = parsed.is_some_and(|url| {
            let host = url.host_str().unwrap_or_default();
            url.scheme() == "https" || (url.scheme() == "http" && address::is_local(host))
        });
        if !is_safe {
            refuse(
                key,
                format!("`console.oidc.{key}` is no https address, nor one of this machine"),
            );
        }
    }
    if oidc.client_secret.is_some() && oidc.client_secret_file.is_some() {
        let message = "`console.oidc` has both `client_secret` and `client_secret_file`";
        refuse("client_secret", message.to_owned());
    }
    if oidc.groups.is_empty() {
        let message = "`console.oidc` names no `groups`, so that nobody could log in: give one a role";
        refuse("groups", message.to_owned());
    }
    for (group, granted) in &oidc.groups {
        let who = format!("console.oidc.groups.{group}");
        for message in limits(config, &who, granted.role, &granted.departments) {
            refuse("groups", message);
        }
    }
}

fn retry(config: &Config, faults: &mut Vec<Fault>) {
    let retry = &config.retry;
    if retry.first > retry.most {
        faults.push(Fault::refused(
            &["retry", "first"],
            "`retry.first` is longer than `retry.most`",
        ));
    }
    if retry.most > retry.give_up {
        faults.push(Fault::refused(
            &["retry", "most"],
            "`retry.most` is longer than `retry.give_up`",
        ));
    }
}

/// A token of 24 letters and its `+` are added to the local part, which RFC 5321 limits to 64 octets.
fn bounce(config: &Config, faults: &mut Vec<Fault>) {
    if config.smtp.bounce.local_part().len() > 39 {
        let message = "the part of `smtp.bounce` before the @ is longer than 39 octets: a token is added to it";
        faults.push(Fault::refused(&["smtp", "bounce"], message));
    }
}

fn sites(config: &Config, faults: &mut Vec<Fault>) {
    if config.sites.is_empty() {
        faults.push(Fault::warning(
            &["sites"],
            "no `[sites.…]`: nothing is taken from anywhere",
        ));
    }
    for (id, site) in &config.sites {
        if let Site {
            environment: Environment::Test,
            test_mail: None,
            ..
        } = site
        {
            let message = "`test_mail` must be stated where environment = \"test\"";
            faults.push(Fault::refused(&["sites", id.as_str(), "test_mail"], message));
        }
        if site.require_sealed && config.intake.unseal_key.is_none() && config.intake.unseal_key_file.is_none() {
            let message = "`require_sealed` needs `intake.unseal_key_file`: nothing could be opened";
            faults.push(Fault::refused(&["sites", id.as_str(), "require_sealed"], message));
        }
    }
}

fn departments(config: &Config, faults: &mut Vec<Fault>) {
    for (id, department) in &config.departments {
        if department.name.is_empty() {
            let path = ["departments", id.as_str(), "name"];
            faults.push(Fault::refused(&path, format!("`departments.{id}.name` is empty")));
        }
        if department.certificates.is_empty() {
            let path = ["departments", id.as_str()];
            let message =
                format!("department `{id}` has no certificate here: without one in the ledger its mails are held");
            faults.push(Fault::warning(&path, message));
        }
    }
}

/// G5, G6, P12: what every outside journal must say, and what its kind needs.
fn journal_targets(config: &Config, faults: &mut Vec<Fault>) {
    for (name, target) in &config.journal_targets {
        let mut refuse = |key: &str, why: &str| {
            let message = format!("journal target `{name}` {why}");
            faults.push(Fault::refused(&["journal_targets", name, key], message));
        };
        if name == domain::form::EMBEDDED {
            refuse("kind", "has the name of the journal inside Kvit");
        }
        if target.processor_agreement.trim().is_empty() {
            refuse("processor_agreement", "names no processor agreement");
        }
        if target.disclosure_ground.parse::<Basis>().is_err() {
            refuse(
                "disclosure_ground",
                "names no ground for the disclosure, such as gdpr-6-1-e",
            );
        }
        let has_url = target.url.is_some() || target.url_file.is_some();
        match target.kind {
            TargetKind::Webdav | TargetKind::GetOrganized if !has_url => refuse("url", "needs `url` or `url_file`"),
            TargetKind::GetOrganized if target.case_type.is_none() => refuse("case_type", "needs `case_type`"),
            TargetKind::SbsysMail if target.mail.is_none() => refuse("mail", "needs `mail`"),
            TargetKind::SbsysMail if target.certificate.is_none() && is_plain_smtp(config) => {
                refuse(
                    "certificate",
                    "has no certificate, and `smtp.url` is not TLS: it would be sent in plaintext",
                );
            }
            _ => {}
        }
    }
}

/// Whether the relay is known to be reached without TLS; one whose address stands in a file is judged by the service.
fn is_plain_smtp(config: &Config) -> bool {
    match (&config.smtp.url, &config.smtp.url_file) {
        (Some(url), _) => url.expose().starts_with("smtp://"),
        (None, Some(_)) => false,
        (None, None) => true,
    }
}
