//! Reads the `console` blocks of a page.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are named as pages.
const SCENES: &str = "crates/twinrouted/tests/pages/scenes";

/// A page and its blocks.
pub(crate) struct DocsPage {
    pub(crate) text: String,
    /// A folder of files that the page takes for granted, in the reader's folder beside `config/`.
    pub(crate) scene: Option<PathBuf>,
    pub(crate) blocks: Vec<FencedBlock>,
}

/// What stands in one fence.
#[derive(Debug)]
pub(crate) struct FencedBlock {
    /// Of its fence, from 1.
    pub(crate) line: usize,
    pub(crate) treatment: BlockTreatment,
    pub(crate) numbers: NumberRule,
    pub(crate) commands: Vec<ShownCommand>,
}

#[derive(Debug)]
pub(crate) enum BlockTreatment {
    Run {
        /// Commands that go before it.
        prepare: Vec<String>,
    },
    NotRun {
        reason: String,
    },
}

/// Whether numbers are the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberRule {
    Same,
    Vary,
}

/// A command and what it is shown to print.
#[derive(Debug)]
pub(crate) struct ShownCommand {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) output: Vec<String>,
}

impl DocsPage {
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(root.join(path)).unwrap();
        let blocks = blocks(&text);
        let scene = path.file_stem().map(|name| root.join(SCENES).join(name));
        Self {
            text,
            scene: scene.filter(|folder| folder.is_dir()),
            blocks,
        }
    }
}

fn blocks(text: &str) -> Vec<FencedBlock> {
    let mut blocks = Vec::new();
    let mut comments: Vec<String> = Vec::new();
    // Commands that make the shown files, for the next block that runs.
    let mut files: Vec<String> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        if let Some(begun) = trimmed.strip_prefix("<!--") {
            let mut comment = begun.to_owned();
            while !comment.contains("-->") {
                let Some((_, more)) = lines.next() else { break };
                comment.push('\n');
                comment.push_str(more);
            }
            let comment = comment.split("-->").next().unwrap_or_default();
            comments.push(comment.trim().to_owned());
        } else if trimmed.starts_with("```") {
            let indent = line.len() - trimmed.len();
            let within = lines
                .by_ref()
                .take_while(|(_, line)| !line.trim_start().starts_with("```"));
            let within: Vec<(usize, &str)> = within
                .map(|(number, line)| (number + 1, line.get(indent..).unwrap_or_default()))
                .collect();
            if trimmed == "```console" {
                let mut block = block(number + 1, &comments, &within);
                if let BlockTreatment::Run { prepare } = &mut block.treatment {
                    files.append(prepare);
                    *prepare = std::mem::take(&mut files);
                }
                blocks.push(block);
            }
            let names = comments
                .iter()
                .filter_map(|line| line.strip_prefix("file:"));
            files.extend(names.map(|name| file(name.trim(), &within)));
            comments.clear();
        } else {
            comments.clear();
        }
    }
    blocks
}

/// What a reader does with a file that the page shows.
fn file(name: &str, within: &[(usize, &str)]) -> String {
    let lines = within.iter().map(|(_, line)| format!("{line}\n"));
    let text: String = lines.collect();
    format!(
        "mkdir -p $(dirname {name}); cat > {name} <<'END OF FILE'\n{text}END OF FILE\nchmod 600 {name}"
    )
}

fn block(line: usize, comments: &[String], within: &[(usize, &str)]) -> FencedBlock {
    let mut prepare = Vec::new();
    let mut reason = None;
    let mut numbers = NumberRule::Same;
    for comment in comments {
        if let Some(why) = comment.strip_prefix("not run:") {
            reason = Some(why.trim().to_owned());
        } else if let Some(commands) = comment.strip_prefix("prepare:") {
            prepare.push(commands.trim().to_owned());
        } else if comment == "numbers vary" {
            numbers = NumberRule::Vary;
        }
    }
    let treatment = match reason {
        Some(reason) => BlockTreatment::NotRun { reason },
        None => BlockTreatment::Run { prepare },
    };
    FencedBlock {
        line,
        treatment,
        numbers,
        commands: commands(within),
    }
}

fn commands(within: &[(usize, &str)]) -> Vec<ShownCommand> {
    let mut commands: Vec<ShownCommand> = Vec::new();
    for (number, line) in within {
        if let Some(text) = line.strip_prefix("$ ") {
            commands.push(ShownCommand {
                line: *number,
                text: text.to_owned(),
                output: Vec::new(),
            });
        } else if let Some(command) = commands.last_mut() {
            if command.output.is_empty() && goes_on(&command.text) {
                command.text.push('\n');
                command.text.push_str(line);
            } else {
                command.output.push((*line).to_owned());
            }
        }
    }
    commands
}

/// Whether a shell waits for more of a command: its line ends in a backslash, or within quotes.
fn goes_on(command: &str) -> bool {
    let mut quote = None;
    let mut chars = command.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None | Some('"'), '\\') => {
                let escaped = chars.next().unwrap_or('\n');
                if escaped == '\n' && chars.peek().is_none() {
                    return true;
                }
            }
            (None, '\'' | '"') => quote = Some(char),
            (None, '#') => while chars.next_if(|char| *char != '\n').is_some() {},
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    quote.is_some()
}

#[test]
fn pages_commands_are_told_apart_from_their_output() {
    let page = "\
text
<!-- prepare: cd x -->
<!-- numbers vary -->
```console
$ curl a \\
    -d '
{\"a\":1}'
HTTP/1.1 202

$ echo b   # it's fine
b
```
<!-- file: c/d.toml -->
```toml
e = 1
```
<!-- not run: it needs an account -->
```console
$ az login
```
```console
$ echo f
```
```json
$ no command
```
";
    let blocks = blocks(page);
    assert_eq!(blocks.len(), 3);
    let texts: Vec<&str> = blocks[0]
        .commands
        .iter()
        .map(|command| command.text.as_str())
        .collect();
    assert_eq!(
        texts,
        ["curl a \\\n    -d '\n{\"a\":1}'", "echo b   # it's fine"]
    );
    assert_eq!(blocks[0].commands[0].output, ["HTTP/1.1 202", ""]);
    assert_eq!(blocks[0].numbers, NumberRule::Vary);
    assert!(
        matches!(&blocks[0].treatment, BlockTreatment::Run { prepare } if prepare == &["cd x"])
    );
    assert!(matches!(
        &blocks[1].treatment,
        BlockTreatment::NotRun { .. }
    ));
    let BlockTreatment::Run { prepare } = &blocks[2].treatment else {
        panic!("{:?}", blocks[2])
    };
    assert!(prepare[0].contains("> c/d.toml") && prepare[0].contains("\ne = 1\n"));
}
