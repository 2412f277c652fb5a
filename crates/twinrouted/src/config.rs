//! The configuration file: read, checked, defaults filled in.

mod cluster;
mod effective;
mod journal;
mod mistake;
mod mistakes;
mod overrides;
pub(crate) mod reference;
mod variables;

pub(crate) use cluster::ClusterConfig;
pub(crate) use effective::{EffectiveValue, effective};
pub(crate) use journal::JournalConfig;
pub(crate) use mistake::ConfigMistakes;
pub(crate) use overrides::ConfigOverrides;

use crate::cli::exit;
use crate::logging::{self, LogFormat};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use twinroute_arm::source::AzureSettings;
use twinroute_audit::AuditSettings;
use twinroute_credential::key_vault::SecretsSettings;
use twinroute_credential::login::LoginMethod;
use twinroute_credential::settings::{LoginSettings, SecretVariables};
use twinroute_model::clock::SystemClock;
use twinroute_model::name::InstanceName;
use twinroute_model::secret::Secret;
use twinroute_model::settings::EndpointSettings;
use twinroute_otlp::SpanExport;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::accept::AckLevel;
use twinroute_router::source::{
    DefinitionFault, DefinitionFaults, DefinitionFolder, Definitions, Settings,
};
use twinroute_router::trace::SpanQueue;

/// Where the secrets of `[identity]` come from, where no file is named.
const IDENTITY_VARIABLES: SecretVariables = SecretVariables {
    client_secret: "TWINROUTE_IDENTITY_CLIENT_SECRET",
    token: "TWINROUTE_IDENTITY_TOKEN",
};

/// Everything that is set for `twinroute run`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The default instance, whose events are posted to `/events`.
    pub(crate) instance: String,
    /// The folder of definitions, relative to this file.
    pub(crate) definitions: PathBuf,
    /// Whether the system may write core dumps, which hold secrets.
    pub(crate) core_dumps: bool,
    /// How long lanes may finish at a stop.
    #[serde(with = "humantime_serde")]
    pub(crate) shutdown_grace: Duration,
    /// How long the lane of a removed endpoint may finish.
    #[serde(with = "humantime_serde")]
    pub(crate) removed_grace: Duration,
    pub(crate) ingress: twinroute_ingress::Settings,
    pub(crate) admin: twinroute_admin::Settings,
    pub(crate) table: TableSettings,
    pub(crate) azure: AzureSettings,
    pub(crate) identity: LoginSettings,
    pub(crate) secrets: SecretsSettings,
    pub(crate) management: twinroute_management::Settings,
    pub(crate) journal: JournalConfig,
    pub(crate) cluster: ClusterConfig,
    pub(crate) audit: AuditSettings,
    pub(crate) outgoing: twinroute_outgoing::Settings,
    pub(crate) tracing: twinroute_otlp::Settings,
    pub(crate) log: LogConfig,
    pub(crate) endpoints: BTreeMap<String, EndpointSettings>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: "default".to_owned(),
            definitions: PathBuf::from("."),
            core_dumps: false,
            shutdown_grace: Duration::from_secs(10),
            removed_grace: Duration::from_secs(300),
            ingress: twinroute_ingress::Settings::default(),
            admin: twinroute_admin::Settings::default(),
            table: TableSettings::default(),
            azure: AzureSettings::default(),
            identity: LoginSettings::default(),
            secrets: SecretsSettings::default(),
            management: twinroute_management::Settings::default(),
            journal: JournalConfig::default(),
            cluster: ClusterConfig::default(),
            audit: AuditSettings::default(),
            outgoing: twinroute_outgoing::Settings::default(),
            tracing: twinroute_otlp::Settings::default(),
            log: LogConfig::default(),
            endpoints: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Checks what types cannot, but not the definitions. Gives warnings.
    ///
    /// # Errors
    /// Everything that is wrong, by table and key.
    pub(crate) fn check(&self) -> Result<Vec<String>, Vec<String>> {
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        for (table, checked) in [
            ("ingress", self.ingress.check()),
            ("admin", self.admin.check()),
            ("management", self.management.check()),
            ("tracing", self.tracing.check()),
        ] {
            match checked {
                Ok(found) => warnings.extend(found.iter().map(|text| format!("[{table}]: {text}"))),
                Err(error) => errors.push(format!("[{table}]: {error}")),
            }
        }
        if !self.ingress.is_served() && !self.management.is_served() {
            errors.push(
                "[ingress]: listen or listen_tls must name at least one address, unless the management API \
                 is served ([management] listen)"
                    .to_owned(),
            );
        }
        if self.table.source == SourceKind::Azure {
            match self.azure.check() {
                Ok(found) => warnings.extend(found.iter().map(|text| format!("[azure]: {text}"))),
                Err(error) => errors.push(format!("[azure]: {error}")),
            }
        }
        if let Err(error) = self.identity.check() {
            errors.push(format!("[identity]: {error}"));
        }
        if let Err(error) = self.check_secrets() {
            errors.push(format!("[secrets]: {error}"));
        }
        if let Err(error) = self.outgoing.check() {
            errors.push(format!("[outgoing]: {error}"));
        }
        errors.extend(self.unavailable_ack().map(str::to_owned));
        self.journal.check(&mut errors);
        self.cluster.check(&mut errors);
        if self.cluster.is_shared() && self.journal.on_disk() {
            errors.push(
                "[cluster]: events stand in the log that is shared: leave path in [journal] out"
                    .to_owned(),
            );
        }
        warnings.extend(self.key_beside_events());
        if let Err(error) = self.audit.check() {
            errors.push(format!("[audit]: {error}"));
        }
        if let Err(error) = logging::filter(&self.log.filter) {
            errors.push(format!("[log]: {error}"));
        }
        if errors.is_empty() {
            Ok(warnings)
        } else {
            Err(errors)
        }
    }
}

