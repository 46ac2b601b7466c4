//! The ledger's tables, and how they grew. Steps are only added to: a program one step behind still works.

use store::{Journal, Migration, Options};

pub(crate) const OPTIONS: Options = Options {
    schema: "kvit",
    journal: Journal::Wal,
    migrations: &[
        Migration { sql: FIRST },
        Migration { sql: EVIDENCE },
        Migration { sql: SWEEPS },
        Migration { sql: EXTRACTS },
        Migration { sql: FIGURES },
        Migration { sql: RESTORE },
        Migration { sql: PAUSES },
        Migration { sql: JOURNAL },
        Migration { sql: TOLD },
        Migration { sql: PURGE },
        Migration { sql: CONSOLE },
        Migration { sql: OVERVIEW },
    ],
    writers: 4,
    readers: 2,
};

/// The figures count duties by an index alone, however many are finished.
const FIGURES: &str = "
ALTER TABLE duty ADD COLUMN test BIGINT NOT NULL DEFAULT 0;
CREATE INDEX duty_figures ON duty (test, kind, state)";

/// A leaf names its duty, so that a restored ledger learns which of several mails had gone out.
/// A worker says which keys it wraps with, so that an earlier key is not taken away from one that still uses it.
const RESTORE: &str = "
ALTER TABLE leaf ADD COLUMN duty TEXT;
ALTER TABLE worker ADD COLUMN keys TEXT";

