//! Which destination goes through which proxy.
//!
//! Only what is under TLS goes through a proxy: in the clear it would see keys and tokens, and what is
//! not under TLS is an emulator or on this machine. So `HTTP_PROXY`, which is for `http://`, is not
//! looked at. Whatever settings and variables say, no proxy is asked for this machine (`localhost`,
//! names below it, loopback addresses) nor for link-local addresses, where the identity service of Azure
//! machines is (169.254.169.254): a proxy would ask for its own identity.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use std::net::IpAddr;
use twinroute_model::secret::Secret;

/// Entries that are taken from `NO_PROXY`.
const VARIABLE_ENTRIES_MAX: usize = 1_000;

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    url: Secret,
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<Secret>,
}

impl std::fmt::Debug for ProxyAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl ProxyAddress {
    /// Reads a proxy's URL; without a scheme it is `http://`.
    ///
    /// # Errors
    /// The rule that is broken; never a part of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "must be http://[user:password@]host[:port], or https:// alike";
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let url = Url::parse(&whole).map_err(|_| RULE)?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(RULE),
        };
        let plain = matches!(url.path(), "" | "/") && url.query().is_none();
        let host = url.host_str().filter(|host| plain && !host.is_empty());
        let host = host.ok_or(RULE)?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or(RULE)?;
        Ok(Self {
            tls,
            host,
            port,
            authorization: authorization(&url)?,
            url: Secret::new(String::from(url)),
        })
    }

    fn url(&self) -> Option<Url> {
        Url::parse(self.url.expose()).ok()
    }
}

/// RFC 7617 §2.
fn authorization(url: &Url) -> Result<Option<Secret>, &'static str> {
    const RULE: &str = "has a name or password that is not percent-encoded UTF-8 text";
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |text| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| RULE)?;
        match text.contains(char::is_control) {
            true => Err(RULE),
            false => Ok(text),
        }
    };
    let name = decode(url.username())?;
    let password = decode(url.password().unwrap_or_default())?;
    let pair = STANDARD.encode(format!("{name}:{password}"));
    Ok(Some(Secret::new(format!("Basic {pair}"))))
}

/// Destinations that no proxy is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyExemption {
    /// `*`: all.
    All,
    /// A name and the names below it, on one port or on all.
    Name(String, Option<u16>),
    /// Addresses, on one port or on all.
    Net(IpNet, Option<u16>),
}

impl ProxyExemption {
    /// Reads an entry of `NO_PROXY`: `*`, `host`, `.host`, `host:port`, an address, a network.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "must be a host, an address, a network such as 10.0.0.0/8, or *";
        let text = text.trim();
        if text == "*" {
            return Ok(Self::All);
        }
        if let Ok(net) = text.parse() {
            return Ok(Self::Net(net, None));
        }
        let bare = text.trim_matches(['[', ']']);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Net(address.into(), None));
        }
        let (host, port) = match text.rsplit_once(':') {
            None => (text, None),
            Some((host, port)) => (host, Some(port.parse().map_err(|_| RULE)?)),
        };
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self::Net(address.into(), port));
        }
        let name = host.strip_prefix("*.").unwrap_or(host);
        let name = name.trim_start_matches('.').trim_end_matches('.');
        let legal = |char: char| char.is_alphanumeric() || "-_.".contains(char);
        if name.is_empty() || name.len() > 253 || !name.chars().all(legal) {
            return Err(RULE);
        }
        Ok(Self::Name(name.to_ascii_lowercase(), port))
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let port_is = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Self::All => true,
            Self::Name(name, wanted) => port_is(wanted) && is_below(host, name),
            Self::Net(net, wanted) => {
                port_is(wanted) && address.is_some_and(|address| net.contains(&address))
            }
        }
    }
}

fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Where proxies are used.
#[derive(Clone, Debug, Default)]
pub struct ProxyTable {
    via: Option<ProxyAddress>,
    exempt: Vec<ProxyExemption>,
}

impl ProxyTable {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// From the keys `proxy` and `no_proxy` of the settings; what they leave open comes from `HTTPS_PROXY`, `https_proxy`, `ALL_PROXY`,
    /// `all_proxy` and from `NO_PROXY`, `no_proxy`, the first that is set and not empty, which `variable`
    /// reads.
    ///
    /// # Errors
    /// The key or variable that cannot be used, and why; never its value.
    pub fn new(
        proxy: Option<&Secret>,
        no_proxy: &[String],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let first = |names: &[&'static str]| {
            let value = |name: &&'static str| Some((*name, variable(name)?));
            names
                .iter()
                .filter_map(value)
                .find(|(_, text)| !text.is_empty())
        };
        let exempt = match no_proxy {
            // Entries that other programs understand and we do not are skipped, as everywhere.
            [] => first(&["NO_PROXY", "no_proxy"]).map_or_else(Vec::new, |(_, text)| {
                let entries = text.split([',', ' ']).take(VARIABLE_ENTRIES_MAX);
                entries
                    .filter_map(|entry| ProxyExemption::parse(entry).ok())
                    .collect()
            }),
            entries => entries
                .iter()
                .map(|entry| {
                    ProxyExemption::parse(entry).map_err(|rule| format!("no_proxy {rule}"))
                })
                .collect::<Result<_, _>>()?,
        };
        // A proxy that is never used may be of any kind.
        if exempt.contains(&ProxyExemption::All) {
            return Ok(Self::none());
        }
        let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let via = match proxy {
            Some(proxy) => {
                Some(ProxyAddress::parse(proxy.expose()).map_err(|rule| format!("proxy {rule}"))?)
            }
            None => first(&names)
                .map(|(name, text)| {
                    ProxyAddress::parse(&text).map_err(|rule| {
                        format!("the environment variable {name} {rule}; NO_PROXY=* does without")
                    })
                })
                .transpose()?,
        };
        Ok(Self { via, exempt })
    }

