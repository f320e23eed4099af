//! Pebble, the test CA of Let's Encrypt, with a DNS server that sends every name to 127.0.0.1.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::tls::Authority;
use super::{LIMIT, block_until, silent_listener};

/// Settings of a test CA.
pub struct PebbleSettings {
    /// Port on which the CA checks `tls-alpn-01`.
    pub tls_port: u16,
    /// Port on which the CA checks `http-01`.
    pub http_port: u16,
    /// Lifetime of certificates in seconds.
    pub validity: u64,
    /// Percentage of good nonces that the CA rejects. A client must then try again with another one.
    pub nonce_rejects: u32,
    /// More environment variables, such as `PEBBLE_VA_SLEEPTIME`.
    pub environment: Vec<(&'static str, String)>,
    /// Identifier and base64url key of the one external account that may register; `None` if all may.
    pub external_account: Option<(&'static str, &'static str)>,
}

impl PebbleSettings {
    pub fn new(tls_port: u16, http_port: u16) -> Self {
        Self {
            tls_port,
            http_port,
            validity: 90 * 86_400,
            nonce_rejects: 5,
            environment: vec![("PEBBLE_VA_NOSLEEP", "1".to_owned())],
            external_account: None,
        }
    }
}

/// CA that ends with its value.
pub struct Pebble {
    folder: TempDir,
    authority: Authority,
    settings: PebbleSettings,
    dns: Child,
    dns_port: u16,
    dns_control: u16,
    ca: Option<Child>,
    port: u16,
    management: u16,
}

/// Returns a port that was free a moment ago. Another test may take it, but that is rare.
pub fn free_port() -> u16 {
    silent_listener().1.port()
}

impl Pebble {
    /// Starts a CA, or returns `None` where Pebble is not installed.
    pub fn start(settings: PebbleSettings) -> Option<Self> {
        let programs = ["/usr/bin/pebble", "/usr/bin/pebble-challtestsrv"];
        if !programs.iter().all(|program| Path::new(program).exists()) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let (dns_port, dns_control) = (free_port(), free_port());
        let mut dns = Command::new("/usr/bin/pebble-challtestsrv");
        dns.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        dns.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        dns.args(["-dns01", &format!("127.0.0.1:{dns_port}")]);
        dns.args(["-management", &format!("127.0.0.1:{dns_control}")]);
        let log = fs::File::create(folder.path().join("dns.log")).unwrap();
        dns.stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        fs::write(folder.path().join("api-ca.pem"), authority.pem()).unwrap();
        let mut pebble = Self {
            dns: dns.spawn().unwrap(),
            folder,
            authority,
            settings,
            dns_port,
            dns_control,
            ca: None,
            port: free_port(),
            management: free_port(),
        };
        block_until("the DNS server listens", LIMIT, || is_open(dns_control));
        pebble.resume();
        Some(pebble)
    }

    /// URL of the directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// Address of the CA's API.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// PEM file of the authority that signed the certificate of the CA's API.
    pub fn api_ca(&self) -> PathBuf {
        self.folder.path().join("api-ca.pem")
    }

    /// Returns the authority that signed the certificate of the CA's API.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Ends the CA, which loses everything, and leaves the DNS server.
    pub fn stop(&mut self) {
        if let Some(mut ca) = self.ca.take() {
            let _ = ca.kill();
            let _ = ca.wait();
        }
    }

    /// Starts the CA again on its old port.
    pub fn resume(&mut self) {
        let folder = self.folder.path();
        let (cert, key) = self.authority.issue(folder, "api", &["localhost"]);
        let external = self.settings.external_account;
        let keys = external.map_or(String::new(), |(id, key)| format!("\"{id}\": \"{key}\""));
        let config = format!(
            r#"{{"pebble": {{
                "listenAddress": "127.0.0.1:{}", "managementListenAddress": "127.0.0.1:{}",
                "certificate": "{}", "privateKey": "{}", "httpPort": {}, "tlsPort": {}, "ocspResponderURL": "",
                "externalAccountBindingRequired": {}, "externalAccountMACKeys": {{{keys}}},
                "certificateValidityPeriod": {}
            }}}}"#,
            self.port,
            self.management,
            cert.display(),
            key.display(),
            self.settings.http_port,
            self.settings.tls_port,
            external.is_some(),
            self.settings.validity,
        );
        let path = folder.join("pebble.json");
        fs::write(&path, config).unwrap();
        let mut command = Command::new("/usr/bin/pebble");
        command.arg("-config").arg(&path).arg("-strict");
        command.args(["-dnsserver", &format!("127.0.0.1:{}", self.dns_port)]);
        command.env(
            "PEBBLE_WFE_NONCEREJECT",
            self.settings.nonce_rejects.to_string(),
        );
        for (name, value) in &self.settings.environment {
            command.env(name, value);
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("pebble.log"))
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.ca = Some(command.spawn().unwrap());
        let port = self.port;
        block_until("the CA listens", LIMIT, || is_open(port));
    }

    /// Sends a name elsewhere, so that the CA cannot check it, or back with 127.0.0.1.
    pub fn set_address(&self, name: &str, address: &str) {
        let body = format!(r#"{{"host": "{name}", "addresses": ["{address}"]}}"#);
        // Addresses are added to those of before.
        post(
            self.dns_control,
            "/clear-a",
            &format!(r#"{{"host": "{name}"}}"#),
        );
        post(self.dns_control, "/add-a", &body);
    }

    /// The log of the CA, which has a line for each request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("pebble.log")).unwrap()
    }

    /// Number of certificates that the CA has issued.
    pub fn issued(&self) -> usize {
        self.log().matches("Issued certificate").count()
    }

    /// Number of orders that the CA got.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order").count()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        let _ = self.dns.kill();
        let _ = self.dns.wait();
    }
}

fn is_open(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Sends a document to the DNS server and waits for its response.
fn post(port: u16, path: &str, body: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}
