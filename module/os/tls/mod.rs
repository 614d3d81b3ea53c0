//! TLS, to clients and to shards: who we are, whom we trust, and the channel itself.
//!
//! ```text
//!   settings --load--> Tls { server, client }        an immutable snapshot, as Settings is
//!                        |         |
//!                 accept |         | dial
//!                        v         v
//!                      Channel (rustls) <--ciphertext--> Stream
//!                        ^
//!                        | plaintext                     wire.rs: plain or not, one handle
//!                      worker
//! ```
//!
//! The engine knows nothing of all this: to it a connection is bytes, whoever carries them.
//!
//! **Reload.** A changed option makes a new [`Tls`]; handshakes that begin after it has reached
//! their worker use it, and connections that stand stay as they are. A bad file makes no `Tls` but
//! an error that names the option, the file and what is wrong, and the old one stays.
//!
//! **Who is trusted.** Clients (unless `tls-auth-clients` says otherwise) and shards must show a
//! certificate that `tls-ca-cert-file` vouches for. That a shard's certificate is for the host that
//! we meant is verified only if `shard-tls-verify-name` says so: stock servers verify the chain
//! alone among each other, and their certificates often have no name in them.
//!
//! **No resumption.** Each handshake is a whole one. Connections of databases are long, so there is
//! little to save; and a resumed session would be trusted for what its certificate was when it was
//! first shown, though it has expired or its authority has been dropped since.
//!
//! **No process-wide state.** The provider of cryptography is named wherever one is needed and
//! never installed as the process's: the process is the host's.

mod channel;
mod files;
mod trust;
mod words;

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use crate::settings::{AuthClients, Settings};

pub use channel::{Channel, Socket};

/// A file or an option about TLS that can't be used: a sentence for an operator, which names both.
/// It never quotes what is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTls(String);

impl fmt::Display for BadTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadTls {}

/// The name of a peer, as its certificate would have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName(ServerName<'static>);

impl PeerName {
    /// A host name or an IP address.
    ///
    /// # Errors
    /// When it is neither, so that no certificate could name it.
    pub fn new(host: &str) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned());
        name.map(Self).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("TLS needs a host name or an IP address, and {host} is neither"),
            )
        })
    }
}

/// What new connections are made secure with.
#[derive(Clone, Default)]
pub struct Tls {
    server: Option<Arc<ServerConfig>>,
    client: Option<Arc<ClientConfig>>,
    /// Which connections are made with it.
    to_shards: bool,
    to_sentinels: bool,
}

/// Only which sides there are: what they hold is nobody's business.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, client) = (self.server.is_some(), self.client.is_some());
        f.debug_struct("Tls").field("server", &server).field("client", &client).finish()
    }
}

impl Tls {
    /// Reads the files that `settings` name, as far as they are needed: the server's side if there
    /// is a `tls-port`, the client's if there is `shard-tls`. `settings` have passed their check.
    ///
    /// # Errors
    /// The first file or option that can't be used.
    pub fn load(settings: &Settings) -> Result<Self, BadTls> {
        let server = (settings.tls_port != 0).then(|| server_config(settings)).transpose()?;
        let dials = settings.shard_tls || settings.sentinel_tls;
        let client = dials.then(|| client_config(settings)).transpose()?;
        Ok(Self {
            server: server.map(Arc::new),
            client: client.map(Arc::new),
            to_shards: settings.shard_tls,
            to_sentinels: settings.sentinel_tls,
        })
    }

    /// Whether connections to shards, or to Sentinels, are to be secure.
    pub fn dials(&self, to_sentinel: bool) -> bool {
        if to_sentinel { self.to_sentinels } else { self.to_shards }
    }

    /// The server's end of a connection.
    ///
    /// # Errors
    /// When there is no server's side, or the system has no randomness to give.
    pub fn accept(&self) -> io::Result<Channel> {
        let config = self.server.as_ref().ok_or_else(not_set_up)?;
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Channel::new(connection.into()))
    }

    /// The client's end of a connection to `name`.
    ///
    /// # Errors
    /// When there is no client's side, or the system has no randomness to give.
    pub fn dial(&self, name: PeerName) -> io::Result<Channel> {
        let config = self.client.as_ref().ok_or_else(not_set_up)?;
        let connection = ClientConnection::new(Arc::clone(config), name.0);
        Ok(Channel::new(connection.map_err(io::Error::other)?.into()))
    }
}

fn not_set_up() -> io::Error {
    io::Error::other("TLS is not set up on this side")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server_config(settings: &Settings) -> Result<ServerConfig, BadTls> {
    let provider = provider();
    let pair = settings.tls_server_pair();
    let (certs, key) = files::pair(pair)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&protocols(settings)?)
        .map_err(|error| BadTls(format!("weir.tls-protocols: {error}")))?;
    let builder = if settings.tls_auth_clients == AuthClients::No {
        builder.with_no_client_auth()
    } else {
        let roots = authorities(settings)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = match settings.tls_auth_clients {
            AuthClients::Optional => verifier.allow_unauthenticated(),
            AuthClients::Yes | AuthClients::No => verifier,
        };
        let verifier = verifier.build().map_err(|error| {
            BadTls(format!("weir.tls-ca-cert-file {}: {error}", settings.tls_ca_cert_file))
        })?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut config =
        builder.with_single_cert(certs, key).map_err(|error| files::mismatch(pair, &error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(settings: &Settings) -> Result<ClientConfig, BadTls> {
    let provider = provider();
    let roots = authorities(settings)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&protocols(settings)?)
        .map_err(|error| BadTls(format!("weir.tls-protocols: {error}")))?;
    let builder = if settings.shard_tls_verify_name {
        builder.with_root_certificates(roots)
    } else {
        let verifier = trust::ChainOnly::new(roots, &provider);
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut config = match settings.tls_client_pair() {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (certs, key) = files::pair(pair)?;
            builder
                .with_client_auth_cert(certs, key)
                .map_err(|error| files::mismatch(pair, &error))?
        }
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn authorities(settings: &Settings) -> Result<RootCertStore, BadTls> {
    files::authorities("weir.tls-ca-cert-file", &settings.tls_ca_cert_file)
}

/// The versions of `tls-protocols`, by the names that stock servers use.
fn protocols(settings: &Settings) -> Result<Vec<&'static SupportedProtocolVersion>, BadTls> {
    let words = settings.tls_protocols.split_ascii_whitespace();
    let versions: Vec<_> = words
        .map(|word| match word.to_ascii_lowercase().as_str() {
            "tlsv1.2" => Ok(&TLS12),
            "tlsv1.3" => Ok(&TLS13),
            _ => Err(BadTls(format!(
                "weir.tls-protocols: {word} is not served, only TLSv1.2 and TLSv1.3 are"
            ))),
        })
        .collect::<Result<_, _>>()?;
    Ok(if versions.is_empty() { vec![&TLS13, &TLS12] } else { versions })
}

#[cfg(test)]
mod tests;
