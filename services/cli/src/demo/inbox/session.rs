//! One connection's dialogue (RFC 5321).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Behaviour, Mail, Shared, Step};

/// The longest command that is read; RFC 5321 wants 512 octets, its extensions add to it.
const LONGEST_COMMAND: u64 = 4096;
/// The largest message; above what any configuration sends.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;
/// The extensions with parameters, and those of `MAIL FROM` and `RCPT TO` that each brings.
const EXTENSIONS: [Extension; 4] = [
    ("SIZE", &["SIZE"], &[]),
    ("8BITMIME", &["BODY"], &[]),
    ("SMTPUTF8", &["SMTPUTF8"], &[]),
    ("DSN", &["RET", "ENVID"], &["NOTIFY", "ORCPT"]),
];

/// Its name, and the parameters that it brings.
type Extension = (&'static str, &'static [&'static str], &'static [&'static str]);

pub(super) struct Session {
    reader: BufReader<OwnedReadHalf>,
    writer: BufWriter<OwnedWriteHalf>,
    shared: Arc<Shared>,
    number: usize,
    greeted: bool,
    /// The extensions of the last answer to `EHLO`, a line each.
    offered: Vec<String>,
    envelope: Option<Envelope>,
}

#[derive(Default)]
struct Envelope {
    from: String,
    params: Vec<String>,
    recipients: Vec<String>,
    recipient_params: Vec<Vec<String>>,
}

/// How a step ended.
#[derive(PartialEq, Eq)]
enum Outcome {
    Passed,
    Refused,
    /// The connection is over.
    Over,
}

impl Session {
    pub(super) fn new(stream: TcpStream, shared: Arc<Shared>, number: usize) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::new(reader),
            writer: BufWriter::new(writer),
            shared,
            number,
            greeted: false,
            offered: Vec::new(),
            envelope: None,
        }
    }

    /// Talks until either side ends it.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let greeting = "220 inbox.example ESMTP";
        let mut outcome = self.step(Step::Connect, None, greeting).await?;
        while outcome != Outcome::Over {
            let Some(line) = self.command().await? else { break };
            outcome = self.obey(&line).await?;
        }
        self.writer.shutdown().await
    }

    /// The next command; `None` where the client went away or sends something that is none.
    async fn command(&mut self) -> io::Result<Option<String>> {
        self.flush_when_idle().await?;
        let mut line = Vec::new();
        (&mut self.reader)
            .take(LONGEST_COMMAND)
            .read_until(b'\n', &mut line)
            .await?;
        if !line.ends_with(b"\n") {
            if !line.is_empty() {
                self.say("500 5.5.2 line too long").await?;
            }
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        self.shared.change(|state| {
            let connection = &mut state.connections[self.number];
            connection.commands += 1;
            connection.transcript.push(line.clone());
        });
        Ok(Some(line))
    }

    async fn obey(&mut self, line: &str) -> io::Result<Outcome> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.hello(Self::offer()).await,
            "HELO" => self.hello("250 inbox.example").await,
            "MAIL" => self.mail(rest).await,
            "RCPT" => self.rcpt(rest).await,
            "DATA" => self.data().await,
            "RSET" => {
                self.envelope = None;
                self.say("250 2.0.0 reset").await
            }
            "NOOP" => self.say("250 2.0.0 ok").await,
            "VRFY" => self.say("252 2.1.5 send and see").await,
            "QUIT" => {
                self.say("221 2.0.0 bye").await?;
                Ok(Outcome::Over)
            }
            _ => self.say("500 5.5.1 unknown command").await,
        }
    }

    fn offer() -> &'static str {
        "250-inbox.example\r\n250-PIPELINING\r\n250-SIZE 67108864\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES"
    }

    async fn hello(&mut self, usual: &str) -> io::Result<Outcome> {
        self.envelope = None;
        self.offered = offers(usual);
        let outcome = self.step(Step::Ehlo, None, usual).await?;
        self.greeted = outcome == Outcome::Passed;
        Ok(outcome)
    }

    async fn mail(&mut self, rest: &str) -> io::Result<Outcome> {
        if !self.greeted || self.envelope.is_some() {
            return self.say("503 5.5.1 not now").await;
        }
        let (from, params) = match self.path(rest, "FROM:", |(_, mail, _)| mail) {
            Ok(read) => read,
            Err(refusal) => return self.say(refusal).await,
        };
        let utf8 = params.iter().any(|param| param.eq_ignore_ascii_case("SMTPUTF8"));
        if !from.is_ascii() && !utf8 {
            return self.say("553 5.6.7 this address needs SMTPUTF8").await;
        }
        let outcome = self.step(Step::Mail, None, "250 2.1.0 ok").await?;
        if outcome == Outcome::Passed {
            self.envelope = Some(Envelope {
                from,
                params,
                ..Envelope::default()
            });
        }
        Ok(outcome)
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<Outcome> {
        let Some(envelope) = &self.envelope else {
            return self.say("503 5.5.1 MAIL first").await;
        };
        let (to, params) = match self.path(rest, "TO:", |(_, _, rcpt)| rcpt) {
            Ok((to, _)) if to.is_empty() => return self.say("501 5.1.3 no address").await,
            Ok(read) => read,
            Err(refusal) => return self.say(refusal).await,
        };
        let utf8 = envelope
            .params
            .iter()
            .any(|param| param.eq_ignore_ascii_case("SMTPUTF8"));
        if !to.is_ascii() && !utf8 {
            return self.say("553 5.6.7 this address needs SMTPUTF8").await;
        }
        let outcome = self.step(Step::Rcpt, Some(&to), "250 2.1.5 ok").await?;
        if let (Outcome::Passed, Some(envelope)) = (&outcome, &mut self.envelope) {
            envelope.recipients.push(to);
            envelope.recipient_params.push(params);
        }
        Ok(outcome)
    }

    async fn data(&mut self) -> io::Result<Outcome> {
        if self
            .envelope
            .as_ref()
            .is_none_or(|envelope| envelope.recipients.is_empty())
        {
            return self.say("503 5.5.1 RCPT first").await;
        }
        let outcome = self.step(Step::Data, None, "354 go on, end with a dot").await?;
        if outcome != Outcome::Passed {
            return Ok(outcome);
        }
        let Some(data) = self.message().await? else {
            return Ok(Outcome::Over);
        };
        let envelope = self.envelope.take().unwrap_or_default();
        if data.len() > self.largest() {
            return self.say("552 5.3.4 too large").await;
        }
        let eight_bit = |param: &String| param.eq_ignore_ascii_case("BODY=8BITMIME");
        if !data.is_ascii() && !envelope.params.iter().any(eight_bit) {
            return self.say("554 5.6.1 8-bit data without BODY=8BITMIME").await;
        }
        match self.ordered(Step::FinalDot, None).await? {
            Some(Outcome::Passed) => {
                self.keep(envelope, data);
                Ok(Outcome::Passed)
            }
            Some(outcome) => Ok(outcome),
            None => {
                self.keep(envelope, data);
                self.step(Step::Accepted, None, "250 2.0.0 accepted").await
            }
        }
    }

    /// A message up to its final dot, un-stuffed; `None` where the client went away before it. Above the largest size
    /// the rest is read and thrown away.
    async fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.flush_when_idle().await?;
        let mut data = Vec::new();
        let mut line = Vec::new();
        let mut begins = true;
        loop {
            line.clear();
            if self.reader.read_until(b'\n', &mut line).await? == 0 {
                return Ok(None);
            }
            if begins && line == b".\r\n" {
                return Ok(Some(data));
            }
            let stuffed = begins && line.starts_with(b".");
            begins = line.ends_with(b"\r\n");
            if data.len() <= LARGEST_MESSAGE {
                data.extend_from_slice(&line[usize::from(stuffed)..]);
            }
        }
    }

    fn keep(&self, envelope: Envelope, data: Vec<u8>) {
        let mail = Mail {
            connection: self.number,
            mail_from: envelope.from,
            mail_params: envelope.params,
            recipients: envelope.recipients,
            recipient_params: envelope.recipient_params,
            data: data.into(),
            at: Instant::now(),
        };
        self.shared.change(|state| {
            state.connections[self.number].messages += 1;
            state.mails.push(mail);
        });
    }

    /// Does what was ordered for this step, else answers as usual.
    async fn step(&mut self, step: Step, recipient: Option<&str>, usual: &str) -> io::Result<Outcome> {
        match self.ordered(step, recipient).await? {
            Some(outcome) => Ok(outcome),
            None => self.say(usual).await,
        }
    }

    /// Does what was ordered for this step; `None` where nothing was.
    async fn ordered(&mut self, step: Step, recipient: Option<&str>) -> io::Result<Option<Outcome>> {
        let (code, text) = match self.shared.order(step, recipient) {
            None | Some(Behaviour::Accept) => return Ok(None),
            Some(Behaviour::Disconnect { .. }) => return Ok(Some(Outcome::Over)),
            Some(Behaviour::Silence { .. }) => {
                tokio::io::copy_buf(&mut self.reader, &mut tokio::io::sink()).await?;
                return Ok(Some(Outcome::Over));
            }
            Some(Behaviour::Reply { code, text, .. } | Behaviour::Refuse { code, text, .. }) => (code, text),
        };
        let lines: Vec<&str> = text.lines().collect();
        let (last, before) = lines
            .split_last()
            .map_or(("", &[][..]), |(last, before)| (*last, before));
        if step == Step::Ehlo && code < 400 {
            self.offered = lines.iter().skip(1).map(|line| (*line).to_owned()).collect();
        }
        let before: Vec<String> = before.iter().map(|line| format!("{code}-{line}\r\n")).collect();
        self.say(&format!("{}{code} {last}", before.concat())).await?;
        Ok(Some(match code {
            421 => Outcome::Over,
            400.. => Outcome::Refused,
            _ => Outcome::Passed,
        }))
    }

    /// Writes a reply; whether it refuses is its code's to say.
    async fn say(&mut self, reply: &str) -> io::Result<Outcome> {
        self.writer.write_all(reply.as_bytes()).await?;
        self.writer.write_all(b"\r\n").await?;
        let refuses = reply.starts_with(['4', '5']);
        Ok(if refuses { Outcome::Refused } else { Outcome::Passed })
    }

    /// Replies wait for each other while more commands are at hand, and for nothing else.
    async fn flush_when_idle(&mut self) -> io::Result<()> {
        if self.reader.buffer().is_empty() {
            self.writer.flush().await?;
        }
        Ok(())
    }

    /// Whether an extension was offered, with what follows its name.
    fn offers(&self, extension: &str) -> Option<&str> {
        let mut words = self
            .offered
            .iter()
            .map(|line| line.split_once(' ').unwrap_or((line, "")));
        let found = words.find(|(name, _)| name.eq_ignore_ascii_case(extension));
        found.map(|(_, value)| value)
    }

    fn largest(&self) -> usize {
        let named = self.offers("SIZE").and_then(|size| size.trim().parse().ok());
        named.filter(|size| *size > 0).unwrap_or(LARGEST_MESSAGE)
    }

    /// The address and the parameters of `FROM:<address> PARAMETER…`, or the reply that refuses them.
    fn path(
        &self,
        rest: &str,
        keyword: &str,
        parameters: fn(Extension) -> &'static [&'static str],
    ) -> Result<(String, Vec<String>), &'static str> {
        let wrong = "501 5.5.4 wrong syntax";
        let after = rest
            .get(..keyword.len())
            .filter(|start| start.eq_ignore_ascii_case(keyword))
            .map(|_| &rest[keyword.len()..]);
        let (address, params) = after
            .and_then(|after| after.strip_prefix('<'))
            .and_then(|after| after.split_once('>'))
            .ok_or(wrong)?;
        if !(params.is_empty() || params.starts_with(' ')) || address.contains([' ', '<']) {
            return Err(wrong);
        }
        let params: Vec<String> = params.split_whitespace().map(str::to_owned).collect();
        for param in &params {
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            let offered = EXTENSIONS.into_iter().any(|extension| {
                let names = parameters(extension);
                self.offers(extension.0).is_some() && names.iter().any(|known| known.eq_ignore_ascii_case(name))
            });
            if !offered {
                return Err("555 5.5.4 this parameter was not offered");
            }
            if name.eq_ignore_ascii_case("SIZE") && value.parse::<usize>().is_ok_and(|size| size > self.largest()) {
                return Err("552 5.3.4 too large");
            }
        }
        Ok((address.to_owned(), params))
    }
}

/// The extensions that an answer to `EHLO` offers.
fn offers(answer: &str) -> Vec<String> {
    let lines = answer.lines().skip(1);
    lines.map(|line| line.get(4..).unwrap_or_default().to_owned()).collect()
}
