//! Keys of whoever watches the demo, each as it is pressed.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use std::future::pending;
use std::io::{self, IsTerminal as _, Read as _};
use tokio::sync::mpsc::{Receiver, channel};

/// Reads keys until it is dropped, which gives the terminal back as it was.
pub(super) struct TerminalKeys {
    keys: Option<Receiver<u8>>,
    before: Option<Termios>,
}

impl TerminalKeys {
    /// Those of standard input. Where that is no terminal, or another program has it, there are none.
    pub(super) fn of_stdin() -> Self {
        let none = Self {
            keys: None,
            before: None,
        };
        let stdin = io::stdin();
        // A program in the background that asks a terminal for anything is stopped.
        let is_ours = || tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
        if !stdin.is_terminal() || !is_ours() {
            return none;
        }
        let Ok(before) = tcgetattr(&stdin) else {
            return none;
        };
        // Keys at once and unseen; Ctrl-C stays a signal, and a line's end on the screen is one.
        let mut modes = before.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        if tcsetattr(&stdin, OptionalActions::Now, &modes).is_err() {
            return none;
        }
        let (sender, keys) = channel(16);
        // It blocks until another key comes, and ends with the process.
        std::thread::spawn(move || {
            let mut key = [0];
            while let Ok(1) = io::stdin().read(&mut key) {
                if sender.blocking_send(key[0]).is_err() {
                    return;
                }
            }
        });
        Self {
            keys: Some(keys),
            before: Some(before),
        }
    }

    pub(super) fn are_read(&self) -> bool {
        self.keys.is_some()
    }

    /// The next one; never, where there are none. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> u8 {
        if let Some(keys) = &mut self.keys
            && let Some(key) = keys.recv().await
        {
            return key;
        }
        pending().await
    }
}

impl Drop for TerminalKeys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that is gone needs nothing.
            tcsetattr(io::stdin(), OptionalActions::Now, before).unwrap_or_default();
        }
    }
}
