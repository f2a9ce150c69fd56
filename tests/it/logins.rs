//! Logins from outside: accounts that a command makes, and tokens whose keys come over https, against a running gateway.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};

use crate::harness::{Sandbox, Smtp, faxwell, mail, received, wait_for};

const PROVIDER: fn() -> Arc<rustls::crypto::CryptoProvider> =
    || Arc::new(rustls::crypto::aws_lc_rs::default_provider());

/// An authority, and a server of it on localhost.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/make-certificates");
        let made = Command::new(tool).arg(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn server(&self) -> Arc<rustls::ServerConfig> {
        let certificate = CertificateDer::from_pem_file(self.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("server.key.pem")).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(PROVIDER()).with_safe_default_protocol_versions();
        Arc::new(builder.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
    }

    /// A client that has said STARTTLS and EHLO.
    fn client(&self, sandbox: &Sandbox) -> Smtp {
        let mut clear = Smtp::connect(sandbox.smtp);
        let offered = clear.say("EHLO client.test");
        assert!(offered.contains("STARTTLS") && !offered.contains("AUTH"), "T2: {offered}");
        assert!(clear.say("STARTTLS").starts_with("220"));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("authority.pem")).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(PROVIDER()).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut client = clear.wrapped(|stream| Box::new(rustls::StreamOwned::new(connection, stream)));
        assert!(client.say("EHLO client.test").contains("AUTH"));
        client
    }
}

fn plain(name: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", BASE64.encode(format!("\0{name}\0{password}").as_bytes()))
}

impl Sandbox {
    fn account(&self, arguments: &[&str], password: &str) -> Output {
        let mut command = faxwell();
        command.arg("account").args(arguments).arg("--data").arg(self.data());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

#[track_caller]
fn assert_said(output: &Output, code: i32, words: &[&str]) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn t3_an_account_that_a_command_makes_logs_in_sends_within_its_limits_and_ends() {
    let certificates = Certificates::new();
    let sandbox = Sandbox::start_with(
        &["--no-first-mail"],
        &[
            ("FAXWELL_SIP__SANDBOX__PACE", "max"),
            ("FAXWELL_SMTP__TLS__CERT", &certificates.text("server.pem")),
            ("FAXWELL_SMTP__TLS__KEY", &certificates.text("server.key.pem")),
        ],
    );
    let add = ["add", "copier-2", "--from", "anna@example.com", "--allow", "+9991", "--faxes-per-day", "1"];
    assert_said(&sandbox.account(&add, "short"), 2, &["cause: ", "fix: "]);
    assert_said(&sandbox.account(&add, "print-more"), 0, &["account copier-2 is added"]);
    assert_said(&sandbox.account(&add, "print-more"), 7, &["cause: ", "fix: "]);
    let listed = sandbox.json_lines(&["account", "list"]);
    assert_eq!((listed[0]["name"].as_str(), listed.len()), (Some("copier-2"), 1));
    assert!(!listed[0].to_string().contains("argon2"), "no hash leaves the store: {}", listed[0]);

    let mut client = certificates.client(&sandbox);
    assert!(client.say(&plain("copier-2", "print-less")).starts_with("535 5.7.8"));
    assert!(client.say(&plain("copier-2", "print-more")).starts_with("235 2.7.0"));
    let reply = client.say("MAIL FROM:<boss@example.com>");
    assert!(reply.starts_with("553 5.7.1"), "S18: {reply}");
    assert!(client.say("MAIL FROM:<anna@example.com>").starts_with("250"));
    let reply = client.say("RCPT TO:<+99920001@fax.local>");
    assert!(reply.starts_with("550 5.7.1") && reply.contains("account:copier-2"), "{reply}");
    assert!(client.say("RCPT TO:<+99910200@fax.local>").starts_with("250"));
    let text = [("a.txt", "text/plain", &b"by login"[..])];
    let reply = client.data(&mail("login-1", "+99910200@fax.local", "", &text));
    assert!(reply.starts_with("250 2.0.0 accepted"), "{reply}");
    sandbox.report_on("login-1");
    assert_eq!(received(&sandbox.tray, "+99910200").len(), 1);

    // Its day is used up; whoever submits without a login is not counted with it.
    let mut later = certificates.client(&sandbox);
    assert!(later.say(&plain("copier-2", "print-more")).starts_with("235"));
    let reply = later.say("MAIL FROM:<anna@example.com>");
    assert!(reply.starts_with("452") && reply.contains("(sender-limit)"), "{reply}");

    assert_said(&sandbox.account(&["passwd", "copier-2"], "another-one"), 0, &["has a new password"]);
    let mut client = certificates.client(&sandbox);
    assert!(client.say(&plain("copier-2", "print-more")).starts_with("535"));
    assert!(client.say(&plain("copier-2", "another-one")).starts_with("235"));
    assert_said(&sandbox.account(&["rm", "copier-2"], ""), 0, &["copier-2 is removed"]);
    let mut client = certificates.client(&sandbox);
    assert!(client.say(&plain("copier-2", "another-one")).starts_with("535"));
    assert_said(&sandbox.account(&["rm", "copier-2"], ""), 3, &["cause: ", "fix: "]);
    assert_said(&sandbox.account(&["passwd", "copier-2"], "another-one"), 3, &["cause: ", "fix: "]);
}

/// An authorization server: a key, and the place where it publishes it.
struct Issuer {
    key: EcdsaKeyPair,
    url: String,
}

impl Issuer {
    fn start(certificates: &Certificates) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = key.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| BASE64URL_NOPAD.encode(&point[range]);
        let jwks =
            json!({ "keys": [{ "kty": "EC", "kid": "one", "crv": "P-256", "x": part(1..33), "y": part(33..65) }] });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/keys", listener.local_addr().unwrap().port());
        let (config, body) = (certificates.server(), jwks.to_string());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is no matter of the server.
                let _ = publish(stream.unwrap(), &config, &body);
            }
        });
        Self { key, url }
    }

    #[expect(clippy::disallowed_methods, reason = "the gateway under test judges tokens by the machine's clock")]
    fn token(&self, name: &str, changes: &[(&str, Value)]) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({ "iss": "https://login.test/", "aud": "faxwell", "exp": now_s + 600, "email": name });
        for (claim, value) in changes {
            claims[*claim] = value.clone();
        }
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": "one" })), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

