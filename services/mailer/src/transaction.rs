//! One SMTP transaction: the envelope with its token, the mail's bytes, and what the relay's answer means.

use std::time::Duration;

use domain::EmailAddress;
use letter::Parcel;
use lettre::Address;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{MailBodyParameter, MailParameter, RcptParameter};
use lettre::transport::smtp::response::Response;
use memchr::memmem;
use tokio::time::timeout;

/// The time limits of RFC 5321, section 4.5.3.2.
const COMMAND: Duration = Duration::from_mins(5);
const FINAL_DOT: Duration = Duration::from_mins(10);

/// Why a mail was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RelayError {
    /// The relay refused this mail for good.
    #[error("the relay refused the mail ({0})")]
    Refused(u16),
    /// The relay refused this mail for now.
    #[error("the relay asks to try later ({0})")]
    Later(u16),
    /// The relay has a smaller limit than the mail's size.
    #[error("the mail is larger than the relay takes")]
    TooLarge,
    /// The relay does not take addresses beyond ASCII.
    #[error("the relay does not offer SMTPUTF8")]
    NoSmtpUtf8,
    /// The connection failed before the mail was given over.
    #[error("the relay cannot be reached")]
    Unreachable,
    /// The connection failed after the mail was given over and before the answer: it may have been accepted.
    #[error("the relay did not answer after the mail was given over")]
    Unknown,
}

/// What the relay offers beyond SMTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    pub(crate) size: Option<usize>,
    pub(crate) dsn: bool,
    pub(crate) smtp_utf8: bool,
    pub(crate) eight_bit: bool,
    pub(crate) pipelining: bool,
}

impl Offers {
    pub(crate) fn read(hello: &Response) -> Self {
        let mut offers = Self::default();
        for line in hello.message() {
            let mut words = line.split_ascii_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("SIZE") => offers.size = words.next().and_then(|size| size.parse().ok()).filter(|size| *size > 0),
                Some("DSN") => offers.dsn = true,
                Some("SMTPUTF8") => offers.smtp_utf8 = true,
                Some("8BITMIME") => offers.eight_bit = true,
                Some("PIPELINING") => offers.pipelining = true,
                _ => {}
            }
        }
        offers
    }
}

/// One transaction for one recipient: `Ok` once the relay has accepted the mail. Sets `confused` where the relay waits for
/// a mail that it is not to get: nothing more may be said on that connection.
pub(crate) async fn transact(
    smtp: &mut AsyncSmtpConnection,
    offers: Offers,
    bounce: &EmailAddress,
    parcel: &Parcel,
    confused: &mut bool,
) -> Result<(), RelayError> {
    let message = parcel.mail.as_bytes();
    if offers.size.is_some_and(|limit| message.len() > limit) {
        return Err(RelayError::TooLarge);
    }
    let (sender, mut parameters) = sender(offers, bounce, parcel)?;
    if offers.size.is_some() {
        parameters.push(MailParameter::Size(message.len()));
    }
    let (mail, rcpt) = (Mail::new(Some(sender), parameters), recipient(offers, parcel)?);
    if offers.pipelining {
        let begun = command(smtp, format!("{mail}{rcpt}{Data}")).await.map_err(of_sender);
        if begun == Err(RelayError::Unreachable) {
            return begun;
        }
        let taken = answer(smtp.read_response()).await;
        let ready = answer(smtp.read_response()).await;
        *confused = ready.is_ok() && (begun.is_err() || taken.is_err());
        begun.and(taken).and(ready)?;
    } else {
        command(smtp, mail).await.map_err(of_sender)?;
        command(smtp, rcpt).await?;
        command(smtp, Data).await?;
    }
    failpoint::reached("mailer.data").await;
    // lettre ends the data with a line break of its own.
    let body = message.strip_suffix(b"\r\n").unwrap_or(message);
    let given = async {
        match std::str::from_utf8(body) {
            // In one piece: lettre writes the end by itself, and a kernel holds that back until the rest is acknowledged.
            Ok(body) => smtp.command(data(body)).await,
            Err(_) => smtp.message(body).await,
        }
    };
    match timeout(FINAL_DOT, given).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(match failure(&error) {
            RelayError::Unreachable => RelayError::Unknown,
            answered => answered,
        }),
        Err(_) => Err(RelayError::Unknown),
    }
}

