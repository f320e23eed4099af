//! What the unit tests of this room share: throw-away certificates and socket pairs.

use std::path::Path;

use tokio::net::{TcpListener, TcpStream};

use crate::config::model::CertificateFiles;

/// Writes a self-signed pair that is good for the names, until so many days from now.
pub(super) fn write_pair(folder: &Path, stem: &str, names: &[&str], days: i64) -> CertificateFiles {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    let now = std::time::Duration::from_secs(
        u64::try_from(crate::model::clock::Now::read().unix_seconds()).unwrap(),
    );
    let day = std::time::Duration::from_secs(86_400);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + (now - 30 * day);
    let ahead = day * u32::try_from(days.abs()).unwrap();
    params.not_after = epoch + if days < 0 { now - ahead } else { now + ahead };
    let cert = params.self_signed(&key).unwrap();
    let files = CertificateFiles {
        cert: folder.join(format!("{stem}.pem")),
        key: folder.join(format!("{stem}.key")),
        cert_span: crate::document::Span::default(),
        key_span: crate::document::Span::default(),
    };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

/// Two ends of one connection over loopback.
pub(super) async fn socket_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap());
    let (ours, theirs) = tokio::join!(listener.accept(), theirs);
    (ours.unwrap().0, theirs.unwrap())
}
