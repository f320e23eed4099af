//! Tests of the egress proxy: external destinations and their token servers, alerts, exceptions, credentials, and fetches
//! from providers.

use std::path::Path;

use crate::harness::app::{App, Refusing, ok, respond};
use crate::harness::command::{command, end, outcome};
use crate::harness::gate::Gate;
use crate::harness::proxy::ConnectProxy;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::tls::Authority;
use crate::harness::{LIMIT, wait_for};
use crate::inbox::{QUICK, STORE};

/// A host on the internet, as the proxy sees it: by name and by address.
struct Internet {
    authority: Authority,
    host: App,
    /// A token server for clients of `host`.
    login: App,
    proxy: ConnectProxy,
}

/// A public address, at which nothing responds here.
const PUBLIC: &str = "8.8.8.8";

/// The public address of the token server.
const LOGIN: &str = "8.8.4.4";

impl Internet {
    fn start() -> Self {
        let authority = Authority::new();
        let names = ["partner.test", PUBLIC];
        let host = App::start_tls(authority.server_config_of(&names), ok());
        let at = host.address();
        let token = r#"{"access_token":"access.token","token_type":"Bearer","expires_in":3600}"#;
        let tls = authority.server_config_of(&["login.test", LOGIN]);
        let login = App::start_tls(tls, respond(200, token));
        let proxy = ConnectProxy::start(&[
            ("partner.test:443", at),
            ("8.8.8.8:443", at),
            ("localhost:443", at),
            ("login.test:443", login.address()),
            ("8.8.4.4:443", login.address()),
        ]);
        Self {
            authority,
            host,
            login,
            proxy,
        }
    }

    async fn gate(&self, proxy: &str, url: &str, more: &str) -> Gate {
        let secret = Provider::Github.secret();
        let text = format!(
            "{proxy}\n[server]\n{STORE}[routes.hook]\npath = \"/hook\"\nprovider = \"github\"\nsecret = \"{secret}\"\nmode = \"queue\"\n\
             [routes.hook.destinations.partner]\nurl = \"{url}\"\ntls = {{ ca = \"internet.pem\" }}\n{more}\n{QUICK}"
        );
        let options = Gate::options(&text).file("internet.pem", self.authority.pem().as_bytes());
        options.start().await
    }

    fn targets(&self) -> Vec<String> {
        let asked = self.proxy.asked();
        let target = |head: &String| head.split(' ').nth(1).unwrap().to_owned();
        asked.iter().map(target).collect()
    }
}

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

/// Fails when an external destination is reached without the proxy, or the request differs from a direct one.
#[tokio::test]
async fn an_external_destination_is_reached_through_the_proxy() {
    let internet = Internet::start();
    let table = format!("[egress_proxy]\nurl = \"{}\"\n", internet.proxy.url());
    let names = format!("{table}resolve = \"proxy\"\nuser = \"gate\"\npassword = \"sesame\"\n");
    let (by_address, by_name) = (format!("https://{PUBLIC}/in"), "https://partner.test/in");
    for (proxy, url, target) in [
        (table.as_str(), by_address.as_str(), "8.8.8.8:443"),
        (names.as_str(), by_name, "partner.test:443"),
    ] {
        let gate = internet.gate(proxy, url, "external = true").await;
        let before = internet.host.count();
        let hook = event();
        assert_eq!(gate.send(&hook).await.status, 200);
        let got = internet
            .host
            .wait_for_requests(before + 1)
            .await
            .pop()
            .unwrap();
        assert_eq!((got.target().as_str(), &got.body), ("/in", &hook.body));
        let host = target.strip_suffix(":443").map(str::to_owned);
        assert_eq!(got.header("host"), host);
        assert_eq!(internet.targets().pop().as_deref(), Some(target));
        assert!(got.headers("proxy-authorization").is_empty());
    }
    let head = internet.proxy.asked().pop().unwrap();
    // `gate:sesame` in base64.
    assert!(
        head.contains("Proxy-Authorization: Basic Z2F0ZTpzZXNhbWU=\r\n"),
        "{head}"
    );
}

