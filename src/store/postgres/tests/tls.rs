//! Encrypted connections: the server's certificate is verified, its name too, and nothing is sent in clear instead.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use super::{DEADLINE, until};
use crate::store::testing::ManualClock;
use crate::store::testing::postgres::{Database, Server, connect, fresh_database};
use crate::store::*;

/// An authority, and a key and certificate of it for 127.0.0.1 alone.
const MAKE: &str = r#"
set -eu
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $key -days 2 -subj "/CN=authority of a test" -keyout ca.key -out ca.pem
openssl req $key -subj "/CN=server of a test" -keyout server.key -out server.csr
echo "subjectAltName=IP:127.0.0.1" >names
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt
"#;

/// Where they are. The package of PostgreSQL brings the program that makes them.
fn certificates() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new("sh").args(["-c", MAKE]).current_dir(&directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    directory
}

async fn encrypts(server: &Server, certificates: &Path) {
    let data = server.directory().join("data");
    let owner = std::fs::metadata(&data).unwrap();
    for name in ["server.crt", "server.key"] {
        let file = data.join(name);
        std::fs::copy(certificates.join(name), &file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let admin = connect(&server.url("postgres")).await;
    admin.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    until(&admin, "SELECT current_setting('ssl') = 'on'").await;
}

async fn open(database: &Database, host: &str, mode: &str, authority: &Path) -> Result<SqlStore> {
    let mut settings = PostgresSettings::new(format!("{}?sslmode={mode}", database.url()));
    let (_, port) = database.url().rsplit_once(':').unwrap();
    settings.hosts = vec![format!("{host}:{}", port.split_once('/').unwrap().0)];
    settings.tls_ca = Some(authority.to_owned());
    settings.clock = Some(ManualClock::new());
    SqlStore::open_postgres(settings).await
}

fn refusal(opened: Result<SqlStore>) -> String {
    match opened.err() {
        Some(StoreError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_encrypted_connection_wants_a_certificate_of_its_authority_for_the_servers_name() {
    let (ours, others) = (certificates(), certificates());
    let server = Server::start(&["fsync=off"]);
    let database = server.fresh_database().await;
    encrypts(&server, ours.path()).await;
    let (ours, others) = (ours.path().join("ca.pem"), others.path().join("ca.pem"));

    // The server's parent may reload its settings a moment after its child has said that it did.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let store = loop {
        match open(&database, "127.0.0.1", "verify-full", &ours).await {
            Ok(store) => break store,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
    };
    store.check_writable().await.unwrap();
    let encrypted = "SELECT bool_and(ssl) AND count(*) > 0 FROM pg_stat_ssl \
        JOIN pg_stat_activity USING (pid) WHERE application_name = 'faxwell'";
    assert!(database.connect().await.query_one(encrypted, &[]).await.unwrap().get::<_, bool>(0));

    for (host, mode, authority) in [
        ("127.0.0.1", "verify-full", &others),
        ("localhost", "verify-full", &ours),
        // The weaker words do not weaken it.
        ("127.0.0.1", "require", &others),
    ] {
        let why = refusal(open(&database, host, mode, authority).await);
        assert!(why.contains("certificate"), "{host} {mode}: {why}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let database = fresh_database().await;
    let authority = certificates().path().join("ca.pem");
    let unreadable = open(&database, "127.0.0.1", "verify-full", &authority).await;
    assert!(matches!(unreadable.err(), Some(StoreError::Unusable(why)) if why.contains("ca.pem")));
    let certificates = certificates();
    let why = refusal(open(&database, "127.0.0.1", "verify-full", &certificates.path().join("ca.pem")).await);
    assert!(why.contains("TLS"), "{why}");
}
