//! The crate from outside, with GnuPG and Python as independent readers.

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod common;
#[cfg(test)]
mod files;
#[cfg(test)]
mod mails;
#[cfg(test)]
mod sealing;
#[cfg(test)]
mod unsealing;
