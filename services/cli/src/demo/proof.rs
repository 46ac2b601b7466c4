//! What the demonstration shows at the end: the mails can be read by those they are for, and nothing else is left.

use anyhow::Context as _;
use mail_parser::{Message, MessageParser, MimeHeaders as _, PartType};

use super::inbox::Mail;
use super::page::{Page, size};
use super::stage::Stage;
use super::story::{self, Posted};
use super::traces::WRITINGS;

/// How many lines of a mail are shown.
const SHOWN: usize = 30;

/// Shows and checks everything.
///
/// # Errors
///
/// Where gpg, a file or the store cannot be read.
pub(crate) async fn show(page: &mut Page, stage: &Stage, posted: &Posted, gpg: &str) -> anyhow::Result<()> {
    let department = department_address(stage);
    let is_for_department = |mail: &&Mail| mail.recipients.contains(&department);
    let mails = stage.inbox.mails();
    let (to_department, receipts): (Vec<&Mail>, Vec<&Mail>) = mails.iter().partition(|mail| is_for_department(mail));

    page.heading("The department opens its mail");
    departments(page, stage, posted, &to_department, gpg)?;
    page.heading("The citizen's receipt");
    citizens(page, posted, &receipts)?;
    page.heading("What is left of the answers");
    left(page, stage, posted)?;
    page.heading("Nothing lost");
    balance(page, stage, posted).await
}

/// Where the example department's mail goes.
pub(crate) fn department_address(stage: &Stage) -> String {
    let mut departments = stage.loaded.config.departments.values();
    departments
        .next()
        .map(|department| department.mail.expose().to_owned())
        .unwrap_or_default()
}

fn departments(page: &mut Page, stage: &Stage, posted: &Posted, mails: &[&Mail], gpg: &str) -> anyhow::Result<()> {
    let all = posted.answers();
    let answers = all.search()?;
    let (mut opened, mut signed, mut silent, mut inside) = (0_usize, 0, 0, Vec::new());
    // What is not sealed is a notice, such as that of the message in quarantine: without content, as is checked here.
    let mut sealed = 0_usize;
    for mail in mails {
        silent += usize::from(answers.pieces(&mail.data).is_empty());
        let Some(message) = sealed_part(&mail.data) else {
            continue;
        };
        sealed += 1;
        let file = stage.mails().join(format!("{sealed}.asc"));
        std::fs::write(&file, message).context("keeping an encrypted mail")?;
        let Some(mail_inside) = stage.gpg.open(message)? else {
            continue;
        };
        opened += 1;
        signed += usize::from(mail_inside.signed);
        if sealed == 1 {
            show_letter(page, mail, &mail_inside.plaintext)?;
        }
        inside.extend(content(&parse(&mail_inside.plaintext)?));
    }
    page.line("");
    page.held(
        i64::try_from(sealed)? == posted.accepted && opened == sealed && signed == sealed,
        &format!("{opened} of {sealed} mails opened and their signatures verified, with the department's key in {gpg}"),
    );
    let found = answers.pieces(&inside).len();
    page.held(
        found == all.len(),
        &format!("inside stand the answers and files: {found} of {} pieces", all.len()),
    );
    page.held(silent == mails.len(), "outside stands none of them");
    page.held(
        posted.tokens.search()?.pieces(&inside).is_empty(),
        "the token that opens a submission on the site, which stood in the hostile text, is masked",
    );
    Ok(())
}

fn show_letter(page: &mut Page, mail: &Mail, inside: &[u8]) -> anyhow::Result<()> {
    let outer = parse(&mail.data)?;
    let inner = parse(inside)?;
    page.item("outside", outer.subject().unwrap_or_default());
    page.item("inside", inner.subject().unwrap_or_default());
    let files: Vec<String> = inner
        .attachments()
        .map(|part| {
            let name = part.attachment_name().unwrap_or("a part without a name");
            format!("{name} ({})", size(part.len() as u64))
        })
        .collect();
    page.item("attached", &files.join(", "));
    page.line("");
    page.quote(&inner.body_text(0).unwrap_or_default(), SHOWN);
    Ok(())
}

