//! `twinroute graph`: instances, routes and endpoints as a drawing.

use super::ask::AdminTarget;
use super::exit;
use crate::cli::output;
use crate::config::LoadedConfig;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use twinroute_model::visible::one_line;

/// Characters of a filter that are drawn.
const FILTER_MAX: usize = 60;

/// What is drawn, and in which language.
#[derive(Args, Debug)]
pub(crate) struct GraphOptions {
    /// Draws the definitions of this configuration, instead of those that a running twinroute uses.
    #[arg(long, short)]
    config: Option<PathBuf>,
    #[command(flatten)]
    whom: AdminTarget,
    /// The language of the drawing.
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    format: GraphFormat,
}

/// A language of drawings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// For Markdown pages.
    Mermaid,
    /// For Graphviz.
    Dot,
}

/// An instance as it is drawn.
struct DrawnInstance {
    name: String,
    /// Name and type.
    endpoints: Vec<(String, String)>,
    /// Id, endpoint and filter.
    routes: Vec<(String, String, String)>,
}

pub(super) async fn run(options: &GraphOptions) -> anyhow::Result<ExitCode> {
    let instances = match &options.config {
        Some(file) => {
            let loaded = match LoadedConfig::read(file) {
                Ok(loaded) => loaded,
                Err(error) => return Ok(exit::not_started(&error)),
            };
            loaded.need_files("graph")?;
            match loaded.definitions() {
                Ok(definitions) => of_definitions(&definitions),
                Err(faults) => return Ok(exit::not_started(&faults.into())),
            }
        }
        None => of_status(&options.whom.status().await?),
    };
    output::print(match options.format {
        GraphFormat::Mermaid => mermaid(&instances),
        GraphFormat::Dot => dot(&instances),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn of_definitions(definitions: &twinroute_router::source::Definitions) -> Vec<DrawnInstance> {
    let instances = definitions.instances.iter();
    let drawn = instances.map(|instance| DrawnInstance {
        name: instance.name.to_string(),
        endpoints: instance
            .endpoints
            .iter()
            .map(|endpoint| {
                (
                    endpoint.name.to_string(),
                    endpoint.endpoint_type().to_owned(),
                )
            })
            .collect(),
        routes: instance
            .routes
            .iter()
            .map(|route| {
                (
                    route.id.to_string(),
                    route.endpoint_name.to_string(),
                    route.filter.clone(),
                )
            })
            .collect(),
    });
    drawn.collect()
}

fn of_status(status: &twinroute_router::status::RouterStatus) -> Vec<DrawnInstance> {
    let instances = status.instances.iter();
    let drawn = instances.map(|instance| DrawnInstance {
        name: instance.name.clone(),
        endpoints: instance
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.name.clone(), endpoint.endpoint_type.clone()))
            .collect(),
        routes: instance
            .routes
            .iter()
            .map(|route| {
                (
                    route.id.clone(),
                    route.endpoint.clone(),
                    route.filter.clone(),
                )
            })
            .collect(),
    });
    drawn.collect()
}

impl DrawnInstance {
    /// The place of a route's endpoint; none where it names one that is not there.
    fn target(&self, endpoint: &str) -> Option<usize> {
        let mut endpoints = self.endpoints.iter();
        endpoints.position(|(name, _)| name.eq_ignore_ascii_case(endpoint))
    }
}

fn mermaid(instances: &[DrawnInstance]) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (number, instance) in instances.iter().enumerate() {
        let label = |label: &str| quoted_for_mermaid(label);
        writeln!(text, "  subgraph i{number}[\"{}\"]", label(&instance.name)).expect(TAKES);
        writeln!(text, "    i{number}in([\"events\"])").expect(TAKES);
        for (place, (name, kind)) in instance.endpoints.iter().enumerate() {
            writeln!(
                text,
                "    i{number}e{place}[(\"{}<br/>{}\")]",
                label(name),
                label(kind)
            )
            .expect(TAKES);
        }
        for (place, (id, endpoint, filter)) in instance.routes.iter().enumerate() {
            let filter = label(&cut_filter(filter));
            let route = format!("i{number}r{place}");
            writeln!(
                text,
                "    i{number}in --> {route}[\"{}<br/>{filter}\"]",
                label(id)
            )
            .expect(TAKES);
            if let Some(target) = instance.target(endpoint) {
                writeln!(text, "    {route} --> i{number}e{target}").expect(TAKES);
            }
        }
        text.push_str("  end\n");
    }
    text
}

