//! The evidence: an append-only log that anybody can check without Kvit, its database or its operators.
//!
//! Each year has a log of its own, a folder in the C2SP formats [tlog-tiles], [tlog-checkpoint] and [signed-note]:
//!
//! ```text
//! evidence/2026/checkpoint              origin, size and root hash, signed with Ed25519
//!               verifier.key            the public key, as signed-note writes it
//!               tile/entries/000        the leaves: canonical JSON, 256 to a bundle
//!               tile/0/000.p/12         their hashes (RFC 6962), 256 to a tile; tile/1 the hashes of full tiles, …
//! ```
//!
//! * [`Leaf`] is what the log holds, [`Log`] a year's folder, [`LogKey`] what signs its [`Checkpoint`]s.
//! * [`proof`] makes and checks proofs that a leaf is in a log, and that a log has only grown.
//! * [`verify_folder`] checks a copied folder, alone and against checkpoints that somebody kept.
//! * [`Certificate`] is the proof of one deletion, for a person and for a program.
//!
//! What this crate is not: it knows neither the ledger nor a clock, and holds no personal data.
//!
//! [tlog-tiles]: https://c2sp.org/tlog-tiles
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [signed-note]: https://c2sp.org/signed-note

mod append;
mod certificate;
mod checkpoint;
mod folder;
mod frontier;
mod hash;
mod inclusion;
mod leaf;
mod note;
pub mod proof;
mod tile;
mod verify;

pub use append::Appender;
pub use certificate::{Certificate, CertificateError, Certified};
pub use checkpoint::{Checkpoint, CheckpointError, Signed, Trust};
pub use folder::{FolderError, Log, logs_in};
pub use frontier::Frontier;
pub use hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
pub use inclusion::{Inclusion, ProofError};
pub use leaf::{Leaf, NotALeaf};
pub use note::{KeyError, LogKey, NoteError, VerifierKey};
pub use tile::{TILE_WIDTH, Tile};
pub use verify::{Fault, Verified, verify_folder, verify_log};