/// Fails when the token of an external destination is fetched past the proxy, or the proxy gets a name where hookgate has
/// to check the address.
#[tokio::test]
async fn a_token_server_is_reached_through_the_proxy() {
    let internet = Internet::start();
    let table = format!("[egress_proxy]\nurl = \"{}\"\n", internet.proxy.url());
    let names = format!("{table}resolve = \"proxy\"\n");
    for (proxy, partner, login) in [
        (table.as_str(), PUBLIC, LOGIN),
        (names.as_str(), "partner.test", "login.test"),
    ] {
        let before = internet.targets().len();
        let (events, fetches) = (internet.host.count(), internet.login.count());
        let more = format!(
            "external = true\noauth2 = {{ token_url = \"https://{login}/token\", client_id = \"gate\", client_secret = \"open-sesame\" }}"
        );
        let url = format!("https://{partner}/in");
        let gate = internet.gate(proxy, &url, &more).await;
        let hook = event();
        assert_eq!(gate.send(&hook).await.status, 200);
        let got = internet.host.wait_for_requests(events + 1).await;
        let got = got.last().unwrap();
        assert_eq!(got.body, hook.body);
        assert_eq!(
            got.header("authorization").as_deref(),
            Some("Bearer access.token")
        );
        // The event waits for the token, so the token server was asked by now.
        let fetched = internet.login.requests();
        assert_eq!(fetched.len(), fetches + 1);
        let fetched = fetched.last().unwrap();
        assert_eq!(fetched.line(), "POST /token HTTP/1.1");
        assert_eq!(fetched.header("host").as_deref(), Some(login));
        let mut targets = internet.targets().split_off(before);
        targets.sort();
        assert_eq!(targets, [format!("{login}:443"), format!("{partner}:443")]);
    }
}

/// Fails when an alert goes to a chat past the proxy, or to a receiver of the own network through it.
#[tokio::test]
async fn alerts_reach_a_chat_through_the_proxy() {
    let authority = Authority::new();
    let chat = App::start_tls(authority.server_config_of(&["chat.test"]), ok());
    let excepted = App::start_tls(authority.server_config(), ok());
    let near = App::start(ok());
    let proxy = ConnectProxy::start(&[("chat.test:443", chat.address())]);
    let path = "/services/T0/B0/x";
    let own = format!("https://localhost:{}{path}", excepted.address().port());
    let receiver = |name: &str, url: &str, more: &str| {
        format!("[alerts.{name}]\ntype = \"slack\"\nurl = \"{url}\"\n{more}\n")
    };
    let ca = "ca = \"internet.pem\"";
    let receivers = [
        receiver("chat", &format!("https://chat.test{path}"), ca),
        receiver("excepted", &own, ca),
        receiver("near", &near.url(path), ""),
    ];
    let text = format!(
        "[egress_proxy]\nurl = \"{}\"\nexcept = [\"localhost\"]\n[server]\nstate_dir = \"$DIR/state\"\n\
         [watch]\ninterval = \"100ms\"\n{}{}",
        proxy.url(),
        receivers.concat(),
        Provider::Github.route("hook", &near.url("/in"), "")
    );
    let options = Gate::options(&text).file("internet.pem", authority.pem().as_bytes());
    let gate = options.start().await;
    // A rejected config is an alert.
    assert!(!gate.reload(&format!("{text}\n[oops]\n")).await);
    for app in [&chat, &excepted, &near] {
        let got = app.wait_for_requests(1).await;
        assert_eq!(got[0].line(), format!("POST {path} HTTP/1.1"));
    }
    assert_eq!(
        chat.requests()[0].header("host").as_deref(),
        Some("chat.test")
    );
    let asked = proxy.asked();
    let is_chat = |head: &String| head.starts_with("CONNECT chat.test:443 HTTP/1.1\r\n");
    assert!(!asked.is_empty() && asked.iter().all(is_chat), "{asked:?}");
}

