use super::*;
use crate::sink::{Connect, ConnectError, Sink};
use std::sync::Arc;
use twinroute_model::settings::EndpointSettings;

const HUB: &str = r#"{"properties":{"endpointType":"EventHub","connectionStringPrimaryKey":
    "Endpoint=sb://h;SharedAccessKeyName=r;SharedAccessKey=k;EntityPath=e"}}"#;

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn folder(root: &Path) -> DefinitionFolder {
    DefinitionFolder::new(root, InstanceName::new("main").unwrap())
}

#[test]
fn instances_stand_in_their_own_folders() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "endpoints/hub-1.json", HUB);
    write(root.path(), "endpoints/.hub-2.json", "not read");
    write(root.path(), "endpoints/notes.txt", "not read");
    write(
        root.path(),
        "routes/r1.json",
        r#"{"endpointName":"HUB-1","filter":"true"}"#,
    );
    write(root.path(), "instances/second/endpoints/hub-1.json", HUB);
    let instances = folder(root.path()).read().unwrap();
    let summary: Vec<_> = instances
        .iter()
        .map(|instance| {
            (
                instance.name.as_str(),
                instance.endpoints.len(),
                instance.routes.len(),
            )
        })
        .collect();
    assert_eq!(summary, [("main", 1, 1), ("second", 1, 0)]);
}

#[test]
fn all_faults_come_at_once_with_file_and_line() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "endpoints/a_b.json", HUB);
    write(
        root.path(),
        "endpoints/bad-json.json",
        "{\n\"properties\": }",
    );
    write(
        root.path(),
        "endpoints/grid-1.json",
        "{\"properties\": {\n\"endpointType\": \"EventGrid\",\n\"accessKey1\": \"***\",\n\
         \"TopicEndpoint\": \"https://t/api/events\"}}",
    );
    write(root.path(), "endpoints/hub-1.json", HUB);
    write(root.path(), "endpoints/Hub-1.json", HUB);
    write(root.path(), "routes/r1.json", r#"{"endpointName":"HUB-1"}"#);
    write(
        root.path(),
        "routes/r2.json",
        "{\"endpointName\":\"HUB-1\",\n\"filter\":\"a b\"}",
    );
    let faults = folder(root.path()).read().unwrap_err().to_string();
    let faults = faults.replace(&format!("{}/", root.path().display()), "");
    let expect = "\
        endpoints/a_b.json: endpoint name \"a_b\": consists of letters, digits and hyphens\n\
        endpoints/bad-json.json:2: endpoint bad-json: is not JSON: expected value at line 2 column 15\n\
        endpoints/grid-1.json:3: endpoint grid-1: `properties.accessKey1`: is a mask; put the real access key here\n\
        endpoints/hub-1.json: endpoint hub-1: has the name of endpoints/Hub-1.json; names ignore case\n\
        routes/r1.json:1: route r1: `filter`: required, but missing; `true` routes every event\n\
        routes/r2.json:2: route main/r2: Parsing error, Line=1, Position=3, Message=Unexpected input 'b'\n    \
        a b\n      ^";
    assert_eq!(
        faults.replace("has the name of /", "has the name of "),
        expect
    );
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let faults = folder(&root.path().join("none")).read().unwrap_err();
    assert!(
        faults
            .to_string()
            .ends_with("is not there, or not a folder"),
        "{faults}"
    );
}

#[test]
fn a_file_says_from_where_an_instance_is_reached() {
    let root = tempfile::tempdir().unwrap();
    let closed = r#"{"properties":{"publicNetworkAccess":"Disabled","privateEndpointConnections":[
        {"name":"c1","properties":{"privateLinkServiceConnectionState":{"status":"Approved"}}}]}}"#;
    write(root.path(), "instances/second/instance.json", closed);
    let instances = folder(root.path()).read().unwrap();
    assert_eq!(instances[0].network, NetworkAccess::default());
    let found: Vec<_> = instances[1].network.connections.iter().collect();
    assert_eq!((found.len(), found[0].name.as_str()), (1, "c1"));
    let wrong = "{\"properties\":\n{\"publicNetworkAccess\":\n\"Open\"}}";
    write(root.path(), "instance.json", wrong);
    let faults = folder(root.path()).read().unwrap_err().to_string();
    assert!(
        faults.ends_with(
            "instance.json:2: instance: `properties.publicNetworkAccess`: must be Enabled or Disabled; read \
             as Disabled"
        ),
        "{faults}"
    );
}