fn publish(stream: TcpStream, config: &Arc<rustls::ServerConfig>, body: &str) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
    let mut asked = String::new();
    stream.read_line(&mut asked)?;
    while stream.read_line(&mut String::new())? > 2 {}
    let status = if asked.starts_with("GET /keys ") { "200 OK" } else { "404 Not Found" };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.get_mut().write_all(answer.as_bytes())?;
    stream.get_mut().flush()
}

fn xoauth2(user: &str, token: &str) -> String {
    format!("AUTH XOAUTH2 {}", BASE64.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01").as_bytes()))
}

#[test]
fn t3_a_token_lets_in_whose_keys_the_issuer_publishes_over_https() {
    let certificates = Certificates::new();
    let issuer = Issuer::start(&certificates);
    let sandbox = Sandbox::start_with(
        &["--no-first-mail"],
        &[
            ("FAXWELL_SIP__SANDBOX__PACE", "max"),
            ("FAXWELL_SMTP__TLS__CERT", &certificates.text("server.pem")),
            ("FAXWELL_SMTP__TLS__KEY", &certificates.text("server.key.pem")),
            ("FAXWELL_SMTP__OAUTH2__ISSUER", "https://login.test/"),
            ("FAXWELL_SMTP__OAUTH2__AUDIENCE", "faxwell"),
            ("FAXWELL_SMTP__OAUTH2__CLAIM", "email"),
            ("FAXWELL_SMTP__OAUTH2__KEYS", &issuer.url),
            // The issuer's certificate is of the test's own authority.
            ("SSL_CERT_FILE", &certificates.text("authority.pem")),
        ],
    );
    let add = ["add", "anna@example.com", "--allow", "+9991"];
    assert_said(&sandbox.account(&add, "never-asked-for"), 0, &["anna@example.com is added"]);

    let refused = |user: &str, token: &str| {
        let mut client = certificates.client(&sandbox);
        let reply = client.say(&xoauth2(user, token));
        assert!(reply.starts_with("334 "), "{reply}");
        let said = BASE64.decode(reply[4..].trim().as_bytes()).unwrap();
        assert!(String::from_utf8(said).unwrap().contains("invalid_token"));
        let reply = client.say("AQ==");
        assert!(reply.starts_with("535 5.7.8"), "{reply}");
    };
    let anna = "anna@example.com";
    refused(anna, &issuer.token(anna, &[("exp", json!(1_700_000_000))]));
    refused(anna, &issuer.token(anna, &[("aud", json!("another"))]));
    refused(anna, &issuer.token("ben@example.com", &[]));
    refused("ben@example.com", &issuer.token("ben@example.com", &[]));
    refused(anna, &Issuer::start(&certificates).token(anna, &[]));

    let mut client = certificates.client(&sandbox);
    assert!(client.say(&xoauth2(anna, &issuer.token(anna, &[]))).starts_with("235 2.7.0"));
    assert!(client.say("MAIL FROM:<anna@example.com>").starts_with("250"));
    assert!(client.say("RCPT TO:<+99910200@fax.local>").starts_with("250"));
    let text = [("a.txt", "text/plain", &b"by token"[..])];
    let reply = client.data(&mail("token-1", "+99910200@fax.local", "", &text));
    assert!(reply.starts_with("250 2.0.0 accepted"), "{reply}");
    sandbox.report_on("token-1");
    wait_for("the page", || (received(&sandbox.tray, "+99910200").len() == 1).then_some(()));
    let trace = fs::read_to_string(sandbox.dir.path().join("log")).unwrap();
    assert!(!trace.contains(&issuer.token(anna, &[])[..40]), "no token stands in the log");
}

#[test]
fn certificates_that_do_not_fit_are_found_before_the_gateway_starts() {
    let certificates = Certificates::new();
    let check = |key: &str| {
        let example = faxwell().args(["config", "example"]).output().unwrap();
        let file = certificates.path("faxwell.toml");
        fs::write(&file, example.stdout).unwrap();
        let mut command = faxwell();
        command.args(["config", "check", "--config"]).arg(file);
        command.env("FAXWELL_SMTP__TLS__CERT", certificates.path("server.pem"));
        command.env("FAXWELL_SMTP__TLS__KEY", certificates.path(key)).output().unwrap()
    };
    assert_said(&check("server.key.pem"), 0, &[]);
    assert_said(&check("client.key.pem"), 2, &["smtp.tls cannot be used", "cause: ", "fix: "]);
    assert_said(&check("missing.key.pem"), 2, &["missing.key.pem", "fix: "]);
}
