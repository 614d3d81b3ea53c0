//! Certificates and keys, from files in PEM.
//!
//! Every error names the option and the file, and says what is wrong with it in words; none quotes
//! a file.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{BadTls, words};
use crate::settings::TlsPair;

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A certificate with its chain, and its key. Whether they belong together is found out by who uses
/// them; see [`mismatch`].
pub(super) fn pair(pair: TlsPair<'_>) -> Result<Pair, BadTls> {
    let (cert_option, cert_file) = pair.cert;
    let (key_option, key_file) = pair.key;
    let certs = certificates(cert_option, cert_file)?;
    let key = PrivateKeyDer::from_pem_file(named(key_option, key_file)?).map_err(|error| {
        let none = "there is no private key in it (an encrypted one can't be read)";
        unusable(key_option, key_file, &pem_words(&error, none))
    })?;
    Ok((certs, key))
}

/// The authorities that a file lists.
pub(super) fn authorities(option: &str, file: &str) -> Result<RootCertStore, BadTls> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(option, file)? {
        roots.add(certificate).map_err(|error| {
            unusable(option, file, &format!("as an authority {}", words::of(&error)))
        })?;
    }
    Ok(roots)
}

/// Why a certificate and its key can't be used, though each could be read.
pub(super) fn mismatch(pair: TlsPair<'_>, error: &rustls::Error) -> BadTls {
    let ((cert_option, cert_file), (key_option, key_file)) = (pair.cert, pair.key);
    match error {
        rustls::Error::InconsistentKeys(_) => BadTls(format!(
            "{key_option} {key_file} is not the key of the certificate in {cert_option} {cert_file}"
        )),
        rustls::Error::InvalidCertificate(_) => unusable(cert_option, cert_file, &words::of(error)),
        other => unusable(key_option, key_file, &other.to_string()),
    }
}

fn certificates(option: &str, file: &str) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let bad = |error| unusable(option, file, &pem_words(&error, "there is no certificate in it"));
    let found = CertificateDer::pem_file_iter(named(option, file)?).map_err(bad)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(bad)?;
    if found.is_empty() { Err(bad(PemError::NoItemsFound)) } else { Ok(found) }
}

fn named<'a>(option: &str, file: &'a str) -> Result<&'a Path, BadTls> {
    if file.is_empty() { Err(BadTls(format!("{option} is not set"))) } else { Ok(Path::new(file)) }
}

fn unusable(option: &str, file: &str, why: &str) -> BadTls {
    BadTls(format!("{option} {file}: {why}"))
}

/// In words of our own, because some of the library's show what they have found.
fn pem_words(error: &PemError, none: &str) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => none.to_owned(),
        PemError::MissingSectionEnd { .. } => "a section in it has no end".to_owned(),
        _ => "it is not in PEM".to_owned(),
    }
}
