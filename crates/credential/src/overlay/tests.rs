use super::*;
use crate::secret_field::SECRET_BYTES_MAX;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

fn instance(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}

fn endpoint(name: &str) -> EndpointName {
    EndpointName::new(name).unwrap()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| (format!("{PREFIX}{name}"), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn write(root: &Path, file: &str, text: &[u8], mode: u32) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What is found for `names` (`instance/endpoint`), as `instance/endpoint.field=secret`, and problems.
fn check(overlay: &SecretOverlay, names: &[&str]) -> (Vec<String>, Vec<String>) {
    let names: Vec<_> = names
        .iter()
        .map(|name| name.split_once('/').unwrap())
        .map(|(a, b)| (instance(a), endpoint(b)))
        .collect();
    let secrets = overlay.secrets(names.iter().map(|(a, b)| (a, b)));
    let mut found = Vec::new();
    for (instance, endpoint) in &names {
        for field in SecretField::ALL {
            if let Some(secret) = secrets.get(instance, endpoint, field) {
                let secret = secret.expose();
                found.push(format!("{instance}/{endpoint}.{}={secret}", field.name()));
            }
        }
    }
    (found, secrets.problems().to_vec())
}

#[test]
fn variables_name_an_endpoint_with_or_without_its_instance() {
    let overlay = SecretOverlay::new(
        None,
        variables(&[
            ("HUB_1__ACCESS_KEY1", "wide\n"),
            ("HUB_1__ACCESSKEY2", "second"),
            ("MAIN__HUB_1__ACCESSKEY1", "narrow"),
        ]),
    );
    let (found, problems) = check(&overlay, &["main/Hub-1", "other/hub-1"]);
    let expect = [
        "main/Hub-1.accessKey1=narrow",
        "main/Hub-1.accessKey2=second",
        "other/hub-1.accessKey1=wide",
        "other/hub-1.accessKey2=second",
    ];
    assert_eq!(found, expect);
    assert_eq!(problems, [] as [&str; 0]);
}

#[test]
fn a_variable_that_means_two_endpoints_serves_neither() {
    let given = variables(&[
        ("ABC__DEF__ACCESSKEY1", "key"),
        ("ABC__ACCESSKEY1", "other"),
    ]);
    let overlay = SecretOverlay::new(None, given);
    let (found, problems) = check(&overlay, &["abc/def", "main/abc--def", "main/abc"]);
    assert_eq!(found, ["main/abc.accessKey1=other"]);
    let expect = "environment variable TWINROUTE_SECRET_ABC__DEF__…: may mean endpoint abc/def or \
                  endpoint abc--def and is used for neither; use files, or rename one";
    assert_eq!(problems, [expect]);
}

#[test]
fn what_cannot_be_used_is_named_without_its_value() {
    let overlay = SecretOverlay::new(
        None,
        variables(&[
            ("HUB_1__ACCESS_KEY1", "(PLACEHOLDER)"),
            ("HUB_1__ACCESS_KEY2", "\n"),
            ("HUB_1__ACCESSKEYS", "s3cret"),
            ("HUB_1__DEADLETTERSECRET", "s3cret"),
            ("HUB_1__DEAD_LETTER_SECRET", "s3cret2"),
            ("HUB_2__ACCESSKEY1", &"s3cret".repeat(10_000)),
            ("HUP_1__ACCESSKEY1", "s3cret"),
        ]),
    );
    let (found, problems) = check(&overlay, &["main/hub-1"]);
    assert_eq!(found, ["main/hub-1.deadLetterSecret=s3cret"]);
    let head = "environment variable TWINROUTE_SECRET_";
    let expect = [
        "HUB_1__ACCESSKEYS: ends in no field; it is __ACCESS_KEY1, __PRIMARY_CONNECTION_STRING, …",
        "HUB_1__ACCESS_KEY1: holds a mask, as read APIs show it; put the real secret there",
        "HUB_1__ACCESS_KEY2: holds no text",
        "HUB_1__DEAD_LETTER_SECRET: means the same as TWINROUTE_SECRET_HUB_1__DEADLETTERSECRET, \
         which is used",
        "HUB_2__ACCESSKEY1: is larger than 16384 bytes",
        "HUP_1__ACCESSKEY1: no such endpoint",
    ];
    let expect: Vec<_> = expect.iter().map(|text| format!("{head}{text}")).collect();
    assert_eq!(problems, expect);
    let debug_text = format!("{overlay:?} {:?}", overlay.secrets([]));
    assert!(!debug_text.contains("s3cret"), "{debug_text}");
}

#[test]
fn files_are_found_through_the_links_that_kubernetes_makes() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "..2026_11/hub-1/accessKey1", b"old\r\n", 0o400);
    write(root.path(), "..2026_12/hub-1/accessKey1", b"new\n", 0o400);
    write(
        root.path(),
        "..2026_12/main/hub-1/accessKey2",
        b"narrow",
        0o400,
    );
    symlink("..2026_11", root.path().join("..data")).unwrap();
    symlink("..data/hub-1", root.path().join("hub-1")).unwrap();
    symlink("..data/main", root.path().join("main")).unwrap();
    let overlay = SecretOverlay::new(Some(root.path().to_owned()), []);
    let (found, problems) = check(&overlay, &["main/hub-1"]);
    assert_eq!(found, ["main/hub-1.accessKey1=old"]);
    let main = root.path().join("main");
    let dangling = format!("{}: No such file or directory (os error 2)", main.display());
    assert_eq!(problems, [dangling]);

    symlink("..2026_12", root.path().join("..data_tmp")).unwrap();
    fs::rename(root.path().join("..data_tmp"), root.path().join("..data")).unwrap();
    let (found, problems) = check(&overlay, &["main/hub-1"]);
    assert_eq!(
        found,
        ["main/hub-1.accessKey1=new", "main/hub-1.accessKey2=narrow"]
    );
    assert_eq!(problems, [] as [&str; 0]);
}