fn dot(instances: &[DrawnInstance]) -> String {
    let mut text = "digraph twinroute {\n  rankdir=LR;\n".to_owned();
    for (number, instance) in instances.iter().enumerate() {
        let label = |label: &str| quoted_for_dot(label);
        writeln!(text, "  subgraph cluster_{number} {{").expect(TAKES);
        writeln!(text, "    label=\"{}\";", label(&instance.name)).expect(TAKES);
        writeln!(text, "    i{number}in [label=\"events\", shape=oval];").expect(TAKES);
        for (place, (name, kind)) in instance.endpoints.iter().enumerate() {
            let label = format!("{}\\n{}", label(name), label(kind));
            writeln!(
                text,
                "    i{number}e{place} [label=\"{label}\", shape=cylinder];"
            )
            .expect(TAKES);
        }
        for (place, (id, endpoint, filter)) in instance.routes.iter().enumerate() {
            let label = format!("{}\\n{}", label(id), label(&cut_filter(filter)));
            let route = format!("i{number}r{place}");
            writeln!(text, "    {route} [label=\"{label}\", shape=box];").expect(TAKES);
            writeln!(text, "    i{number}in -> {route};").expect(TAKES);
            if let Some(target) = instance.target(endpoint) {
                writeln!(text, "    {route} -> i{number}e{target};").expect(TAKES);
            }
        }
        text.push_str("  }\n");
    }
    text.push_str("}\n");
    text
}

const TAKES: &str = "a String takes everything";

fn cut_filter(filter: &str) -> String {
    let flat = filter.split_whitespace().collect::<Vec<_>>().join(" ");
    super::ask::cut(&flat, FILTER_MAX)
}

/// Mermaid takes HTML's names of characters, written with `#`.
fn quoted_for_mermaid(text: &str) -> String {
    let mut out = String::new();
    for character in one_line(text).chars() {
        match character {
            '#' => out.push_str("#35;"),
            '"' => out.push_str("#quot;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '`' => out.push_str("#96;"),
            other => out.push(other),
        }
    }
    out
}

/// DOT: `\"` within quotes, and a backslash begins what it calls an escape.
fn quoted_for_dot(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn plant() -> Vec<DrawnInstance> {
        let text = str::to_owned;
        vec![DrawnInstance {
            name: text("plant-1"),
            endpoints: vec![
                (text("hub-1"), text("EventHub")),
                (text("grid-1"), text("EventGrid")),
            ],
            routes: vec![
                (
                    text("hot"),
                    text("HUB-1"),
                    text("type = \"a\"\n AND $body.x > 1"),
                ),
                (text("lost"), text("gone"), text("true")),
            ],
        }]
    }

    #[test]
    fn drawing_for_mermaid() {
        expect![[r#"
            flowchart LR
              subgraph i0["plant-1"]
                i0in(["events"])
                i0e0[("hub-1<br/>EventHub")]
                i0e1[("grid-1<br/>EventGrid")]
                i0in --> i0r0["hot<br/>type = #quot;a#quot; AND $body.x #gt; 1"]
                i0r0 --> i0e0
                i0in --> i0r1["lost<br/>true"]
              end
        "#]]
        .assert_eq(&mermaid(&plant()));
    }

    #[test]
    fn drawing_for_graphviz() {
        expect![[r#"
            digraph twinroute {
              rankdir=LR;
              subgraph cluster_0 {
                label="plant-1";
                i0in [label="events", shape=oval];
                i0e0 [label="hub-1\nEventHub", shape=cylinder];
                i0e1 [label="grid-1\nEventGrid", shape=cylinder];
                i0r0 [label="hot\ntype = \"a\" AND $body.x > 1", shape=box];
                i0in -> i0r0;
                i0r0 -> i0e0;
                i0r1 [label="lost\ntrue", shape=box];
                i0in -> i0r1;
              }
            }
        "#]]
        .assert_eq(&dot(&plant()));
    }
}
