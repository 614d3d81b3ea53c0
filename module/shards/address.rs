//! Where a server listens.

use std::fmt;
use std::str::FromStr;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// `host:port`, or `[host]:port` where the host is an IPv6 address.
    Tcp {
        /// A name or a numeric address; an IPv6 address is without its brackets.
        host: String,
        /// 1..=65535.
        port: u16,
    },
    /// `unix:/path/of/the/socket`
    Unix(String),
}

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Nothing there.
    Empty,
    /// No `:port` at the end.
    NoPort,
    /// Something else than a number from 1 to 65535 behind the colon.
    BadPort(String),
    /// The host is missing, or has a byte that no host name has.
    BadHost(String),
    /// `[` without its `]`.
    UnclosedBracket,
    /// A colon in the host, but no brackets around it.
    BareIpv6,
    /// `unix:` without an absolute path behind it.
    BadPath(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the address is empty"),
            Self::NoPort => write!(f, "no port; write host:port"),
            Self::BadPort(port) => write!(f, "'{port}' is not a port from 1 to 65535"),
            Self::BadHost(host) => write!(f, "'{host}' is not a host name or address"),
            Self::UnclosedBracket => write!(f, "'[' without ']'"),
            Self::BareIpv6 => write!(f, "an IPv6 address needs brackets: [::1]:6379"),
            Self::BadPath(path) => write!(f, "'{path}' is not an absolute path"),
        }
    }
}

impl std::error::Error for AddressError {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') && !path.contains('\0') {
                Ok(Self::Unix(path.to_owned()))
            } else {
                Err(AddressError::BadPath(path.to_owned()))
            };
        }
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']').ok_or(AddressError::UnclosedBracket)?;
                (host, behind.strip_prefix(':').ok_or(AddressError::NoPort)?)
            }
            None => {
                let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
                if host.contains(':') {
                    return Err(AddressError::BareIpv6);
                }
                (host, port)
            }
        };
        if host.is_empty() || !host.bytes().all(is_host_byte) {
            return Err(AddressError::BadHost(host.to_owned()));
        }
        // `u16::from_str` takes a plus sign, a port has none.
        let number = if port.starts_with('+') { None } else { port.parse().ok() };
        match number {
            None | Some(0) => Err(AddressError::BadPort(port.to_owned())),
            Some(port) => Ok(Self::Tcp { host: host.to_owned(), port }),
        }
    }
}

/// Letters and digits of names in any script, `.`, `-`, `_`, and `:` and `%` of IPv6 addresses.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%')
}