    /// The proxy on the way to a host under TLS, where there is one. `host` is a name or an address, with
    /// or without brackets.
    #[must_use]
    pub fn to(&self, host: &str, port: u16) -> Option<&ProxyAddress> {
        let via = self.via.as_ref()?;
        let host = host.trim_matches(['[', ']']).trim_end_matches('.');
        let host = host.to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let exempt = is_near(&host, address)
            || self
                .exempt
                .iter()
                .any(|entry| entry.covers(&host, address, port));
        (!exempt).then_some(via)
    }

    /// The same for reqwest.
    pub(crate) fn of_url(&self, url: &Url) -> Option<Url> {
        if url.scheme() != "https" {
            return None;
        }
        self.to(url.host_str()?, url.port_or_known_default()?)?
            .url()
    }
}

/// Whether a host is this machine or on its link.
fn is_near(host: &str, address: Option<IpAddr>) -> bool {
    match address {
        None => is_below(host, "localhost"),
        Some(IpAddr::V4(address)) => is_near_v4(address),
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => is_near_v4(address),
            None => address.is_loopback() || address.is_unicast_link_local(),
        },
    }
}

fn is_near_v4(address: std::net::Ipv4Addr) -> bool {
    address.is_loopback() || address.is_link_local() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn proxies(settings: &str, variables: &[(&str, &str)]) -> Result<ProxyTable, String> {
        let settings: Settings = toml::from_str(settings).unwrap();
        ProxyTable::new(settings.proxy.as_ref(), &settings.no_proxy, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy_of(proxies: &ProxyTable, url: &str) -> String {
        let url = proxies.of_url(&Url::parse(url).unwrap());
        url.map_or("direct".to_owned(), String::from)
    }

    #[test]
    fn settings_come_before_variables_and_capitals_before_small_letters() {
        let to = |settings: &str, variables: &[(&str, &str)]| {
            proxy_of(
                &proxies(settings, variables).unwrap(),
                "https://a.example/x?y",
            )
        };
        assert_eq!(to("", &[]), "direct");
        let both = [
            ("https_proxy", "small:1"),
            ("HTTPS_PROXY", "http://large:2"),
        ];
        assert_eq!(to("", &both), "http://large:2/");
        assert_eq!(to("", &both[..1]), "http://small:1/");
        assert_eq!(
            to("", &[("HTTPS_PROXY", ""), ("all_proxy", "all:3")]),
            "http://all:3/"
        );
        assert_eq!(to("proxy = 'https://own'", &both), "https://own/");
        // That one is for `http://`, which goes through none.
        assert_eq!(to("", &[("HTTP_PROXY", "http://plain")]), "direct");
        let exempt = [both[0], ("NO_PROXY", "b.example, .example")];
        assert_eq!(to("", &exempt), "direct");
        assert_eq!(to("no_proxy = ['other']", &exempt), "http://small:1/");
    }

    #[test]
    fn only_what_is_under_tls_and_neither_near_nor_exempt_goes_through() {
        let settings = "proxy = 'http://u:p%40w@proxy:3128'\n\
            no_proxy = ['.corp.example', 'only:8443', '10.0.0.0/8', '2001:db8::/32', '192.0.2.7']";
        let proxies = proxies(settings, &[]).unwrap();
        for (url, through) in [
            ("https://t.eventgrid.azure.net/api/events", true),
            ("https://corp.example.org", true),
            ("https://notcorp.example", true),
            ("https://only", true),
            ("https://192.0.2.8", true),
            ("https://[2001:db9::1]", true),
            ("http://t.eventgrid.azure.net", false),
            ("https://corp.example", false),
            ("https://A.B.CORP.example.", false),
            ("https://only:8443", false),
            ("https://10.1.2.3", false),
            ("https://[2001:db8::1]", false),
            ("https://192.0.2.7", false),
            ("https://localhost:8081", false),
            ("https://account.blob.localhost:10000", false),
            ("https://127.9.9.9", false),
            ("https://[::1]", false),
            ("https://[::ffff:127.0.0.1]", false),
            ("https://169.254.169.254", false),
            ("https://[fe80::1]", false),
        ] {
            let expect = if through {
                "http://u:p%40w@proxy:3128/"
            } else {
                "direct"
            };
            assert_eq!(proxy_of(&proxies, url), expect, "{url}");
        }
        let via = proxies.to("a.example", 443).unwrap();
        assert_eq!(via.authorization, Some(Secret::new("Basic dTpwQHc=")));
        assert_eq!(format!("{via:?}"), "proxy:3128");
        assert!(!format!("{proxies:?}").contains("p%40w"));
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named_but_not_shown() {
        let socks = [("ALL_PROXY", "socks5h://u:s3cret@h:1080")];
        let error = proxies("", &socks).unwrap_err();
        let expect = "the environment variable ALL_PROXY must be http://";
        assert!(
            error.starts_with(expect) && !error.contains("s3cret"),
            "{error}"
        );
        let none = proxies("", &[socks[0], ("NO_PROXY", "*")]).unwrap();
        assert_eq!(proxy_of(&none, "https://a.example"), "direct");
        assert!(proxies("no_proxy = ['*']", &socks).is_ok());
    }
}
