//! The TOML table `access` of a server: who may ask, and for what.

use super::caller::CallerRole;
use crate::address::ListenAddress;
use reqwest::Url;
use serde::Deserialize;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use twinroute_model::secret::Secret;

/// Tokens that stand for themselves.
const TOKENS_MAX: usize = 100;

/// Bytes of a token that is worth the name, and of what a client may present.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 16..=16_384;

/// What [`is_token`] asks for, in words.
pub(super) const TOKEN_BYTES: &str = "must have 16 to 16384 visible ASCII characters";

/// Values of one list.
const VALUES_MAX: usize = 100;

/// Bytes of a name or another text that is shown or compared.
const TEXT_BYTES_MAX: usize = 512;

/// Who may ask a server. Empty: nothing is asked of anybody.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AccessSettings {
    /// Bearer tokens that stand for themselves.
    pub tokens: Vec<TokenSettings>,
    /// Bearer tokens that an identity provider signed, such as Microsoft Entra ID.
    pub jwt: Option<JwtSettings>,
}

/// A token that stands for itself: what it allows, and one place where it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// Whom it stands for, in logs and answers.
    pub name: String,
    /// What it allows.
    pub role: CallerRole,
    /// The token itself. Better in a file or a variable, which are not copied with the configuration.
    pub token: Option<Secret>,
    /// The environment variable that holds it.
    pub token_env: Option<String>,
    /// The file that holds it, blanks around it not counted; read again when it changed.
    pub token_file: Option<PathBuf>,
}

/// Which signed tokens are taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// The claim `iss`, to the letter.
    pub issuer: String,
    /// The claim `aud` must be, or hold, one of these.
    pub audience: Vec<String>,
    /// Where the keys are (RFC 7517 §5): https, or http on loopback.
    pub jwks_uri: Option<String>,
    /// Where a document says where the keys are (OpenID Connect Discovery 1.0 §4), instead.
    pub openid_configuration: Option<String>,
    /// The claim that holds roles: a list, or a text with blanks between them.
    #[serde(default = "roles")]
    pub roles_claim: String,
    /// Roles that may read.
    #[serde(default)]
    pub read: Vec<String>,
    /// Roles that may read and write.
    #[serde(default)]
    pub write: Vec<String>,
    /// By how much clocks may differ.
    #[serde(default = "minute", with = "humantime_serde")]
    pub clock_skew: Duration,
    /// How long keys are used before they are fetched again.
    #[serde(default = "hour", with = "humantime_serde")]
    pub cache: Duration,
}

