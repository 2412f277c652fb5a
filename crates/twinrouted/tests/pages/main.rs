//! The pages of the documentation, run as a reader would run them: every `console` block of README.md and docs/ is
//! typed into a shell, and what comes out is what the page shows.
//!
//! A page is one session in a copy of `config/`, its blocks in their order. A block that cannot run here has a comment
//! with the reason right above it: `<!-- not run: … -->`. Others that are understood there: `<!-- prepare: … -->`, commands
//! that the text tells of in words, and `<!-- numbers vary -->`. A comment
//! `<!-- file: NAME -->` above any other fence has it written to that file. Files that a page takes for granted without
//! showing them stand in the folder `scenes/` under its name. Times, hashes and latencies are elided, a line `...`
//! stands for any lines, and `…` at the end of one for the rest of it.
//!
//! Documented ports are taken by others on a machine that works: each session has free ones in their place, in commands,
//! in files and, the other way round, in what comes out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod compare;
mod page;
mod session;

use page::{BlockTreatment, DocsPage, FencedBlock};
use session::PageSession;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

/// README.md and everything below docs/, relative to the repository.
fn pages() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(repository().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Follows a page from its first block to its last.
fn follow(name: &str) {
    let page = DocsPage::read(&repository(), Path::new(name));
    let mut session = PageSession::start(&page);
    let mut complaints = 0;
    for block in &page.blocks {
        if let BlockTreatment::Run { prepare } = &block.treatment {
            for command in prepare {
                session.prepare(command);
            }
            complaints += usize::from(!fits(&mut session, name, block));
        }
    }
    assert_eq!(complaints, 0, "blocks of {name} differ");
}

/// Follows a block, and says at once where it differs: a later command may panic.
fn fits(session: &mut PageSession, name: &str, block: &FencedBlock) -> bool {
    for command in &block.commands {
        if let Err(difference) = session.follow(command, block.numbers) {
            let (line, text) = (command.line, &command.text);
            eprintln!("{name}:{line}: $ {text}\n{difference}\n");
            return false;
        }
    }
    true
}

/// The pages that have a session; a page with blocks that run must be among them.
const FOLLOWED: [&str; 10] = [
    "README.md",
    "docs/emulator.md",
    "docs/guide/network.md",
    "docs/guide/sidecar.md",
    "docs/management-api.md",
    "docs/http-api.md",
    "docs/operations.md",
    "docs/guide/daemon.md",
    "docs/guide/identity.md",
    "docs/configuration.md",
];

#[test]
fn pages_readme_tour_can_be_followed() {
    follow(FOLLOWED[0]);
}

#[test]
fn pages_emulator_can_be_followed() {
    follow(FOLLOWED[1]);
}

#[test]
fn pages_network_guide_can_be_followed() {
    follow(FOLLOWED[2]);
}

#[test]
fn pages_sidecar_guide_can_be_followed() {
    follow(FOLLOWED[3]);
}

#[test]
fn pages_management_api_can_be_followed() {
    follow(FOLLOWED[4]);
}

#[test]
fn pages_http_api_can_be_followed() {
    follow(FOLLOWED[5]);
}

#[test]
fn pages_operations_can_be_followed() {
    follow(FOLLOWED[6]);
}

#[test]
fn pages_daemon_guide_can_be_followed() {
    follow(FOLLOWED[7]);
}

#[test]
fn pages_identity_guide_can_be_followed() {
    follow(FOLLOWED[8]);
}

#[test]
fn pages_configuration_can_be_followed() {
    follow(FOLLOWED[9]);
}

#[test]
fn pages_blocks_run_or_say_why_not() {
    let mut blocks = 0;
    for path in pages() {
        let page = DocsPage::read(&repository(), &path);
        let name = path.to_str().unwrap();
        for block in &page.blocks {
            blocks += 1;
            match &block.treatment {
                BlockTreatment::NotRun { reason } => {
                    assert!(reason.len() > 10, "{name}:{}: say why", block.line);
                }
                BlockTreatment::Run { .. } => assert!(
                    FOLLOWED.contains(&name),
                    "{name}:{}: the block is not run; follow the page here, or say why not above the block: \
                     <!-- not run: … -->",
                    block.line
                ),
            }
            assert!(
                !block.commands.is_empty(),
                "{name}:{}: nothing to run",
                block.line
            );
        }
    }
    assert!(blocks > 50, "the pages were not found");
}
