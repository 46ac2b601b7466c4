//! A journal on a `WebDAV` server (RFC 4918): a collection for each case, in it one for each entry with its bag.
//!
//! The tag manifest goes last, so a bag that has one is whole: an attempt that was cut off is gone on with, and a whole one
//! is recognised. What an attempt uploads is the same to the byte each time.

use std::sync::Arc;

use reqwest::Method;
use reqwest::header::IF_NONE_MATCH;

use super::http::{Server, done, refusal};
use super::{Answer, Receipt};
use crate::describe;
use crate::entry::Entry;

const LAST: &str = "tagmanifest-sha256.txt";
const NOT_FOUND: u16 = 404;
const EXISTS: u16 = 405;
const PRECONDITION_FAILED: u16 = 412;

/// The server.
pub(crate) struct Webdav {
    pub(super) server: Server,
}

impl Webdav {
    pub(super) async fn put(&self, entry: Arc<Entry>) -> Answer {
        let whose = Place {
            case: entry.submission.reference.to_string(),
            entry: entry.id.to_string(),
        };
        match self.upload(&entry, &whose).await {
            Ok(true) => Answer::Done(whose.receipt()),
            Ok(false) => Answer::Exists(whose.receipt()),
            Err(answer) => answer,
        }
    }

    pub(super) async fn probe(&self) -> Result<(), Answer> {
        let method = Method::from_bytes(b"PROPFIND").expect("a method's name");
        let request = self.server.request(method, &[]).header("Depth", "0");
        done(request, &[]).await.map(drop)
    }

    /// Whether it was put there now.
    async fn upload(&self, entry: &Entry, whose: &Place) -> Result<bool, Answer> {
        let whole = self.server.request(Method::HEAD, &whose.file(LAST));
        if done(whole, &[NOT_FOUND]).await?.status().is_success() {
            return Ok(false);
        }
        self.collection(&[&whose.case]).await?;
        self.collection(&[&whose.case, &whose.entry]).await?;
        let refused = |_| Answer::Refused(domain::Reason::Unreadable);
        let mut files = describe::bag(entry).map_err(refused)?.into_files();
        // A bag is flat but for two folders.
        for folder in ["data", "metadata"] {
            self.collection(&[&whose.case, &whose.entry, folder]).await?;
        }
        files.sort_by_key(|(path, _)| path == LAST);
        for (path, content) in files {
            self.file(&whose.file(&path), content).await?;
        }
        Ok(true)
    }

    async fn collection(&self, segments: &[&str]) -> Result<(), Answer> {
        let method = Method::from_bytes(b"MKCOL").expect("a method's name");
        done(self.server.request(method, segments), &[EXISTS]).await.map(drop)
    }

    /// Puts a file where there is none; one that is there is this entry's own, of an attempt that was cut off, and is
    /// replaced where it was cut off too.
    async fn file(&self, segments: &[&str], content: Vec<u8>) -> Result<(), Answer> {
        let put = self.server.request(Method::PUT, segments).header(IF_NONE_MATCH, "*");
        let response = done(put.body(content.clone()), &[PRECONDITION_FAILED]).await?;
        if response.status().is_success() {
            return Ok(());
        }
        let there = done(self.server.request(Method::GET, segments), &[]).await?;
        let same = there.bytes().await.is_ok_and(|bytes| bytes == content);
        if same {
            return Ok(());
        }
        let replaced = done(self.server.request(Method::PUT, segments).body(content), &[]).await?;
        if replaced.status().is_success() {
            Ok(())
        } else {
            Err(refusal(replaced.status()))
        }
    }
}

/// Where an entry lies.
struct Place {
    case: String,
    entry: String,
}

impl Place {
    fn file<'a>(&'a self, path: &'a str) -> Vec<&'a str> {
        let mut segments = vec![self.case.as_str(), self.entry.as_str()];
        segments.extend(path.split('/'));
        segments
    }

    fn receipt(&self) -> Receipt {
        Receipt {
            reference: format!("{}/{}", self.case, self.entry),
            version: None,
        }
    }
}