#[test]
fn strange_files_are_named_and_the_others_used() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "accessKey1", b"k", 0o600);
    write(root.path(), "hub-1/accessKey1", b"k1", 0o600);
    write(root.path(), "HUB-1/accesskey1", b"k2", 0o600);
    write(root.path(), "hub-1/accessKey2", b"\xff\xfe", 0o600);
    write(root.path(), "hub-1/acesKey", b"k", 0o600);
    write(root.path(), "hub-2/accessKey1", b"k", 0o644);
    write(
        root.path(),
        "hub-1/deadLetterSecret",
        &[b'x'; SECRET_BYTES_MAX + 1],
        0o600,
    );
    write(root.path(), "a/b/c/accessKey1", b"k", 0o600);
    let overlay = SecretOverlay::new(Some(root.path().to_owned()), []);
    let (found, problems) = check(&overlay, &["main/hub-1"]);
    assert_eq!(found, ["main/hub-1.accessKey1=k2"]);
    let head = format!("{}/", root.path().display());
    let problems: Vec<_> = problems
        .iter()
        .map(|text| text.replace(&head, ""))
        .collect();
    let expect = [
        "a/b/c: is too deep: <instance>/<endpoint>/<field>",
        "accessKey1: stands in no folder of an endpoint: <endpoint>/<field>",
        "hub-1/accessKey1: means the same as HUB-1/accesskey1, which is used",
        "hub-1/accessKey2: is not UTF-8 text",
        "hub-1/acesKey: has the name of no secret field",
        "hub-1/deadLetterSecret: is larger than 16384 bytes",
        "hub-2/accessKey1: has mode 0644, so everybody may use it; run: chmod 0600 hub-2/accessKey1 (of a \
         Kubernetes secret, set defaultMode: 0400)",
    ];
    assert_eq!(problems, expect);
}

#[test]
fn a_folder_that_is_not_there_holds_nothing_and_ways_name_it() {
    let overlay = SecretOverlay::new(Some("/nowhere/secrets".into()), []);
    let secrets = overlay.secrets([]);
    assert_eq!(secrets.problems(), [] as [&str; 0]);
    let ways = secrets.ways(
        &instance("main"),
        &endpoint("hub-1"),
        SecretField::AccessKey1,
    );
    let expect = "the environment variable TWINROUTE_SECRET_HUB_1__ACCESS_KEY1 (or \
                  TWINROUTE_SECRET_MAIN__HUB_1__ACCESS_KEY1) or the file \
                  /nowhere/secrets/hub-1/accessKey1";
    assert_eq!(ways, expect);
}

#[test]
fn every_field_is_known_as_messages_write_it() {
    for field in SecretField::ALL {
        assert_eq!(SecretField::of(field.variable()), Some(field));
        assert_eq!(SecretField::of(field.name()), Some(field));
    }
}