/// The embedded journal: its key's public half, cases, entries with their versions, parties (digests alone) and
/// annotations (sealed), packages for an archive; what outside journals answered; and when an unmarked copy is given up.
const JOURNAL: &str = "
ALTER TABLE duty ADD COLUMN expires_at BIGINT;
CREATE INDEX duty_expires ON duty (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE journal_key (fingerprint TEXT PRIMARY KEY, certificate {bytes} NOT NULL, since BIGINT NOT NULL);
CREATE TABLE journal_case (
    number TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    kle TEXT,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT
);
CREATE TABLE journal_marked (submission TEXT PRIMARY KEY, case_number TEXT NOT NULL, title TEXT);
CREATE TABLE journal_entry (
    id TEXT PRIMARY KEY,
    reference TEXT NOT NULL,
    case_number TEXT NOT NULL,
    site TEXT NOT NULL,
    form TEXT NOT NULL,
    department TEXT NOT NULL,
    channel TEXT NOT NULL,
    theme TEXT NOT NULL CHECK (theme <> ''),
    kle TEXT,
    received_at BIGINT NOT NULL,
    journalised_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    period TEXT NOT NULL,
    archive TEXT NOT NULL,
    due_at BIGINT,
    state TEXT NOT NULL,
    ended_at BIGINT,
    ending TEXT
);
CREATE INDEX journal_entry_reference ON journal_entry (reference);
CREATE INDEX journal_entry_received ON journal_entry (received_at);
CREATE INDEX journal_entry_case ON journal_entry (case_number);
CREATE INDEX journal_entry_due ON journal_entry (due_at) WHERE state = 'archived';
CREATE INDEX journal_entry_ending ON journal_entry (id) WHERE state = 'ending';
CREATE TABLE journal_version (
    id TEXT PRIMARY KEY,
    entry TEXT NOT NULL,
    number BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    file TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 {bytes} NOT NULL
);
CREATE UNIQUE INDEX journal_version_entry ON journal_version (entry, number);
CREATE TABLE journal_party (digest {bytes} NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (digest, entry));
CREATE INDEX journal_party_entry ON journal_party (entry);
CREATE TABLE journal_annotation (id TEXT PRIMARY KEY, entry TEXT NOT NULL, at BIGINT NOT NULL, sealed {bytes} NOT NULL);
CREATE INDEX journal_annotation_entry ON journal_annotation (entry);
CREATE TABLE journal_owed (version TEXT PRIMARY KEY, department TEXT NOT NULL, reference TEXT NOT NULL, made_at BIGINT NOT NULL);
CREATE TABLE journal_handover (id TEXT PRIMARY KEY, made_at BIGINT NOT NULL, acknowledged_at BIGINT);
CREATE TABLE journal_handed (handover TEXT NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (handover, entry));
CREATE INDEX journal_handed_entry ON journal_handed (entry);
CREATE TABLE journal_filing (
    duty TEXT PRIMARY KEY,
    submission TEXT NOT NULL,
    target TEXT NOT NULL,
    reference TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX journal_filing_submission ON journal_filing (submission);
CREATE TABLE journal_progress (duty TEXT PRIMARY KEY, step TEXT NOT NULL)";

/// What the console looks up: who did what, among all leaves; and how many registrations an event has.
const CONSOLE: &str = "
CREATE INDEX leaf_actor ON leaf (seq) WHERE actor IS NOT NULL;
CREATE INDEX submission_registered ON submission (event, id)
    WHERE state = 'open' AND kind = 'registration' AND late = 0;
CREATE INDEX duty_unextracted ON duty (submission) WHERE kind = 'extract' AND state NOT IN ('done', 'cancelled')";

/// What departments were told of: mails that are held, and certificates that end.
const TOLD: &str = "
ALTER TABLE duty ADD COLUMN told_at BIGINT;
CREATE INDEX duty_told ON duty (told_at) WHERE told_at IS NOT NULL;
CREATE TABLE certificate_warning (
    department TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    days BIGINT NOT NULL,
    warned_at BIGINT NOT NULL,
    PRIMARY KEY (department, fingerprint, ends_at, days)
)";

const FIRST: &str = "
CREATE TABLE submission (
    id TEXT PRIMARY KEY,
    reference TEXT NOT NULL,
    site TEXT NOT NULL,
    form TEXT NOT NULL,
    kind TEXT NOT NULL,
    department TEXT NOT NULL,
    version BIGINT NOT NULL,
    latest BIGINT NOT NULL,
    late BIGINT NOT NULL,
    test BIGINT NOT NULL,
    state TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    alarm_at BIGINT,
    deleted_at BIGINT,
    rule TEXT,
    site_copy TEXT NOT NULL,
    site_uuid TEXT,
    sid TEXT,
    serial TEXT,
    identity {bytes},
    answers {bytes},
    fields {bytes},
    epoch BIGINT,
    sequence BIGINT,
    changed BIGINT,
    event TEXT,
    hold TEXT
);
CREATE INDEX submission_identity ON submission (identity);
CREATE INDEX submission_reference ON submission (reference);
CREATE INDEX submission_epoch ON submission (epoch) WHERE epoch IS NOT NULL;
CREATE INDEX submission_unfinished ON submission (state, received_at) WHERE state <> 'deleted';
CREATE TABLE duty (
    id TEXT PRIMARY KEY,
    submission TEXT,
    kind TEXT NOT NULL,
    role TEXT NOT NULL,
    department TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    why TEXT,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    next_at BIGINT,
    lease_until BIGINT,
    lease_owner TEXT,
    done_at BIGINT
);
CREATE INDEX duty_submission ON duty (submission);
CREATE INDEX duty_open ON duty (state, kind, next_at) WHERE state IN ('ready', 'sending', 'held', 'failed');
CREATE TABLE payload (
    duty TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    purpose TEXT NOT NULL,
    sealed {bytes} NOT NULL
);
CREATE INDEX payload_owner ON payload (owner);
CREATE TABLE leaf (
    seq {serial},
    submission TEXT,
    event TEXT NOT NULL,
    at BIGINT NOT NULL,
    rule TEXT,
    actor TEXT,
    mac {bytes},
    log_index BIGINT
);
CREATE INDEX leaf_submission ON leaf (submission);
CREATE TABLE outbox (
    seq {serial},
    submission TEXT,
    site TEXT NOT NULL,
    form TEXT NOT NULL,
    event TEXT NOT NULL,
    at BIGINT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX outbox_site ON outbox (site, seq);
CREATE TABLE quarantine (
    id TEXT PRIMARY KEY,
    site TEXT NOT NULL,
    form TEXT,
    department TEXT,
    test BIGINT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    decided_at BIGINT,
    why TEXT,
    notified_at BIGINT,
    body {bytes},
    epoch BIGINT,
    sealed {bytes}
);
CREATE INDEX quarantine_waiting ON quarantine (state, received_at) WHERE state = 'waiting';
CREATE INDEX quarantine_body ON quarantine (body);
CREATE TABLE counter (
    name TEXT NOT NULL,
    site TEXT NOT NULL,
    form TEXT NOT NULL,
    test BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name, site, form, test, shard)
);
CREATE TABLE site_sequence (site TEXT PRIMARY KEY, highest BIGINT NOT NULL, gaps BIGINT NOT NULL);
CREATE TABLE event (
    id TEXT PRIMARY KEY,
    site TEXT NOT NULL,
    form TEXT NOT NULL,
    deadline BIGINT,
    deadline_source TEXT,
    held BIGINT,
    held_source TEXT
);
CREATE TABLE receipt_window (address {bytes} NOT NULL, at BIGINT NOT NULL);
CREATE INDEX receipt_window_address ON receipt_window (address, at);
CREATE INDEX receipt_window_at ON receipt_window (at);
CREATE TABLE alone (body {bytes} PRIMARY KEY, times BIGINT NOT NULL, at BIGINT NOT NULL);
CREATE TABLE certificate (
    department TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    armored {bytes} NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (department, fingerprint)
);
CREATE TABLE worker (id TEXT PRIMARY KEY, service TEXT NOT NULL, started_at BIGINT NOT NULL, seen_at BIGINT NOT NULL);
CREATE TABLE run (
    schedule TEXT NOT NULL,
    planned_at BIGINT NOT NULL,
    worker TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    outcome TEXT,
    PRIMARY KEY (schedule, planned_at)
);
CREATE TABLE request (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    args TEXT NOT NULL,
    state TEXT NOT NULL,
    result TEXT,
    created_at BIGINT NOT NULL,
    done_at BIGINT
);
CREATE INDEX request_open ON request (state, kind) WHERE state = 'open'";

/// The evidence log: which leaf stands where in which year's log, how much of each is signed, who sequences, and which
/// leaf an event follows.
const EVIDENCE: &str = "
ALTER TABLE leaf ADD COLUMN log_year BIGINT;
CREATE INDEX leaf_unsequenced ON leaf (seq) WHERE log_index IS NULL;
CREATE UNIQUE INDEX leaf_sequenced ON leaf (log_year, log_index) WHERE log_index IS NOT NULL;
CREATE TABLE evidence_log (
    year BIGINT PRIMARY KEY,
    origin TEXT NOT NULL,
    size BIGINT NOT NULL,
    signed BIGINT NOT NULL,
    mailed BIGINT NOT NULL
);
CREATE TABLE sequencer (id BIGINT PRIMARY KEY, worker TEXT NOT NULL, until BIGINT NOT NULL);
ALTER TABLE outbox ADD COLUMN leaf BIGINT";

/// What the sweeps look for. SQLite uses a partial index only where the statement says its condition word for word, so
/// there is one for each state.
const SWEEPS: &str = "
DROP INDEX duty_open;
DROP INDEX submission_unfinished;
CREATE INDEX duty_ready ON duty (next_at) WHERE state = 'ready';
CREATE INDEX duty_sending ON duty (lease_until) WHERE state = 'sending';
CREATE INDEX duty_held ON duty (created_at) WHERE state = 'held';
CREATE INDEX submission_open ON submission (received_at) WHERE state = 'open';
CREATE INDEX submission_deleting ON submission (received_at) WHERE state = 'deleting'";

/// What became of each event: its opaque name, its end, its extracts with what each covers, and what is kept of a
/// registration whose submission is gone (its payload is in `payload`, under the row's own id).
const EXTRACTS: &str = "
ALTER TABLE event ADD COLUMN tag TEXT;
ALTER TABLE event ADD COLUMN cancelled_at BIGINT;
ALTER TABLE event ADD COLUMN notified_at BIGINT;
ALTER TABLE event ADD COLUMN erase_code {bytes};
ALTER TABLE event ADD COLUMN erased_at BIGINT;
CREATE INDEX submission_event ON submission (event) WHERE event IS NOT NULL;
CREATE TABLE event_extract (
    id TEXT PRIMARY KEY,
    event TEXT NOT NULL,
    department TEXT NOT NULL,
    test BIGINT NOT NULL,
    confirm TEXT NOT NULL,
    code {bytes},
    duty TEXT NOT NULL,
    covers BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    confirmed_at BIGINT,
    reminded BIGINT NOT NULL
);
CREATE INDEX event_extract_event ON event_extract (event);
CREATE TABLE event_extracted (extract TEXT NOT NULL, submission TEXT NOT NULL, PRIMARY KEY (extract, submission));
CREATE INDEX event_extracted_submission ON event_extracted (submission);
CREATE TABLE registration (
    id TEXT PRIMARY KEY,
    submission TEXT NOT NULL UNIQUE,
    event TEXT NOT NULL,
    ended TEXT
);
CREATE INDEX registration_event ON registration (event)";

/// What a person has put to rest, with what is over.
const PAUSES: &str = "
CREATE TABLE pause (
    seq {serial},
    what TEXT NOT NULL,
    name TEXT NOT NULL,
    why TEXT NOT NULL,
    actor TEXT,
    since BIGINT NOT NULL,
    until BIGINT,
    ended_at BIGINT,
    ended_by TEXT,
    ended_why TEXT
);
CREATE INDEX pause_in_force ON pause (seq) WHERE ended_at IS NULL";

/// What the purge looks over: registrations that are there, in its order, however many messages are finished.
const PURGE: &str = "
CREATE INDEX submission_of_event ON submission (id) WHERE state = 'open' AND event IS NOT NULL";

/// What the overview counts of 100,000 open submissions, by indexes alone: those that are open, and what each kind of duty
/// waits for. The first takes the place of an index on the time alone.
const OVERVIEW: &str = "
CREATE INDEX submission_open_of ON submission (test, received_at) WHERE state = 'open';
DROP INDEX submission_open;
CREATE INDEX duty_waiting ON duty (test, kind, created_at, submission) WHERE state NOT IN ('done', 'cancelled')";
