//! Temporary certificate authority, self-signed certificates, and configurations of TLS servers and clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};

/// Certificate authority that lives as long as the test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL treats a leaf with the name of its authority as self-signed.
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "hookgate tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes a new leaf for these names as `NAME.pem` and `NAME.key`.
    pub fn issue(&self, folder: &Path, name: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.issue_with(folder, name, &CertificateParams::new(names).unwrap())
    }

    /// Writes a leaf with parameters of the test (an expired one, one for a client, ...).
    pub fn issue_with(
        &self,
        folder: &Path,
        name: &str,
        params: &CertificateParams,
    ) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        write_pair(folder, name, &leaf, &key)
    }

    /// Returns the configuration of a server for `localhost`.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server_config_of(&["localhost"])
    }

    /// Returns the configuration of a server for these names and addresses.
    pub fn server_config_of(&self, names: &[&str]) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder().with_no_client_auth();
        let (chain, key) = self.leaf(names);
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    /// Returns the configuration of a server that accepts only clients with a certificate of this authority.
    pub fn server_config_for_clients(&self) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots())).build();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier.unwrap());
        let (chain, key) = self.leaf(&["localhost"]);
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    fn leaf(&self, names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        (vec![leaf.der().clone()], key.into())
    }

    /// Returns roots that trust this authority only.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// Returns a client configuration that trusts this authority and offers these protocols.
    pub fn client_config(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Returns a client configuration with a client certificate.
    pub fn client_config_as(&self, alpn: &[&str], cert: &Path, key: &Path) -> Arc<ClientConfig> {
        let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
        let mut config = ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// Writes a self-signed certificate for the names as `NAME.pem` and `NAME.key`. It has been valid for 30 days, and ends
/// this many days from now.
pub fn write_self_signed(
    folder: &Path,
    name: &str,
    names: &[&str],
    days: i64,
    key: &KeyPair,
) -> (PathBuf, PathBuf) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let day = Duration::from_secs(86_400);
    let distance = day * u32::try_from(days.abs()).unwrap();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + (now - 30 * day);
    params.not_after = match days < 0 {
        true => epoch + (now - distance),
        false => epoch + (now + distance),
    };
    write_pair(folder, name, &params.self_signed(key).unwrap(), key)
}

fn write_pair(
    folder: &Path,
    name: &str,
    certificate: &rcgen::Certificate,
    key: &KeyPair,
) -> (PathBuf, PathBuf) {
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    std::fs::write(path("pem"), certificate.pem()).unwrap();
    std::fs::write(path("key"), key.serialize_pem()).unwrap();
    (path("pem"), path("key"))
}

/// Begins the configuration of a client that accepts any certificate and checks signatures only.
pub fn trust_any_server(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(provider);
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
}

/// Verifier that accepts any certificate and checks signatures only.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