fn citizens(page: &mut Page, posted: &Posted, receipts: &[&Mail]) -> anyhow::Result<()> {
    let answers = posted.answers().search()?;
    let mut silent = 0;
    for (number, mail) in receipts.iter().enumerate() {
        let letter = parse(&mail.data)?;
        if number == 0 {
            page.item("subject", letter.subject().unwrap_or_default());
            page.line("");
            page.quote(&letter.body_text(0).unwrap_or_default(), SHOWN);
        }
        silent += usize::from(answers.pieces(&content(&letter)).is_empty());
    }
    page.line("");
    page.held(
        receipts.len() == posted.receipts,
        &format!("{} receipts went out, each of them once", receipts.len()),
    );
    page.held(silent == receipts.len(), "none of them repeats an answer");
    Ok(())
}

fn left(page: &mut Page, stage: &Stage, posted: &Posted) -> anyhow::Result<()> {
    let all = posted.answers().with(&posted.tokens);
    let search = all.search()?;
    let published = search.pieces(&posted.bodies.concat()).len();
    page.line(&format!(
        "  {} pieces of answers, files and the site's tokens are looked for, each of them",
        all.len()
    ));
    page.line(&format!("  {WRITINGS}."));
    page.line("");
    page.held(
        published == all.len(),
        &format!(
            "in what the site posted the search finds {published} of {}: it can find",
            all.len()
        ),
    );
    let found = search.below(&stage.folder, Some(stage.broker_folder()))?;
    page.held(
        found.pieces.is_empty(),
        &format!(
            "in {} files, {} (store and its WAL, vault, logs, keys, mails) it finds {}",
            found.files,
            size(found.bytes),
            found.pieces.len()
        ),
    );
    for place in &found.places {
        page.line(&format!("      in {}", place.display()));
    }
    brokers(page, stage, posted)
}

/// RabbitMQ keeps what it delivered on its disk: said, not hidden. What the site sealed is unreadable there, too.
fn brokers(page: &mut Page, stage: &Stage, posted: &Posted) -> anyhow::Result<()> {
    let sealed = posted.sealed.search()?.below(stage.broker_folder(), None)?;
    let open = posted.open.search()?.below(stage.broker_folder(), None)?;
    page.held(
        sealed.pieces.is_empty(),
        &format!(
            "of the sealed message RabbitMQ's own files hold {} of {}",
            sealed.pieces.len(),
            posted.sealed.len()
        ),
    );
    page.line("");
    page.line(&format!(
        "  To be said: of the messages that the site did not seal, RabbitMQ's own files hold {} of {}.",
        open.pieces.len(),
        posted.open.len()
    ));
    page.line("  It keeps what it has delivered on its disk for a while, and Kvit cannot make it forget.");
    page.line("  A site that seals its messages avoids that; require_sealed = true makes it a rule.");
    Ok(())
}

async fn balance(page: &mut Page, stage: &Stage, posted: &Posted) -> anyhow::Result<()> {
    let now = story::figures(stage).await?;
    page.held(
        now.arrived_difference() == 0 && now.arrived == i64::try_from(posted.bodies.len())?,
        &format!(
            "arrived {} = accepted {} + quarantined {} + duplicates {} + drafts {}",
            now.arrived, now.accepted, now.quarantined, now.duplicates.ignored, now.drafts_ignored
        ),
    );
    page.held(
        now.accepted_difference() == 0 && now.open == 0 && now.deleted == posted.accepted,
        &format!(
            "accepted {} = open {} + deleted {}",
            now.accepted, now.open, now.deleted
        ),
    );
    page.held(
        now.duplicates.possible_mail == 0,
        &format!("mails that may have gone out twice: {}", now.duplicates.possible_mail),
    );
    Ok(())
}

/// The one `OpenPGP` message in a department's mail.
fn sealed_part(mail: &[u8]) -> Option<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
    const END: &[u8] = b"-----END PGP MESSAGE-----";
    let find = |what: &[u8]| mail.windows(what.len()).position(|window| window == what);
    Some(&mail[find(BEGIN)?..find(END)? + END.len()])
}

fn parse(bytes: &[u8]) -> anyhow::Result<Message<'_>> {
    MessageParser::default()
        .parse(bytes)
        .context("a mail that cannot be read")
}

/// Everything in a mail, decoded.
fn content(mail: &Message<'_>) -> Vec<u8> {
    let mut all = mail.subject().unwrap_or_default().as_bytes().to_owned();
    for part in &mail.parts {
        match &part.body {
            PartType::Text(text) | PartType::Html(text) => all.extend_from_slice(text.as_bytes()),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => all.extend_from_slice(bytes),
            PartType::Message(_) | PartType::Multipart(_) => {}
        }
        all.push(b'\n');
    }
    all
}
