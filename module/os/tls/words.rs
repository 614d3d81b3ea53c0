//! What went wrong with a peer, in words that tell an operator what to change.
//!
//! Each is the end of a sentence that begins with who the peer is: "client 10.0.0.7:4711 was
//! refused: its certificate has expired".

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// The error of a channel that failed for this reason.
pub(super) fn broken(error: &Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, of(error))
}

/// The reason.
pub(super) fn of(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => certificate(why),
        Error::NoCertificatesPresented => "it has shown no certificate".to_owned(),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS".to_owned()
        }
        Error::AlertReceived(alert) => alert_words(*alert),
        Error::PeerIncompatible(why) => {
            format!("it speaks no version or cipher of TLS that is spoken here ({why:?})")
        }
        other => format!("TLS failed: {other}"),
    }
}

fn certificate(why: &CertificateError) -> String {
    let text = match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::UnknownIssuer => {
            "its certificate is not signed by an authority of weir.tls-ca-cert-file"
        }
        CertificateError::BadSignature => {
            // An authority that was made anew often keeps its name.
            "its certificate is not signed by an authority of weir.tls-ca-cert-file, but by \
             another of the same name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is for another purpose (extended key usage)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            return format!("its certificate is not for it: {why}");
        }
        _ => return format!("its certificate can't be used: {why}"),
    };
    text.to_owned()
}

/// What the peer thinks of us.
fn alert_words(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    let text = match alert {
        Alert::CertificateRequired => "it wants a certificate, and we have shown none",
        Alert::CertificateExpired => "it says that our certificate has expired",
        Alert::UnknownCA => "it does not know the authority of our certificate",
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown => "it does not accept our certificate",
        Alert::ProtocolVersion => "it speaks none of the versions of weir.tls-protocols",
        _ => return format!("it broke off the TLS connection (alert {alert:?})"),
    };
    format!("{text} (alert {alert:?})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_reasons_can_be_told_apart() {
        let reasons = [
            Error::NoCertificatesPresented,
            Error::InvalidCertificate(CertificateError::Expired),
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::AlertReceived(AlertDescription::UnknownCA),
            Error::AlertReceived(AlertDescription::CertificateRequired),
        ];
        let mut texts: Vec<String> = reasons.iter().map(of).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), reasons.len(), "{texts:?}");
        assert!(texts.iter().all(|text| text.starts_with("it")), "{texts:?}");
    }
}
