//! Colors are for terminals, and for nobody who does not want them.

use crate::harness::text;
use crate::session::bare;

#[test]
fn no_color_is_honored() {
    let colored = |variables: &[(&str, &str)]| {
        let mut command = bare(&["status", "--no-such-option"]);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"] {
            command.env_remove(name);
        }
        let output = command.envs(variables.iter().copied()).output().unwrap();
        text(&output.stderr).contains('\u{1b}')
    };
    assert!(colored(&[("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    // No terminal.
    assert!(!colored(&[("CLICOLOR", "1"), ("TERM", "xterm")]));
}