/// Fails when the proxy of the file is used for a destination in the own network, or an exception is ignored.
#[tokio::test]
async fn only_hosts_on_the_internet_use_the_proxy_of_the_file() {
    let internet = Internet::start();
    let near = format!("https://localhost:{}/in", internet.host.address().port());
    let proxy = internet.proxy.url();
    let bare = format!("egress_proxy = \"{proxy}\"");
    let except = |hosts: &str| format!("[egress_proxy]\nurl = \"{proxy}\"\nexcept = [{hosts}]\n");
    let name = "server_name = \"partner.test\"";
    for (file, more, is_used) in [
        (bare.as_str(), String::new(), false),
        ("", format!("egress_proxy = \"{proxy}\""), true),
        (&bare, "egress_proxy = false".to_owned(), false),
        (
            &except("\"localhost\""),
            format!("egress_proxy = \"{proxy}\""),
            true,
        ),
        (
            "",
            format!("egress_proxy = {{ url = \"{proxy}\", except = [\"localhost\"] }}"),
            false,
        ),
    ] {
        let secret = Provider::Github.secret();
        let text = format!(
            "{file}\n[server]\n{STORE}[routes.hook]\npath = \"/hook\"\nprovider = \"github\"\nsecret = \"{secret}\"\nmode = \"queue\"\n\
             [routes.hook.destinations.partner]\nurl = \"{near}\"\ntls = {{ ca = \"internet.pem\", {name} }}\n{more}\n{QUICK}"
        );
        let asked = internet.proxy.asked().len();
        let before = internet.host.count();
        let options =
            Gate::options(&text).file("internet.pem", internet.authority.pem().as_bytes());
        let gate = options.start().await;
        assert_eq!(gate.send(&event()).await.status, 200);
        if is_used {
            // The proxy knows no such port, so it was asked again and again.
            let what = format!("the proxy: {file} {more}");
            wait_for(&what, LIMIT, || internet.proxy.asked().len() > asked).await;
            let target = format!("localhost:{}", internet.host.address().port());
            assert_eq!(internet.targets().pop(), Some(target));
        } else {
            internet.host.wait_for_requests(before + 1).await;
            assert_eq!(internet.proxy.asked().len(), asked, "{file} {more}");
        }
    }
}

