//! Loading a configuration and its forms: what is taken, what is refused, and with which words.

mod folder;
mod forms;
mod layers;
mod settings;