/// A refusal of the sender is about this relay's rules, and no fault of this mail: it is mended, and tried again.
fn of_sender(error: RelayError) -> RelayError {
    match error {
        RelayError::Refused(code) => RelayError::Later(code),
        other => other,
    }
}

/// A mail as DATA wants it: no line that could end it but the last (RFC 5321, section 4.5.2).
fn data(body: &str) -> String {
    let mut data = String::with_capacity(body.len() + body.len() / 64 + 8);
    if body.starts_with('.') {
        data.push('.');
    }
    let mut begin = 0;
    for end in memmem::find_iter(body.as_bytes(), b"\n.") {
        data.push_str(&body[begin..=end]);
        data.push('.');
        begin = end + 1;
    }
    data.push_str(&body[begin..]);
    data.push_str("\r\n.\r\n");
    data
}

async fn command(smtp: &mut AsyncSmtpConnection, command: impl std::fmt::Display) -> Result<(), RelayError> {
    answer(smtp.command(command)).await
}

async fn answer(
    answer: impl Future<Output = Result<Response, lettre::transport::smtp::Error>>,
) -> Result<(), RelayError> {
    match timeout(COMMAND, answer).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(RelayError::Unreachable),
    }
}

/// The envelope sender with the mail's token (VERP), so that a bounce says which mail it is about.
fn sender(offers: Offers, bounce: &EmailAddress, parcel: &Parcel) -> Result<(Address, Vec<MailParameter>), RelayError> {
    let token: String = parcel
        .message_id
        .split('@')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let token = token.get(token.len().saturating_sub(24)..).unwrap_or(&token);
    let local = format!("{}+{token}", bounce.local_part());
    let address = Address::new(local, bounce.domain()).map_err(|_| RelayError::Refused(553))?;
    let mut parameters = Vec::new();
    if offers.dsn {
        parameters.push(parameter("RET", "HDRS"));
        parameters.push(parameter("ENVID", token));
    }
    if parcel.to.needs_smtputf8() || bounce.needs_smtputf8() {
        // RFC 6531 wants 8BITMIME beside it: such an address stands in the header, too. Nothing else is beyond ASCII.
        if !offers.smtp_utf8 || !offers.eight_bit {
            return Err(RelayError::NoSmtpUtf8);
        }
        parameters.push(MailParameter::SmtpUtfEight);
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok((address, parameters))
}

fn recipient(offers: Offers, parcel: &Parcel) -> Result<Rcpt, RelayError> {
    let address: Address = parcel.to.expose().parse().map_err(|_| RelayError::Refused(553))?;
    let notify = RcptParameter::Other {
        keyword: "NOTIFY".to_owned(),
        value: Some("FAILURE".to_owned()),
    };
    Ok(Rcpt::new(address, if offers.dsn { vec![notify] } else { Vec::new() }))
}

fn parameter(keyword: &str, value: &str) -> MailParameter {
    MailParameter::Other {
        keyword: keyword.to_owned(),
        value: Some(value.to_owned()),
    }
}

/// What lettre met: a reply by its code, everything else as a lost connection.
pub(crate) fn failure(error: &lettre::transport::smtp::Error) -> RelayError {
    match error.status().map(u16::from) {
        Some(code @ 400..500) => RelayError::Later(code),
        Some(code @ 500..600) => RelayError::Refused(code),
        _ => RelayError::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5321, section 4.5.2: what a mail says cannot end it, and comes out as it went in.
    #[test]
    fn no_line_of_a_mail_ends_it() {
        assert_eq!(data("a\r\n.\r\nb"), "a\r\n..\r\nb\r\n.\r\n");
        assert_eq!(data(".a\r\n..\r\n"), "..a\r\n...\r\n\r\n.\r\n");
        assert_eq!(data("a.\r\nb.c"), "a.\r\nb.c\r\n.\r\n");
        assert_eq!(data(""), "\r\n.\r\n");
    }
}
