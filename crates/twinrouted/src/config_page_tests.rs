//! Holds `docs/configuration.md` to the code: every key, its default, its row.

use super::*;
use std::fmt::Debug;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The page's complete file: its first TOML block.
fn block() -> &'static str {
    let (_, rest) = PAGE.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

fn config(text: &str) -> anyhow::Result<Config> {
    parse(text, |_| Some("from-the-environment".to_owned()))
}

/// The keys that a table may have, as serde tells them when it meets another one.
fn keys(path: &str) -> Vec<String> {
    let header = if path.is_empty() {
        String::new()
    } else {
        format!("[{path}]\n")
    };
    let error = format!("{:#}", config(&format!("{header}no-key = 1")).unwrap_err());
    let (_, expected) = error
        .split_once("unknown field `no-key`, expected")
        .unwrap();
    let keys = expected.split('`').skip(1).step_by(2);
    keys.map(str::to_owned).collect()
}

/// The part of the page under the heading that names a table.
fn section(path: &str) -> &'static str {
    let heading = match path {
        "" => "Top level".to_owned(),
        _ if path.starts_with("endpoints.") => "`[endpoints.\"name\"]`".to_owned(),
        _ => format!("`[{path}]`"),
    };
    let mut sections = PAGE.split("\n## ").skip(1);
    sections
        .find(|section| section.lines().next().unwrap().contains(&heading))
        .unwrap_or_else(|| panic!("no heading with {heading}"))
}

fn check(path: &str, documented: &toml::Table) {
    for key in keys(path) {
        let inner = match path {
            "" => key.clone(),
            _ => format!("{path}.{key}"),
        };
        let value = documented
            .get(&key)
            .unwrap_or_else(|| panic!("the page's block lacks {inner}"));
        match value {
            toml::Value::Table(tables) if inner == "endpoints" => {
                let (name, table) = tables.iter().next().unwrap();
                check(&format!("endpoints.\"{name}\""), table.as_table().unwrap());
            }
            // Any code may stand in it.
            toml::Value::Table(table) if key == "answers" => assert!(table.is_empty()),
            toml::Value::Table(table) => check(&inner, table),
            _ => assert!(
                section(path).contains(&format!("\n| `{key}` |")),
                "the page has no row for {inner}"
            ),
        }
    }
}

fn same(documented: &impl Debug, default: &impl Debug) {
    assert_eq!(format!("{documented:#?}"), format!("{default:#?}"));
}

#[test]
fn the_page_shows_every_key() {
    check("", &block().parse().unwrap());
}

#[test]
fn the_page_shows_the_defaults() {
    let mut view = config(block()).unwrap();
    let endpoints = std::mem::take(&mut view.endpoints);
    for settings in endpoints.values() {
        assert_eq!(*settings, EndpointSettings::default());
    }
    assert!(view.ingress.webhook_code.take().is_some());
    assert!(view.ingress.tls.take().is_some());
    assert!(view.admin.tls.take().is_some());
    assert!(view.management.tls.take().is_some());
    for access in [
        &mut view.ingress.access,
        &mut view.admin.access,
        &mut view.management.access,
    ] {
        assert!(access.jwt.take().is_some());
    }
    assert!(view.azure.credential.take().is_some());
    assert_eq!(view.ingress.check(), Ok(vec![]));
    assert_eq!(view.admin.check(), Ok(vec![]));
    let identity = &mut view.identity;
    assert!(identity.credential.take().is_some());
    for given in [
        identity.tenant_id.take().is_some(),
        identity.client_id.take().is_some(),
        identity.client_secret_file.take().is_some(),
        identity.certificate_file.take().is_some(),
        identity.token_file.take().is_some(),
        identity.authority.take().is_some(),
    ] {
        assert!(given);
    }
    assert!(view.secrets.key_vault.take().is_some());
    let azure = &mut view.azure;
    for file in [
        &mut azure.ca_file,
        &mut azure.client_secret_file,
        &mut azure.certificate_file,
        &mut azure.token_file,
        &mut azure.secrets_folder,
    ] {
        assert!(file.take().is_some());
    }
    for text in [
        &mut azure.routes_url,
        &mut azure.tenant_id,
        &mut azure.client_id,
        &mut azure.authority,
    ] {
        assert!(text.take().is_some());
    }
    assert!(view.outgoing.proxy.take().is_some());
    assert!(view.tracing.endpoint.take().is_some());
    assert!(view.tracing.headers_file.take().is_some());
    same(&view, &Config::default());
}
