//! The address of a server, in each form that people write it in.

use crate::harness::{TestDaemon, scene, text, write};
use crate::session::{self, CommandSession, bare};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

#[test]
fn admin_address_is_taken_in_each_form() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    let port = daemon.admin.rsplit_once(':').unwrap().1;
    for address in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("http://127.0.0.1:{port}"),
        format!("http://localhost:{port}/"),
        format!(" HTTP://localhost:{port} "),
    ] {
        let by_option = bare(&["ledger", "--admin", &address]).output().unwrap();
        assert!(
            by_option.status.success(),
            "{address}: {}",
            text(&by_option.stderr)
        );
        let mut by_variable = bare(&["ledger"]);
        let by_variable = by_variable
            .env("TWINROUTE_ADMIN", &address)
            .output()
            .unwrap();
        assert!(
            by_variable.status.success(),
            "{address}: {}",
            text(&by_variable.stderr)
        );
        assert_eq!(by_option.stdout, by_variable.stdout);
    }
    // An option wins over the variable.
    let mut both = bare(&["ledger", "--admin", &daemon.admin]);
    assert!(
        both.env("TWINROUTE_ADMIN", "127.0.0.1:9")
            .output()
            .unwrap()
            .status
            .success()
    );
    let output = bare(&["ledger", "--admin", "localhost"]).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("--admin: has no port: write it as localhost:8081"),
        "{error}"
    );
}

#[test]
fn admin_address_with_the_wrong_scheme_has_the_way_out() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    let https = format!("https://{}", daemon.admin);
    for arguments in [
        ["ledger", "--admin", &https].as_slice(),
        &["instance", "list", "--management-url", &https],
    ] {
        let output = bare(arguments).output().unwrap();
        let error = text(&output.stderr);
        assert!(
            error.contains("does not speak TLS: write http://"),
            "{error}"
        );
        assert!(!error.contains("InvalidContentType"), "{error}");
    }
    // What a server of TLS does with a request in plain HTTP: it closes, or sends an alert.
    for answer in [&b""[..], b"\x15\x03\x01\x00\x02\x02\x46"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 4_096]).unwrap();
            stream.write_all(answer).unwrap();
            assert!(read > 0);
        });
        let output = bare(&["ledger", "--admin", &http]).output().unwrap();
        let error = text(&output.stderr);
        assert!(
            error.contains("if it speaks TLS, write https://"),
            "{error}"
        );
        server.join().unwrap();
    }
}

#[test]
fn admin_address_of_a_variable_set_to_nothing_is_the_default() {
    let output = bare(&["ledger"])
        .env("TWINROUTE_ADMIN", " ")
        .output()
        .unwrap();
    let error = text(&output.stderr);
    assert!(!error.contains("--admin: has no port"), "{error}");
}

#[test]
fn admin_address_and_management_url_may_be_unix_sockets() {
    let folder = session::scene();
    let socket = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let toml = std::fs::read_to_string(folder.path().join("twinroute.toml")).unwrap();
    let toml = toml.replace(
        "[management]\nlisten = ['127.0.0.1:0']",
        &format!(
            "[management]\nlisten = ['127.0.0.1:0', '{}']",
            socket("m.sock")
        ),
    );
    let toml = toml.replace(
        "[admin]\nlisten = ['127.0.0.1:0']",
        &format!("[admin]\nlisten = ['127.0.0.1:0', '{}']", socket("a.sock")),
    );
    write(folder.path(), "twinroute.toml", &toml);
    let session = CommandSession::start(folder.path());
    let admin = bare(&["status", "--admin", &socket("a.sock")])
        .output()
        .unwrap();
    assert!(admin.status.success(), "{}", text(&admin.stderr));
    for words in [
        &["instance", "create", "-n", "plant"][..],
        &["instance", "list"],
        &["route", "list"],
    ] {
        let mut command = bare(words);
        let output = command
            .args(["--management-url", &socket("m.sock")])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            text(&output.stderr)
        );
    }
    let url = session.url.strip_prefix("http://").unwrap();
    let mut command = bare(&["instance", "list"]);
    let output = command.args(["--management-url", url]).output().unwrap();
    assert!(
        text(&output.stdout).contains("plant"),
        "{}",
        text(&output.stderr)
    );
    let gone = socket("gone.sock");
    let output = bare(&["instance", "list", "--management-url", &gone])
        .output()
        .unwrap();
    let error = text(&output.stderr);
    assert!(
        error.contains(&format!("nothing answers at {gone}")),
        "{error}"
    );
}