#[test]
fn text_hygiene_of_definitions_in_utf_16_names_the_way_out() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("endpoints/hub-1.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let units = HUB.encode_utf16().flat_map(u16::to_le_bytes);
    let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
    fs::write(file, bytes).unwrap();
    let faults = folder(root.path()).read().unwrap_err().to_string();
    assert!(faults.contains("save it as UTF-8"), "{faults}");
}

/// What is not read counts as absent, and an absent endpoint is removed with its queue.
#[cfg(unix)]
#[test]
fn lost_watch_neighbours_that_cannot_be_read_are_faults_and_not_absent() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "endpoints/hub-1.json", HUB);
    let read = || {
        let faults = folder(root.path()).read().err();
        faults.map_or_else(String::new, |faults| faults.to_string())
    };
    assert_eq!(read(), "");
    let link = |to: &str, at: &str| {
        let at = root.path().join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, at).unwrap();
    };
    for (at, expect) in [
        ("endpoints/hub-2.json", "cannot be read: No such file"),
        ("routes/r1.json", "cannot be read: No such file"),
        ("instances/second", "cannot be read: No such file"),
    ] {
        link("nowhere", at);
        let text = read();
        assert!(text.contains(expect) && text.contains(at), "{at}: {text}");
        fs::remove_file(root.path().join(at)).unwrap();
    }
    link("hub-2.json", "endpoints/hub-2.json");
    assert!(read().contains("hub-2.json"), "a link to itself");
    fs::remove_file(root.path().join("endpoints/hub-2.json")).unwrap();
    fs::create_dir(root.path().join("endpoints/hub-2.json")).unwrap();
    assert!(
        read().contains("is not a file; remove or rename it"),
        "a folder in place of a file"
    );
    fs::remove_dir(root.path().join("endpoints/hub-2.json")).unwrap();
    link("hub-1.json", "endpoints/.hidden.json");
    write(root.path(), "instances/notes.txt", "no instance");
    assert_eq!(read(), "");
}

/// Connects to nothing.
struct NoSinks;

impl Connect for NoSinks {
    fn connect(&self, _: &Endpoint, _: &EndpointSettings) -> Result<Arc<dyn Sink>, ConnectError> {
        unreachable!("there are no endpoints")
    }
}

#[test]
fn folders_below_routes_are_not_ignored_in_silence() {
    let root = tempfile::tempdir().unwrap();
    let route = r#"{"endpointName":"hub-1","filter":"true"}"#;
    write(root.path(), "endpoints/hub-1.json", HUB);
    write(root.path(), "endpoints/hub-2.JSON", HUB);
    write(root.path(), "endpoints/old/hub-3.json", HUB);
    write(root.path(), "endpoints/notes/readme.txt", "nothing of ours");
    write(root.path(), "routes/.trash/r0.json", route);
    write(root.path(), "routes/plant/r1.json", route);
    write(root.path(), "instances/second/routes/plant/r2.json", route);
    write(root.path(), "instances/third.json", "{}");
    let folder = folder(root.path());
    folder.read().unwrap();
    let definitions = crate::source::Definitions {
        folder: Some(folder),
        ..Default::default()
    };
    let warnings = crate::check(&definitions, &NoSinks).unwrap();
    let text = warnings
        .join("\n")
        .replace(&root.path().display().to_string(), "D");
    for (at, way_out) in [
        ("endpoints/hub-2.JSON", "let its name end in `.json`"),
        ("endpoints/old/hub-3.json", "move it to D/endpoints"),
        ("routes/plant/r1.json", "move it to D/routes"),
        (
            "instances/second/routes/plant/r2.json",
            "move it to D/instances/second/routes",
        ),
        (
            "instances/third.json",
            "move it to `endpoints` or `routes` of its instance",
        ),
    ] {
        let warning = format!("D/{at}: is not read: {way_out}, or rename it");
        assert!(text.contains(&warning), "{text}");
    }
    assert_eq!(text.matches("is not read").count(), 5, "{text}");
}