impl Config {
    /// Sealed events whose key lies in the same folder tell everything to who copies it.
    fn key_beside_events(&self) -> Option<String> {
        let management = &self.management;
        let beside = self.table.source == SourceKind::Files
            && management.key_file.as_os_str().is_empty()
            && management.key_variable.is_empty();
        (self.journal.seal && beside).then(|| {
            "[journal]: seal: the key is in the journal's folder, so that a copy of the folder can be opened; keep \
             it elsewhere with key_file or key_variable in [management]"
                .to_owned()
        })
    }

    /// Why the level that producers get unless they ask is not available.
    fn unavailable_ack(&self) -> Option<&'static str> {
        match (self.ingress.ack?, self.cluster.is_shared()) {
            (AckLevel::Delivered, true) => Some(
                "[ingress]: ack = \"delivered\" is not available: another router of the cluster may be the one that \
                 delivers; use \"replicated\" or \"durable\"",
            ),
            (AckLevel::Replicated, false) => Some(
                "[ingress]: ack = \"replicated\" is not available: this router shares its journal with no other; use \
                 \"durable\" with path in [journal], or set urls in [cluster]",
            ),
            (AckLevel::Durable, false) if !self.journal.on_disk() => Some(
                "[ingress]: ack = \"durable\" is not available: the journal is in memory; set \
                 [journal] path, or use \"memory\" or \"delivered\"",
            ),
            _ => None,
        }
    }

    fn check_secrets(&self) -> Result<(), String> {
        let Some(vault) = self.secrets.vault() else {
            return Ok(());
        };
        if self.table.source != SourceKind::Azure {
            return Err(
                "key_vault is for definitions that come without their secrets: it needs source = \
                 \"azure\" in [table]"
                    .to_owned(),
            );
        }
        if self.identity.credential.is_none() {
            return Err("key_vault needs a credential in [identity]".to_owned());
        }
        vault.check()
    }
}

