//! Exit codes: 78 is for what only an edit can fix, so that a service manager starts again after everything else.

use crate::harness::{PATIENCE, scene, text, twinroute, write};
use crate::session::bare;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;
use tempfile::TempDir;

/// A configuration with more tables; the definitions are those of every test.
fn with_tables(tables: &str) -> TempDir {
    let folder = scene();
    write(
        folder.path(),
        "twinroute.toml",
        &format!("instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n{tables}"),
    );
    folder
}

/// Starts a daemon that cannot start.
fn check(folder: &Path, code: i32, said: &str) {
    let mut child = twinroute()
        .args(["run", "--config"])
        .arg(folder.join("twinroute.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let latest = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < latest {
        std::thread::yield_now();
    }
    // Nothing happens where it has ended.
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}: {error}");
    assert!(error.contains(said), "{error}");
}

const LISTEN: &str = "[ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n";

#[test]
fn exit_78_is_not_for_a_busy_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for table in ["ingress", "admin", "management"] {
        let mut tables = "[table]\nsource = 'store'\n".to_owned();
        for other in ["ingress", "admin", "management"] {
            let listen = match other == table {
                true => address.to_string(),
                false => "127.0.0.1:0".to_owned(),
            };
            tables += &format!("[{other}]\nlisten = ['{listen}']\n");
        }
        let folder = with_tables(&tables);
        check(folder.path(), 75, &format!("listen on {address}: cannot "));
    }
}

#[test]
fn exit_78_is_not_for_an_address_that_is_not_there_yet() {
    // Kept for documentation: no interface has it.
    let folder = with_tables("[ingress]\nlisten = ['192.0.2.1:8080']\nallow_anonymous = true\n");
    check(folder.path(), 75, "listen on 192.0.2.1:8080: cannot bind");
}

#[test]
fn exit_78_is_not_for_a_socket_whose_folder_is_missing_or_that_is_taken() {
    let folder = scene();
    let path = folder.path().join("run/twinroute.sock");
    let tables = format!("[ingress]\nlisten = ['unix:{}']\n", path.display());
    let folder = with_tables(&tables);
    check(folder.path(), 73, "cannot bind: No such file or directory");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    check(folder.path(), 73, "the path exists and is not a socket");
    fs::remove_file(&path).unwrap();
    let _taken = UnixListener::bind(&path).unwrap();
    check(folder.path(), 75, "another process answers there");
}

#[test]
fn exit_78_is_not_for_a_disk_that_cannot_be_written() {
    for (tables, said) in [
        (
            "[journal]\npath = '/dev/null/journal'\n",
            "/dev/null/journal",
        ),
        ("[audit]\npath = '/dev/null/audit'\n", "/dev/null/audit"),
        (
            "[table]\nsource = 'store'\n[management]\npath = '/dev/null/store'\n",
            "/dev/null/store",
        ),
    ] {
        let folder = with_tables(&format!("{LISTEN}{tables}"));
        check(folder.path(), 73, said);
    }
}

#[test]
fn exit_78_is_not_for_what_another_process_holds() {
    let folder = with_tables(&format!("{LISTEN}[journal]\npath = 'data'\n"));
    let mut first = twinroute()
        .args(["run", "--config"])
        .arg(folder.path().join("twinroute.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(first.stderr.take().unwrap());
    let ready = log
        .lines()
        .map(Result::unwrap)
        .any(|line| line.contains("accepts events"));
    assert!(ready);
    check(folder.path(), 75, "another process has it open");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn exit_78_is_not_for_files_that_come_later() {
    let folder = scene();
    let output = bare(&["run", "--config", "/none/twinroute.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(66), "{}", text(&output.stderr));
    fs::rename(folder.path().join("table"), folder.path().join("elsewhere")).unwrap();
    check(folder.path(), 66, "the folder of definitions ");
    let tls = "listen_tls = ['127.0.0.1:0']\ntls = { certificate = 'a.pem', key = 'b.pem' }\n";
    let token = "listen = ['127.0.0.1:0']\naccess = { tokens = [{ name = 'a', role = 'read', token_file = 'none' }] }\n";
    for (tables, said) in [
        (format!("[ingress]\n{tls}"), "a.pem: cannot read it"),
        (
            format!("[ingress]\nlisten = ['127.0.0.1:0']\n[admin]\n{token}"),
            "token file ",
        ),
        (
            format!("{LISTEN}[outgoing]\nca_files = ['none.pem']\n"),
            "none.pem",
        ),
        (
            format!(
                "{LISTEN}[identity]\ncredential = 'client-secret'\ntenant_id = 't'\nclient_id = 'c'\n\
                 client_secret_file = 'none'\n"
            ),
            "[identity]: ",
        ),
    ] {
        let folder = with_tables(&tables);
        check(folder.path(), 66, said);
    }
}

#[test]
fn exit_78_is_not_for_who_does_not_answer() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let folder = with_tables(&format!(
        "{LISTEN}[table]\nsource = 'azure'\n[azure]\nmanagement_url = 'http://{address}'\n\
         routes_url = 'http://{address}'\nsubscription = '11111111-1111-1111-1111-111111111111'\n\
         resource_group = 'rg'\ninstance = 'demo'\ncredential = 'token'\ntoken_file = 'azure.token'\n"
    ));
    write(folder.path(), "azure.token", "writer-0123456789");
    check(folder.path(), 69, "there are no definitions to begin with");
}

#[test]
fn exit_78_is_for_what_only_an_edit_can_fix() {
    for (tables, said) in [
        ("[ingress]\nlisten = ['127.0.0.1']\n", "line 5"),
        ("[ingress]\nlisten = []\n", "must name at least one address"),
        (
            "[ingress]\nlisten = ['${TWINROUTE_NOT_SET}']\n",
            "TWINROUTE_NOT_SET",
        ),
    ] {
        let folder = with_tables(tables);
        check(folder.path(), 78, said);
    }
}

/// The page, the table in the source and the unit of the guide tell of the same codes.
#[test]
fn exit_codes_stand_on_their_page() {
    let root = crate::harness::repository();
    let page = fs::read_to_string(root.join("docs/exit-codes.md")).unwrap();
    let source = fs::read_to_string(root.join("crates/twinrouted/src/cli/exit.rs")).unwrap();
    let codes = |text: &str, prefix: &str| -> Vec<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix(prefix));
        let cells = rows.filter_map(|row| row.split('|').next());
        let codes = cells.map(|cell| cell.trim().to_owned());
        codes.filter(|code| code.parse::<u8>().is_ok()).collect()
    };
    let listed = codes(&page, "|");
    assert!(listed.len() > 10, "{listed:?}");
    assert_eq!(listed, codes(&source, "//! |"));
    let guide = fs::read_to_string(root.join("docs/guide/daemon.md")).unwrap();
    assert!(guide.contains("RestartPreventExitStatus=78"));
}