fn roles() -> String {
    "roles".to_owned()
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn hour() -> Duration {
    Duration::from_secs(3600)
}

impl AccessSettings {
    /// Whether anybody is asked for anything.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.tokens.is_empty() || self.jwt.is_some()
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(&self) -> Result<(), String> {
        if self.tokens.len() > TOKENS_MAX {
            return Err(format!("tokens has more than {TOKENS_MAX} entries"));
        }
        let mut names = HashSet::new();
        for (position, token) in self.tokens.iter().enumerate() {
            let at = |rule: String| format!("tokens[{position}].{rule}");
            token.check().map_err(at)?;
            if !names.insert(&token.name) {
                return Err(at(format!("name {:?} is taken by another", token.name)));
            }
        }
        let jwt = self.jwt.as_ref().map_or(Ok(()), JwtSettings::check);
        jwt.map_err(|rule| format!("jwt.{rule}"))
    }
}

impl TokenSettings {
    fn check(&self) -> Result<(), String> {
        text("name", &self.name)?;
        let places = [
            self.token.is_some(),
            self.token_env.is_some(),
            self.token_file.is_some(),
        ];
        if places.into_iter().filter(|there| *there).count() != 1 {
            return Err("token_file, token_env or token must be there, and one alone".to_owned());
        }
        match &self.token {
            Some(token) if !is_token(token.expose()) => Err(format!("token {TOKEN_BYTES}")),
            _ => Ok(()),
        }
    }
}

impl JwtSettings {
    fn check(&self) -> Result<(), String> {
        text("issuer", &self.issuer)?;
        text("roles_claim", &self.roles_claim)?;
        for (key, values) in [
            ("audience", &self.audience),
            ("read", &self.read),
            ("write", &self.write),
        ] {
            if values.len() > VALUES_MAX {
                return Err(format!("{key} has more than {VALUES_MAX} values"));
            }
            values.iter().try_for_each(|value| text(key, value))?;
        }
        if self.audience.is_empty() {
            return Err("audience must name whom tokens are for".to_owned());
        }
        if self.read.is_empty() && self.write.is_empty() {
            return Err("read or write must name a role, or no token allows anything".to_owned());
        }
        match (&self.jwks_uri, &self.openid_configuration) {
            (Some(uri), None) => url(uri)
                .map(drop)
                .map_err(|rule| format!("jwks_uri {rule}")),
            (None, Some(uri)) => url(uri)
                .map(drop)
                .map_err(|rule| format!("openid_configuration {rule}")),
            _ => Err("jwks_uri or openid_configuration must be there, and one alone".to_owned()),
        }?;
        if self.clock_skew > Duration::from_secs(600) {
            return Err("clock_skew must be at most 10m".to_owned());
        }
        if !(Duration::from_secs(60)..=Duration::from_secs(86_400)).contains(&self.cache) {
            return Err("cache must be 1m to 24h".to_owned());
        }
        Ok(())
    }
}

fn text(key: &str, value: &str) -> Result<(), String> {
    if value.is_empty() || value.len() > TEXT_BYTES_MAX || value.chars().any(char::is_control) {
        return Err(format!(
            "{key} must have 1 to {TEXT_BYTES_MAX} bytes and no control characters"
        ));
    }
    Ok(())
}

/// Whether a text can stand in a header, and is not guessed at once.
pub(super) fn is_token(text: &str) -> bool {
    TOKEN_LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A place to get keys from. Who can change what comes from there can let anybody in.
pub(super) fn url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be an absolute URL")?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err("must not hold a user or a password")
        }
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err("must begin with https:// (http:// on loopback alone)"),
    }
}

/// What a server does about who does not say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnonymousAccess {
    /// Other machines do not reach a server that asks for nothing.
    Local,
    /// They may: something else keeps strangers away.
    Everywhere,
}

/// A listener that lets every machine do everything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "listen on {address}: other machines reach it, and access says nothing about who may; give access \
     tokens or jwt, listen on 127.0.0.1 or a unix socket, or set allow_anonymous = true"
)]
pub struct OpenListener {
    address: ListenAddress,
}