/// Where definitions come from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TableSettings {
    pub(crate) source: SourceKind,
}

/// The one source of definitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SourceKind {
    /// The folder `definitions`.
    #[default]
    Files,
    /// What is put over the management API.
    Store,
    /// An instance that Azure's management API, or another twinroute's, knows.
    Azure,
}

/// How the log is written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or per module: `info,twinroute_router=debug`.
    pub(crate) filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Pretty,
            // azure_identity tells at info of every credential that is made.
            filter: "info,azure_identity=warn".to_owned(),
        }
    }
}

/// A configuration with the file it came from.
#[derive(Debug)]
pub(crate) struct LoadedConfig {
    pub(crate) config: Config,
    pub(crate) file: PathBuf,
    pub(crate) folder: DefinitionFolder,
}

impl LoadedConfig {
    /// Reads and checks the file, but not the definitions.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let config = read(file)?;
        let instance = InstanceName::new(&config.instance)
            .with_context(|| format!("{}: `instance`", file.display()))?;
        let base = file.parent().unwrap_or(Path::new("."));
        let folder = DefinitionFolder::new(base.join(&config.definitions), instance);
        Ok(Self {
            config,
            file: file.to_owned(),
            folder,
        })
    }

    /// Refuses what works on definitions in files only.
    ///
    /// # Errors
    /// When they come from elsewhere.
    pub(crate) fn need_files(&self, command: &str) -> anyhow::Result<()> {
        let elsewhere = match self.config.table.source {
            SourceKind::Files => return Ok(()),
            SourceKind::Store => "the store of the management API",
            SourceKind::Azure => "Azure's management API",
        };
        let file = self.file.display();
        bail!(
            "{file}: the definitions come from {elsewhere}, where `{command}` does not look; ask with \
             `twinroute route test`"
        )
    }

    /// Looks whether the folder of definitions is there: it may be on a disk that comes later.
    ///
    /// # Errors
    /// When it is not, with the system's reason.
    pub(crate) fn find_definitions(&self) -> anyhow::Result<()> {
        if self.config.table.source != SourceKind::Files {
            return Ok(());
        }
        let root = self.folder.root();
        let found = std::fs::read_dir(root).map(drop);
        found.with_context(|| format!("the folder of definitions {}", root.display()))
    }

    /// A path of the configuration, which is relative to its file.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new(".")).join(path)
    }

    /// The settings of Azure as a source, with the paths of files made whole.
    pub(crate) fn azure(&self) -> AzureSettings {
        let mut settings = self.config.azure.clone();
        for path in [
            &mut settings.ca_file,
            &mut settings.client_secret_file,
            &mut settings.certificate_file,
            &mut settings.token_file,
            &mut settings.secrets_folder,
        ] {
            *path = path.as_deref().map(|path| self.path(path));
        }
        settings
    }

    /// How endpoints with an identity log in, where that is configured. Blocks on the file system.
    ///
    /// # Errors
    /// What is missing, by its key, or why a file cannot be read.
    pub(crate) fn login(&self) -> anyhow::Result<Option<LoginMethod>> {
        let mut settings = self.config.identity.clone();
        for path in [
            &mut settings.client_secret_file,
            &mut settings.certificate_file,
            &mut settings.token_file,
        ] {
            *path = path.as_deref().map(|path| self.path(path));
        }
        let variable = |name: &str| std::env::var(name).ok().map(|text| Secret::pasted(&text));
        let login = settings.login(IDENTITY_VARIABLES, variable);
        login.map_err(|error| {
            let files = [
                &settings.client_secret_file,
                &settings.certificate_file,
                &settings.token_file,
            ];
            let files = files.into_iter().filter_map(Option::as_deref);
            exit::about_files(format!("[identity]: {error}"), files)
        })
    }

    /// Whom outgoing connections trust and which proxy they take. Blocks on the file system.
    ///
    /// # Errors
    /// The file, key or variable that cannot be used.
    pub(crate) fn outgoing(&self) -> anyhow::Result<OutgoingConnections> {
        let mut settings = self.config.outgoing.clone();
        for path in &mut settings.ca_files {
            *path = self.path(path);
        }
        settings
            .check()
            .map_err(|error| anyhow::anyhow!("[outgoing]: {error}"))?;
        OutgoingConnections::new(&settings).map_err(|error| {
            let files = settings.ca_files.iter().map(PathBuf::as_path);
            let error = anyhow::Error::from(error).context("[outgoing]");
            exit::about_files(format!("{error:#}"), files)
        })
    }

    /// Where spans of traces are recorded, and what exports them, where that is configured. Blocks on the file system.
    ///
    /// # Errors
    /// What cannot be used, by its key.
    pub(crate) fn span_export(
        &self,
        outgoing: &OutgoingConnections,
    ) -> anyhow::Result<Option<(SpanQueue, SpanExport)>> {
        let mut settings = self.config.tracing.clone();
        settings.headers_file = settings.headers_file.map(|path| self.path(&path));
        SpanExport::new(&settings, outgoing, Arc::new(SystemClock)).map_err(|error| {
            let files = settings.headers_file.iter().map(PathBuf::as_path);
            exit::about_files(format!("[tracing]: {error}"), files)
        })
    }

    /// The folder of the journal on disk, where there is to be one.
    pub(crate) fn journal_folder(&self) -> Option<PathBuf> {
        let journal = &self.config.journal;
        journal.on_disk().then(|| self.path(&journal.path))
    }

    /// The folder of the store and of what goes with it.
    pub(crate) fn store_folder(&self) -> PathBuf {
        self.path(&self.config.management.path)
    }

    /// Reads, once more, the settings that go with definitions.
    pub(crate) fn settings(&self) -> Result<Settings, DefinitionFaults> {
        let read = read(&self.file).map_err(|error| {
            let object = "configuration";
            DefinitionFaults(vec![DefinitionFault::new(object, format!("{error:#}"))])
        });
        Ok(Settings::new(read?.endpoints))
    }

    /// Reads the definitions in files and the settings that go with them.
    pub(crate) fn definitions(&self) -> Result<Definitions, DefinitionFaults> {
        match (self.folder.read(), self.settings()) {
            (Ok(instances), Ok(settings)) => Ok(Definitions {
                instances,
                settings,
                folder: Some(self.folder.clone()),
                ..Definitions::default()
            }),
            (Err(DefinitionFaults(mut faults)), Err(DefinitionFaults(more))) => {
                faults.extend(more);
                Err(DefinitionFaults(faults))
            }
            (Err(faults), Ok(_)) | (Ok(_), Err(faults)) => Err(faults),
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| match error.kind() {
            kind @ ErrorKind::InvalidData => io::Error::new(kind, "not UTF-8: save it as UTF-8"),
            _ => error,
        })
        .with_context(|| format!("cannot read the configuration {}", file.display()))?;
    let mut overrides = ConfigOverrides::of_environment();
    mistakes::read(&text, &mut overrides, |name| std::env::var(name).ok())
        .with_context(|| format!("in the configuration {}", file.display()))
}

