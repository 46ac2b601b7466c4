//! What a message is the same as: keyed digests of its identity, its answers and its fields.

use domain::{Form, SiteId};
use vault::{Digest, Index};

use crate::check::Checked;
use crate::digest;
use crate::message::Message;
use crate::shapes::{Headers, Incoming, normalised};

/// How many bytes of a digest a field keeps of its name, and as many of its value.
const PART: usize = 16;

/// The digests of one message.
pub(crate) struct Identity {
    /// Under the current epoch; what is stored.
    pub(crate) current: Digest,
    /// Under every live epoch, where repeats are to be looked for at all.
    pub(crate) sought: Vec<Vec<u8>>,
    /// The answers', likewise.
    pub(crate) answers: Digest,
    pub(crate) answers_sought: Vec<Vec<u8>>,
    /// What serialises those of one identity among replicas.
    pub(crate) lock: i64,
    canonicals: Vec<(String, Vec<u8>)>,
}

impl Identity {
    /// By uuid, else by `message_id`; with neither, only a delivery that the broker marks as repeated can be a repeat,
    /// since two citizens may give equal answers.
    pub(crate) fn of(
        index: &Index,
        message: &Message,
        headers: &Headers,
        incoming: &Incoming,
        checked: &Checked,
        form: &Form,
    ) -> Self {
        let site = message.site.as_str().as_bytes();
        let answers = digest::canonical(form, &checked.answers);
        let (label, what, looks) = match (&incoming.envelope.uuid, &headers.message_id) {
            (Some(uuid), _) => ("identity uuid", uuid.as_bytes(), true),
            (None, Some(id)) => ("identity message", id.as_bytes(), true),
            (None, None) => ("identity answers", answers.as_slice(), message.redelivered),
        };
        let parts = [site, what];
        let bytes = |digests: Vec<Digest>| digests.into_iter().map(|digest| digest.bytes).collect();
        let parts_of_answers = [site, form.id.as_str().as_bytes(), &answers];
        Self {
            current: index.digest(label, &parts),
            sought: if looks {
                bytes(index.digests(label, &parts))
            } else {
                Vec::new()
            },
            answers: index.digest("answers", &parts_of_answers),
            answers_sought: bytes(index.digests("answers", &parts_of_answers)),
            lock: lock(index, label, &parts),
            canonicals: digest::field_canonicals(form, &checked.answers),
        }
    }

    /// The fields' digests under the current epoch, to be stored.
    pub(crate) fn fields(&self, index: &Index) -> Vec<u8> {
        self.fields_under(index, self.current.epoch).concat()
    }

    fn fields_under(&self, index: &Index, epoch: i64) -> Vec<Vec<u8>> {
        let under = |label, parts: &[&[u8]]| {
            let digests = index.digests(label, parts);
            digests
                .into_iter()
                .find(|digest| digest.epoch == epoch)
                .map(|digest| digest.bytes)
        };
        self.canonicals
            .iter()
            .filter_map(|(key, value)| {
                let name = under("field name", &[key.as_bytes()])?;
                let value = under("field value", &[key.as_bytes(), value])?;
                Some([&name[..PART], &value[..PART]].concat())
            })
            .collect()
    }

    /// The keys of the fields that differ from those whose digests were stored.
    pub(crate) fn changed_since(&self, index: &Index, stored: Option<&(i64, Vec<u8>)>) -> Vec<String> {
        let Some((epoch, stored)) = stored else {
            return Vec::new();
        };
        let before: Vec<&[u8]> = stored.chunks_exact(2 * PART).collect();
        let now = self.fields_under(index, *epoch);
        self.canonicals
            .iter()
            .zip(now)
            .filter(|(_, digest)| !before.contains(&digest.as_slice()))
            .map(|((key, _), _)| key.clone())
            .collect()
    }
}

/// The digests that a site's uuid is found by, however it is written.
pub(crate) fn of_uuid(index: &Index, site: &SiteId, uuid: &str) -> Vec<Vec<u8>> {
    let uuid = normalised(uuid.to_owned());
    let digests = index.digests("identity uuid", &[site.as_str().as_bytes(), uuid.as_bytes()]);
    digests.into_iter().map(|digest| digest.bytes).collect()
}

pub(crate) fn lock(index: &Index, label: &str, parts: &[&[u8]]) -> i64 {
    let name = index.name(label, parts);
    i64::from_be_bytes(name[..8].try_into().expect("a digest has eight bytes"))
}