/// Fails when a refusal of the proxy is mistaken for one of the destination, or the credentials get into a log.
#[tokio::test]
async fn a_refusal_of_the_proxy_is_retried_and_explained() {
    let internet = Internet::start();
    let file = format!(
        "[egress_proxy]\nurl = \"{}\"\nresolve = \"proxy\"\nuser = \"gate\"\npassword = \"open-sesame\"\n",
        internet.proxy.url()
    );
    internet
        .proxy
        .refuse(Some("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
    let gate = internet
        .gate(&file, "https://partner.test/in", "external = true")
        .await;
    assert_eq!(gate.send(&event()).await.status, 200);
    gate.wait_for_line(&["proxy", "407"]).await;
    gate.wait_for_metric("hookgate_delivery_attempts_total", &["proxy"], |count| {
        count > 0.0
    })
    .await;
    internet.proxy.refuse(None);
    internet.host.wait_for_requests(1).await;
    assert!(
        !gate
            .log_lines()
            .iter()
            .any(|line| line.contains("sesame") || line.contains("Z2F0ZT"))
    );
}

/// Fails when a fetch of keys goes past the proxy, or a reload does not change the proxy.
#[tokio::test]
async fn keys_of_senders_are_fetched_through_the_proxy() {
    let authority = Authority::new();
    let keys = App::start_tls(
        authority.server_config_of(&["keys.test"]),
        respond(200, "{\"keys\":[]}"),
    );
    let proxy = ConnectProxy::start(&[("keys.test:443", keys.address())]);
    let app = App::start(ok());
    let route = format!(
        "[routes.kinde]\npath = \"/kinde\"\nprovider = \"kinde\"\njwks = \"https://keys.test/jwks.json\"\nupstream = \"{}\"\n",
        app.url("/in")
    );
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    // The proxy is unknown at the start, and comes with a reload.
    let options = Gate::options(&route).env("SSL_CERT_FILE", ca.to_str().unwrap());
    let gate = options.start().await;
    assert!(
        gate.reload(&format!(
            "egress_proxy = \"{}\"\n[server]\n{route}",
            proxy.url()
        ))
        .await
    );
    // {"alg":"RS256","kid":"a"} . {"event_id":"e"} . x
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJldmVudF9pZCI6ImUifQ.eA";
    let reply = gate
        .send(&Hook::bare("POST", "/kinde", token.as_bytes()))
        .await;
    assert_ne!(reply.status, 200);
    let got = keys.wait_for_requests(1).await;
    assert_eq!(got[0].line(), "GET /jwks.json HTTP/1.1");
    assert_eq!(got[0].header("host").as_deref(), Some("keys.test"));
    assert!(proxy.asked()[0].starts_with("CONNECT keys.test:443 HTTP/1.1\r\n"));
}

/// A real proxy: Tinyproxy of Debian, with a user and a password. `None` where it is not installed.
struct Tinyproxy {
    child: std::process::Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Tinyproxy {
    async fn start() -> Option<Self> {
        let installed = std::process::Command::new("tinyproxy").arg("-v").output();
        installed.ok()?;
        let folder = tempfile::tempdir().unwrap();
        // The port is free again once the value is dropped, and nothing else asks for it by number.
        let port = Refusing::new().address().port();
        let config = folder.path().join("tinyproxy.conf");
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nBasicAuth gate open-sesame\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = std::process::Command::new("tinyproxy")
            .args(["-d", "-c"])
            .arg(&config)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the proxy", LIMIT, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        Some(Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            _folder: folder,
        })
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fails when the requests to a proxy are right for the proxy of these tests only.
#[tokio::test]
async fn a_real_proxy_opens_tunnels() {
    let Some(proxy) = Tinyproxy::start().await else {
        return;
    };
    let authority = Authority::new();
    let secure = App::start_tls(authority.server_config(), ok());
    let plain = App::start(ok());
    let url = |scheme: &str, app: &App| format!("{scheme}://localhost:{}/in", app.address().port());
    let secret = Provider::Github.secret();
    for (url, app, tls) in [
        (
            url("https", &secure),
            &secure,
            "tls = { ca = \"internet.pem\" }",
        ),
        (url("http", &plain), &plain, ""),
    ] {
        let route = |password: &str| {
            format!(
                "{STORE}[routes.hook]\npath = \"/hook\"\nprovider = \"github\"\nsecret = \"{secret}\"\nmode = \"queue\"\n\
                 [routes.hook.destinations.partner]\nurl = \"{url}\"\n{tls}\n{QUICK}\
                 egress_proxy = {{ url = \"{}\", user = \"gate\", password = \"{password}\" }}\n",
                proxy.url
            )
        };
        let options =
            Gate::options(&route("wrong")).file("internet.pem", authority.pem().as_bytes());
        let gate = options.start().await;
        let hook = event();
        assert_eq!(gate.send(&hook).await.status, 200);
        // Tinyproxy 1.11 sends 401 for a wrong password, other proxies 407.
        gate.wait_for_line(&[
            "opened no tunnel: status 40",
            "it requires `user` and `password`, or rejects them",
        ])
        .await;
        assert_eq!(app.count(), 0);
        assert!(gate.reload(&route("open-sesame")).await);
        let got = app.wait_for_requests(1).await;
        assert_eq!(got[0].body, hook.body);
        // The tunnel is free again once the outcome is known.
        gate.wait_for_line(&["event delivered"]).await;
        // Both events through one tunnel.
        assert_eq!(gate.send(&event()).await.status, 200);
        app.wait_for_requests(2).await;
        assert_eq!(app.connections(), 1, "{url}");
    }
}

async fn refresh(folder: &Path, ca: &Path) -> (i32, String) {
    let mut refreshing = command(&[
        "providers",
        "refresh-ranges",
        "github",
        "--state-dir",
        "state",
    ]);
    refreshing.current_dir(folder).env("SSL_CERT_FILE", ca);
    let (code, out, err) = outcome(end(refreshing).await);
    (code, out + &err)
}

/// Fails when the command that downloads ranges does not use the proxy of the config that it finds.
#[tokio::test]
async fn ranges_are_downloaded_through_the_proxy() {
    let authority = Authority::new();
    let github = App::start_tls(
        authority.server_config_of(&["api.github.com"]),
        respond(
            200,
            "{\"hooks\":[\"192.30.252.0/22\",\"185.199.108.0/22\",\"140.82.112.0/20\",\"143.55.64.0/20\",\"2a0a:a440::/29\",\"2606:50c0::/32\"]}",
        ),
    );
    let proxy = ConnectProxy::start(&[("api.github.com:443", github.address())]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    std::fs::create_dir(folder.join("state")).unwrap();
    let config = format!("egress_proxy = \"{}\"\n", proxy.url());
    std::fs::write(folder.join("hookgate.toml"), config).unwrap();
    let (code, text) = refresh(folder, &ca).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(github.count(), 1);
    assert!(proxy.asked()[0].starts_with("CONNECT api.github.com:443 "));
    proxy.refuse(Some("HTTP/1.1 403 Forbidden\r\n\r\n"));
    let (code, text) = refresh(folder, &ca).await;
    assert!(
        code == 1 && text.contains("its rules do not allow this host or port"),
        "{text}"
    );
}