/// As a file is read, without variables that override it.
#[cfg(test)]
fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Config> {
    Ok(mistakes::read(
        text,
        &mut ConfigOverrides::default(),
        variable,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_beside_what_it_seals_is_warned_about() {
        let warnings = |text: &str| parse(text, |_| None).unwrap().check().unwrap();
        let sealed = "[journal]\npath = 'data'\nseal = true\n";
        let found = warnings(sealed);
        assert!(
            found[0].starts_with("[journal]: seal: the key is in"),
            "{found:?}"
        );
        for elsewhere in ["key_file = '/k'", "key_variable = 'K'"] {
            let found = warnings(&format!("{sealed}[management]\n{elsewhere}"));
            assert_eq!(found, [""; 0], "{elsewhere}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_not_repeated() {
        let refusal = |text| parse(text, |_| None).unwrap_err().to_string();
        assert_eq!(
            refusal("[ingress]\naccess_keys = 'a\", expected key'"),
            "line 2, column 15: ingress.access_keys: invalid type: string, expected a sequence; for example: \
             access_keys = []"
        );
        assert_eq!(
            refusal("core_dumps = 12345"),
            "line 1, column 14: core_dumps: invalid type: integer, expected a boolean; for example: core_dumps = \
             false"
        );
        let unknown = refusal("[ack]\n");
        assert!(unknown.contains("unknown field `ack`"), "{unknown}");
    }

    fn refusal(text: &str) -> String {
        format!(
            "{:#}",
            parse(text, |name| (name == "SET").then(|| "a'b".to_owned())).unwrap_err()
        )
    }

    #[test]
    fn everything_has_a_default_and_unknown_keys_are_refused() {
        assert_eq!(parse("", |_| None).unwrap().instance, "default");
        assert!(refusal("instanze = 'x'").contains("unknown field `instanze`"));
        let text = refusal("[endpoints.hub-1]\norderin = 'twin'");
        assert!(
            text.contains("unknown field `orderin`") && text.contains("line 2"),
            "{text}"
        );
    }

    #[test]
    fn an_error_does_not_repeat_what_stands_in_the_line() {
        let text = "[management.access]\ntokens = [{ name = 'x', role = 'x', token = 'marked' }]";
        let refusal = refusal(text);
        assert!(
            refusal.starts_with("line 2, ") && !refusal.contains("marked"),
            "{refusal}"
        );
    }

    #[test]
    fn a_file_of_certificates_that_cannot_be_used_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("twinroute.toml");
        std::fs::write(folder.path().join("corp.pem"), "none").unwrap();
        std::fs::write(&file, "[outgoing]\nca_files = ['corp.pem']").unwrap();
        let refused = LoadedConfig::read(&file).unwrap().outgoing().unwrap_err();
        let path = folder.path().join("corp.pem");
        let expect = format!("[outgoing]: certificates of {}: holds no", path.display());
        let refused = format!("{refused:#}");
        assert!(refused.starts_with(&expect), "{refused}");
    }

    #[test]
    fn a_key_vault_needs_a_source_without_secrets_and_somebody_who_reads_it() {
        let refused = |text: &str| {
            let errors = parse(text, |_| None).unwrap().check().unwrap_err();
            let mut secrets = errors
                .into_iter()
                .filter(|error| error.starts_with("[secrets]"));
            secrets.next().unwrap()
        };
        let vault = "[secrets]\nkey_vault = 'https://v.vault.azure.net'\n";
        let error = refused(vault);
        assert!(
            error.contains("needs source = \"azure\" in [table]"),
            "{error}"
        );
        let azure = format!("{vault}[table]\nsource = 'azure'\n");
        let error = refused(&azure);
        assert_eq!(
            error,
            "[secrets]: key_vault needs a credential in [identity]"
        );
        let azure = format!("{azure}[identity]\ncredential = 'managed-identity'\n");
        let error = refused(&azure.replace("https:", "http:"));
        assert!(error.contains("key_vault must be https://"), "{error}");
    }

    #[test]
    fn the_duplicate_window_is_opt_in_and_bounded() {
        let journal = |text: &str| parse(&format!("[journal]\n{text}"), |_| None);
        assert_eq!(journal("").unwrap().journal.duplicates(), None);
        let on = journal("duplicate_window = '10m'").unwrap();
        let window = on.journal.duplicates().unwrap();
        assert_eq!(
            (window.length, window.events_max),
            (Duration::from_secs(600), 100_000)
        );
        for (text, expect) in [
            (
                "duplicate_window = '25h'",
                "[journal]: duplicate_window must be 0 to 24h",
            ),
            (
                "duplicate_window_events_max = 0",
                "[journal]: duplicate_window_events_max must be 1 to 10000000",
            ),
        ] {
            let errors = journal(text).unwrap().check().unwrap_err();
            assert_eq!(errors, [expect]);
        }
        let delivered = parse("ingress = { ack = 'delivered' }", |_| None).unwrap();
        assert_eq!(delivered.check(), Ok(vec![]));
    }

    #[test]
    fn text_hygiene_of_a_file_in_utf_16_names_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("twinroute.toml");
        std::fs::write(&file, b"\xff\xfei\0n\0s\0").unwrap();
        let refused = format!("{:#}", LoadedConfig::read(&file).unwrap_err());
        assert!(refused.contains("not UTF-8: save it as UTF-8"), "{refused}");
    }

    #[test]
    fn env_in_comment_is_not_looked_at() {
        let mine = |text: &str| parse(text, |name| (name == "NAME").then(|| "mine".to_owned()));
        for text in [
            "instance = '${NAME}' # was ${OLD}",
            "# ${UNSET}\ninstance = '${NAME}' # ${",
            "instance = \"\"\"\n${NAME}\"\"\"#${OLD}\n[log] # ${OLD}\nfilter = 'info' # '${OLD}'",
            "instance = \"\\u0024{NAME}\"",
            "instance = 'm${EMPTY}ine'",
        ] {
            let text = text.replace("${EMPTY}", "");
            assert_eq!(mine(&text).unwrap().instance, "mine", "{text}");
        }
        // A line of a string that looks like a comment is none.
        let filter = mine("log.filter = \"\"\"\n# ${NAME}\"\"\"")
            .unwrap()
            .log
            .filter;
        assert_eq!(filter, "# mine");
    }

    #[test]
    fn environment_variables_are_put_into_values_alone() {
        let unset = "the environment variable UNSET is not set";
        let first = format!("line 2, column 12: {unset}");
        assert_eq!(refusal("\ninstance = '${UNSET}'"), first);
        let second = format!("line 2, column 29: {unset}");
        assert_eq!(
            refusal("\ningress.access_keys = ['a', 'b${UNSET}']"),
            second
        );
        let open = refusal("instance = '${SET'");
        assert!(
            open.starts_with("line 1, column 12: `${` without its `}`"),
            "{open}"
        );
        assert!(refusal("instance = '${}'").contains("must hold the name"));
        // Where a variable is unset or empty, its default counts.
        let filter = |value: &'static str| {
            let config = parse("log.filter = '${V:-debug}'", |_| Some(value.to_owned()));
            config.unwrap().log.filter
        };
        assert_eq!(
            (filter("warn"), filter("")),
            ("warn".to_owned(), "debug".to_owned())
        );
        let none = parse("log.filter = '<${UNSET:-}>'", |_| None).unwrap();
        assert_eq!(none.log.filter, "<>");
        // What stands in place of a name may be a secret.
        let pasted = refusal("instance = '${hush+hush/==}'");
        assert!(
            pasted.contains("must hold the name") && !pasted.contains("hush"),
            "{pasted}"
        );
        let key = refusal("[endpoints]\n'${SET}' = { ordering = 'x' }");
        assert!(
            key.starts_with("line 2, column 25: endpoints.${SET}.ordering: unknown variant"),
            "{key}"
        );
        // Whatever a variable holds is the value, and no TOML.
        let quoted = |value: &str| {
            let config = parse("log.filter = \"<${V}>\"", |_| Some(value.to_owned()));
            config.unwrap().log.filter
        };
        for value in ["a'b\"c", "a\\b", "a\nb", "${V}", "$$"] {
            assert_eq!(quoted(value), format!("<{value}>"));
        }
        let literal = parse("log.filter = '$${V} $$ $x ${V}'", |_| Some("v".to_owned()));
        assert_eq!(literal.unwrap().log.filter, "${V} $$ $x v");
    }
}

#[cfg(test)]
#[path = "config_page_tests.rs"]
mod page;
