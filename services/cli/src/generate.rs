//! `kvit generate`: manual pages and completions, made of the command lines themselves, for whoever makes packages.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use runtime::{Exit, exit};

use crate::args::{Arguments, GenerateArgs};

/// The services, whose command lines are all of one kind.
const SERVICES: [&str; 5] = [
    "kvit-intake",
    "kvit-mailer",
    "kvit-journaliser",
    "kvit-scheduler",
    "kvit-console",
];
/// The shells that Debian's people use.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

pub(crate) fn run(args: &GenerateArgs) -> anyhow::Result<u8> {
    write(&args.dir).map_err(Exit::io)?;
    Ok(exit::OK)
}

fn write(dir: &Path) -> std::io::Result<()> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Arguments::command(), &man)?;
    for service in SERVICES {
        clap_mangen::generate_to(runtime::command(service), &man)?;
    }
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Arguments::command(), "kvit", &completions)?;
        for service in SERVICES {
            clap_complete::generate_to(shell, &mut runtime::command(service), service, &completions)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_and_every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join("man").join(name)).unwrap();
        for name in ["kvit.1", "kvit-pause.1", "kvit-evidence-verify.1"] {
            assert!(page(name).starts_with(".ie"), "{name}");
        }
        for service in SERVICES {
            assert!(page(&format!("{service}.1")).contains("check\\-config"), "{service}");
        }
        assert!(page("kvit-pause.1").contains("department"));
        assert!(!dir.path().join("man/kvit-generate.1").exists(), "it is for packagers");
        let bash = std::fs::read_to_string(dir.path().join("completions/kvit.bash")).unwrap();
        assert!(
            bash.contains("queue department form"),
            "what can be paused is completed"
        );
    }
}