/// Checks that whatever other machines reach asks who they are.
///
/// # Errors
/// The first address that is neither loopback nor a unix socket while nothing is configured.
pub fn require_configured(
    addresses: &[ListenAddress],
    settings: &AccessSettings,
    anonymous: AnonymousAccess,
) -> Result<(), OpenListener> {
    if settings.is_configured() || anonymous == AnonymousAccess::Everywhere {
        return Ok(());
    }
    match addresses.iter().find(|address| !address.is_local()) {
        None => Ok(()),
        Some(address) => Err(OpenListener {
            address: address.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const JWT: &str = "[jwt]\nissuer = 'https://login/t'\naudience = ['api://x']\nwrite = ['W']\n";

    fn check(text: &str, expect: &Expect) {
        let checked = match toml::from_str::<AccessSettings>(text) {
            Ok(settings) => settings.check().err().unwrap_or_default(),
            Err(error) => error.message().to_owned(),
        };
        expect.assert_eq(&checked);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        check("", &expect![""]);
        check(
            "token = []",
            &expect!["unknown field `token`, expected `tokens` or `jwt`"],
        );
        for (token, expect) in [
            (
                "name = 'ci', role = 'write', token_file = '/t'",
                expect![""],
            ),
            ("name = 'ci', role = 'read', token_env = 'T'", expect![""]),
            (
                "name = 'ci', role = 'read', token = '0123456789abcdef'",
                expect![""],
            ),
            (
                "name = 'ci', role = 'read', token = 'marked'",
                expect!["tokens[0].token must have 16 to 16384 visible ASCII characters"],
            ),
            (
                "name = '', role = 'read', token_env = 'T'",
                expect!["tokens[0].name must have 1 to 512 bytes and no control characters"],
            ),
            (
                "name = 'ci', role = 'read'",
                expect!["tokens[0].token_file, token_env or token must be there, and one alone"],
            ),
            (
                "name = 'ci', role = 'read', token_env = 'T', token_file = '/t'",
                expect!["tokens[0].token_file, token_env or token must be there, and one alone"],
            ),
            (
                "name = 'ci', role = 'all', token_env = 'T'",
                expect!["unknown variant `all`, expected `read` or `write`"],
            ),
            (
                "name = 'a', role = 'read', token_env = 'T' }, { name = 'a', role = 'read', token_env = 'T'",
                expect![[r#"tokens[1].name "a" is taken by another"#]],
            ),
        ] {
            check(&format!("tokens = [{{ {token} }}]"), &expect);
        }
    }

    #[test]
    fn what_is_wrong_with_signed_tokens_is_named_too() {
        for (more, expect) in [
            ("jwks_uri = 'https://login/keys'", expect![""]),
            ("jwks_uri = 'http://127.0.0.1:1/keys'", expect![""]),
            ("openid_configuration = 'http://[::1]:1/c'", expect![""]),
            (
                "",
                expect!["jwt.jwks_uri or openid_configuration must be there, and one alone"],
            ),
            (
                "jwks_uri = 'http://login/keys'",
                expect!["jwt.jwks_uri must begin with https:// (http:// on loopback alone)"],
            ),
            (
                "jwks_uri = 'http://127.0.0.1.example/keys'",
                expect!["jwt.jwks_uri must begin with https:// (http:// on loopback alone)"],
            ),
            (
                "openid_configuration = 'https://me:pass@login/c'",
                expect!["jwt.openid_configuration must not hold a user or a password"],
            ),
            (
                "jwks_uri = 'keys'",
                expect!["jwt.jwks_uri must be an absolute URL"],
            ),
            (
                "jwks_uri = 'https://l/k'\ncache = '1s'",
                expect!["jwt.cache must be 1m to 24h"],
            ),
            (
                "jwks_uri = 'https://l/k'\nclock_skew = '1h'",
                expect!["jwt.clock_skew must be at most 10m"],
            ),
        ] {
            check(&format!("{JWT}{more}"), &expect);
        }
        let nobody = JWT.replace("['W']", "[]") + "jwks_uri = 'https://l/k'";
        check(
            &nobody,
            &expect!["jwt.read or write must name a role, or no token allows anything"],
        );
        let anybody = JWT.replace("['api://x']", "[]") + "jwks_uri = 'https://l/k'";
        check(
            &anybody,
            &expect!["jwt.audience must name whom tokens are for"],
        );
    }

    #[test]
    fn a_listener_that_others_reach_asks_who_they_are() {
        let open = AccessSettings::default();
        let some = "tokens = [{ name = 'ci', role = 'read', token_env = 'T' }]";
        let some: AccessSettings = toml::from_str(some).unwrap();
        let local = ["127.0.0.1:1".parse().unwrap(), "unix:/s".parse().unwrap()];
        let remote = ["[::1]:1".parse().unwrap(), "0.0.0.0:8443".parse().unwrap()];
        let check = |addresses, settings, anonymous| {
            require_configured(addresses, settings, anonymous).map_err(|error| error.to_string())
        };
        assert_eq!(check(&local, &open, AnonymousAccess::Local), Ok(()));
        assert_eq!(check(&remote, &some, AnonymousAccess::Local), Ok(()));
        assert_eq!(check(&remote, &open, AnonymousAccess::Everywhere), Ok(()));
        let error = check(&remote, &open, AnonymousAccess::Local).unwrap_err();
        expect!["listen on 0.0.0.0:8443: other machines reach it, and access says nothing about who may; give access tokens or jwt, listen on 127.0.0.1 or a unix socket, or set allow_anonymous = true"].assert_eq(&error);
    }
}
