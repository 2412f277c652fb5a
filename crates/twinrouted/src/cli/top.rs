//! `twinroute top`: endpoints as they work, on one screen.

mod state;
mod view;

pub(super) use state::TopState;
pub(super) use view::sparks;

use super::ask::AdminTarget;
use super::screen::ScreenSize;
use crate::cli::output;
use crate::stop_signals::StopSignals;
use anyhow::Context as _;
use clap::Args;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use state::{TopKey, TopRequest};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{MissedTickBehavior, interval};

/// Whom to watch.
#[derive(Args, Debug)]
pub(crate) struct TopOptions {
    #[command(flatten)]
    whom: AdminTarget,
    /// How often it is asked, 200ms or more.
    #[arg(long, value_name = "INTERVAL", default_value = "1s")]
    interval: humantime::Duration,
}

/// How often the thread that waits for keys sees whether it is to end.
const KEY_CHECK: Duration = Duration::from_millis(100);

pub(super) async fn run(options: &TopOptions) -> anyhow::Result<ExitCode> {
    let mut state = TopState::new();
    // The first answer comes before the screen is taken over, so that an error is an ordinary one.
    state.update(options.whom.status().await?, Duration::ZERO);
    if !std::io::stdout().is_terminal() {
        // As `top -b -n1`: a screen, once.
        output::print(text(&state)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminal = ratatui::try_init().context("the terminal")?;
    let ended = watch(options, &mut state, &mut terminal).await;
    ratatui::restore();
    ended?;
    Ok(ExitCode::SUCCESS)
}

async fn watch(
    options: &TopOptions,
    state: &mut TopState,
    terminal: &mut ratatui::DefaultTerminal,
) -> anyhow::Result<()> {
    let colors = output::has_colors(&std::io::stdout());
    let mut stop = StopSignals::new()?;
    let keys = KeyReader::start();
    let mut keys_come = keys.keys;
    let mut beat = interval(Duration::from(options.interval).max(Duration::from_millis(200)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Instant::now();
    loop {
        terminal.draw(|frame| view::draw(frame, state, colors))?;
        tokio::select! {
            () = stop.wait() => return Ok(()),
            _ = beat.tick() => match options.whom.status().await {
                Ok(status) => {
                    state.update(status, before.elapsed());
                    before = Instant::now();
                }
                Err(error) => state.message = format!("{error:#}"),
            },
            key = keys_come.recv() => match key {
                None => return Ok(()),
                // The terminal has another size.
                Some(None) => {}
                Some(Some(key)) => match state.press(key) {
                    None => {}
                    Some(TopRequest::Quit) => return Ok(()),
                    Some(TopRequest::Post(path, body, done)) => {
                        let made = options.whom.post(&path, body).await;
                        state.message = made.map_or_else(|error| format!("{error:#}"), |_| done);
                        beat.reset_immediately();
                    }
                },
            },
        }
    }
}

/// A thread that waits for keys, since reading a terminal blocks. It ends within [`KEY_CHECK`] once this is dropped.
struct KeyReader {
    /// Nothing for a change of size.
    keys: Receiver<Option<TopKey>>,
    _ended: EndedFlag,
}

struct EndedFlag(Arc<AtomicBool>);

impl Drop for EndedFlag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl KeyReader {
    fn start() -> Self {
        let (sender, keys) = channel(16);
        let ended = Arc::new(AtomicBool::new(false));
        let is_ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            while !is_ended.load(Ordering::Relaxed) {
                let read = match event::poll(KEY_CHECK) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let key = match read {
                    Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                        let control = key.modifiers.contains(KeyModifiers::CONTROL);
                        key_of(key.code, control)
                    }
                    Ok(Event::Resize(..)) => Some(None),
                    Ok(_) => None,
                    Err(_) => return,
                };
                if let Some(key) = key
                    && sender.blocking_send(key).is_err()
                {
                    return;
                }
            }
        });
        Self {
            keys,
            _ended: EndedFlag(ended),
        }
    }
}

fn key_of(code: KeyCode, control: bool) -> Option<Option<TopKey>> {
    Some(Some(match code {
        // The terminal passes it on as a key while it is in raw mode.
        KeyCode::Char('c') if control => TopKey::Char('q'),
        KeyCode::Char(char) => TopKey::Char(char),
        KeyCode::Up => TopKey::Up,
        KeyCode::Down => TopKey::Down,
        KeyCode::Enter | KeyCode::Right => TopKey::Enter,
        KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => TopKey::Back,
        _ => return None,
    }))
}

/// A screen as text.
fn text(state: &TopState) -> anyhow::Result<String> {
    let size = ScreenSize::of_stdout();
    let columns = u16::try_from(size.columns.unwrap_or(120)).unwrap_or(120);
    let rows = state.rows().len().clamp(3, size.rows) + 4;
    Ok(screen(state, columns, u16::try_from(rows).unwrap_or(60)))
}

fn screen(state: &TopState, columns: u16, rows: u16) -> String {
    let backend = TestBackend::new(columns, rows);
    let mut terminal = Terminal::new(backend).expect("a buffer takes everything");
    let drawn = terminal.draw(|frame| view::draw(frame, state, false));
    drawn.expect("a buffer takes everything");
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(columns)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
