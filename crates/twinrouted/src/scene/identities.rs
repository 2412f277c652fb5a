//! The identities of the emulator: who is known, and which variables programs need.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use twinroute_emulator::{
    ApplicationSettings, IdentitySettings, ManagedIdentitySettings, RunningEmulator, Settings,
};
use twinroute_files::replace::{READABLE_BY_ALL, replace_file};
use twinroute_model::secret::Secret;

/// The application that may log in by itself.
const CLIENT_ID: &str = "73000000-0000-4000-8000-000000000001";
/// Its secret. Whoever reaches the loopback interface may know it.
const CLIENT_SECRET: &str = "the-secret-of-the-application";
/// The service account that may log in as it.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:default:twinroute";
/// The role that its tokens name.
const ROLE: &str = "Events.Write";

/// A machine with a system-assigned identity, and one application.
pub(crate) fn identity_settings() -> IdentitySettings {
    IdentitySettings {
        applications: vec![ApplicationSettings {
            client_id: CLIENT_ID.to_owned(),
            object_id: "74000000-0000-4000-8000-000000000001".to_owned(),
            secret: Some(Secret::from(CLIENT_SECRET)),
            certificates: Vec::new(),
            service_accounts: vec![SERVICE_ACCOUNT.to_owned()],
            roles: vec![ROLE.to_owned()],
        }],
        ..IdentitySettings::default()
    }
}

/// The user-assigned identity with this ARM id, the `index`th.
pub(crate) fn user_assigned(index: usize, id: &str) -> ManagedIdentitySettings {
    ManagedIdentitySettings {
        client_id: format!("75000000-0000-4000-8000-{index:012}"),
        object_id: format!("76000000-0000-4000-8000-{index:012}"),
        resource_id: Some(id.to_owned()),
    }
}

/// Writes a token of the service account, as Kubernetes does. Blocks on the file system.
pub(crate) fn write_token(emulator: &RunningEmulator, folder: &Path) -> anyhow::Result<PathBuf> {
    let file = folder.join("service-account-token");
    let token = emulator.identity().service_account_token(SERVICE_ACCOUNT);
    replace_file(&file, READABLE_BY_ALL, &[token.as_bytes()])?;
    Ok(file)
}

/// What programs are to be given so that they log in here.
pub(crate) fn variables(
    emulator: &RunningEmulator,
    settings: &Settings,
    token_file: &Path,
) -> String {
    let (Some(identity), Some(machine), Some(entra), Some(ca)) = (
        &settings.identity,
        emulator.identity_address(),
        emulator.authority_url(),
        emulator.ca_file(),
    ) else {
        return String::new();
    };
    let (amqp, blob) = (emulator.amqp_tls_port(), emulator.blob_tls_port());
    let mut text = String::new();
    let mut section = |title: &str, lines: &[(&str, &str)]| {
        writeln!(text, "{title}").expect("a String takes everything");
        for (name, value) in lines {
            writeln!(text, "    {name}={value}").expect("a String takes everything");
        }
    };
    let port = |port: Option<u16>| port.unwrap_or_default();
    let account = &settings.blob.account;
    section(
        "with identities",
        &[
            ("endpointUri", &format!("sb://localhost:{}/", port(amqp))),
            (
                "deadLetterUri",
                &format!("https://localhost:{}/{account}/<container>", port(blob)),
            ),
            ("key vault", &entra),
            ("authority of certificates", &ca.display().to_string()),
        ],
    );
    section(
        "managed identity, as App Service has it (any program)",
        &[
            ("IDENTITY_ENDPOINT", &format!("http://{machine}/msi/token")),
            ("IDENTITY_HEADER", identity.header.expose()),
        ],
    );
    section(
        "managed identity, as a virtual machine has it (clients that know this variable)",
        &[(
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            &format!("http://{machine}"),
        )],
    );
    section(
        "workload identity",
        &[
            ("AZURE_AUTHORITY_HOST", &entra),
            ("AZURE_TENANT_ID", &identity.tenant_id),
            ("AZURE_CLIENT_ID", CLIENT_ID),
            (
                "AZURE_FEDERATED_TOKEN_FILE",
                &token_file.display().to_string(),
            ),
        ],
    );
    section(
        "client secret",
        &[
            ("AZURE_AUTHORITY_HOST", &entra),
            ("AZURE_TENANT_ID", &identity.tenant_id),
            ("AZURE_CLIENT_ID", CLIENT_ID),
            ("AZURE_CLIENT_SECRET", CLIENT_SECRET),
        ],
    );
    text
}

/// The same for programs; null where there are no identities.
pub(super) fn addresses_json(emulator: &RunningEmulator, settings: &Settings) -> Value {
    let Some(identity) = &settings.identity else {
        return Value::Null;
    };
    let machine = emulator
        .identity_address()
        .map(|address| format!("http://{address}"));
    let token_file = settings
        .tls
        .as_ref()
        .map(|tls| tls.folder.join("service-account-token"));
    json!({
        "machine": machine,
        "header": identity.header.expose(),
        "entra": emulator.authority_url(),
        "tenant": identity.tenant_id,
        "clientId": CLIENT_ID,
        "clientSecret": CLIENT_SECRET,
        "tokenFile": token_file,
        "ca": emulator.ca_file(),
        "amqpTlsPort": emulator.amqp_tls_port(),
        "blobTlsPort": emulator.blob_tls_port(),
    })
}
