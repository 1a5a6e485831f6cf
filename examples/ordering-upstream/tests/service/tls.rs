//! PostgreSQL by TLS: who may be believed, and what is said where nobody may.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::harness::{Shop, form, free_port, nonce};
use crate::outage::fails_with;
use crate::postgres::{PASSWORD, Server};

/// A server with a certificate of an authority that nobody knows, in files.
struct Secured {
    server: Server,
    directory: TempDir,
}

impl Secured {
    fn start() -> Option<Self> {
        let (key, ours) = (KeyPair::generate().unwrap(), authority("ours"));
        let names = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = names.signed_by(&key, &ours).unwrap();
        Self::with(ours.pem(), certificate.pem(), &key)
    }

    fn with(ours: String, certificate: String, key: &KeyPair) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let file = |name| directory.path().join(name);
        for (name, pem) in [
            ("ours.pem", ours),
            ("another.pem", authority("another").pem()),
            ("server.pem", certificate),
            ("server.key", key.serialize_pem()),
        ] {
            std::fs::write(file(name), pem).unwrap();
        }
        let (certificate, key) = (file("server.pem"), file("server.key"));
        let server = Server::start_with_tls(free_port(), &certificate, &key)?;
        Some(Self { server, directory })
    }

    /// A database by TCP. `at` is what the host is called.
    fn url(&self, at: &str, database: &str, options: &str) -> String {
        let port = self.server.port;
        format!("postgres://shop:{PASSWORD}@{at}:{port}/{database}{options}")
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn a_server_whose_authority_is_in_database_ca_keeps_orders_by_tls_and_after_an_outage() {
    let Some(mut secured) = Secured::start() else {
        return;
    };
    // The test looks into it by the socket.
    let socket = secured.server.database();
    let database = socket.rsplit_once('/').unwrap().1;
    let url = secured.url("localhost", database, "?sslmode=require");
    let shop = Shop::at(socket.clone());
    let ours = secured.file("ours.pem");
    let service = shop.start_with(&[("DATABASE_URL", &url), ("DATABASE_CA", &ours)]);
    assert_eq!(service.post(&nonce(1), &form("SM1", "2 tacos")).status, 200);
    shop.wait_until_all_is_processed();
    let version = "SELECT version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE application_name = 'ordering-upstream'";
    assert_eq!(shop.rows(version), [["TLSv1.3"]]);
    secured.server.stop();
    assert_eq!(service.post(&nonce(2), &form("SM2", "done")).status, 500);
    secured.server.start_again();
    while service.post(&nonce(2), &form("SM2", "done")).status != 200 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    shop.wait_until_all_is_processed();
    assert_eq!(shop.count("messages"), 2);
    assert_eq!(shop.rows(version), [["TLSv1.3"]]);
}

#[test]
fn a_server_whose_certificate_cannot_be_believed_is_a_clear_error_without_the_password() {
    let Some(secured) = Secured::start() else {
        return;
    };
    secured.server.create("secured");
    let require = |database| secured.url("localhost", database, "?sslmode=require");
    let file = |name| secured.file(name);
    let no_file = Path::new("/nowhere/ca.pem").display().to_string();
    let cases = [
        (
            require("secured"),
            None,
            "expected a certificate for localhost from an authority that browsers know, since DATABASE_CA names no \
             other: invalid peer certificate: UnknownIssuer"
                .to_owned(),
        ),
        (
            require("secured"),
            Some(file("another.pem")),
            format!(
                "expected a certificate for localhost from an authority in DATABASE_CA={}: invalid peer certificate: ",
                file("another.pem")
            ),
        ),
        // An authority that is believed, and the name of another machine.
        (
            secured.url("127.0.0.1", "secured", "?sslmode=require"),
            Some(file("ours.pem")),
            format!(
                "expected a certificate for 127.0.0.1 from an authority in DATABASE_CA={}: invalid peer certificate: ",
                file("ours.pem")
            ),
        ),
        (
            require("secured"),
            Some(file("server.key")),
            format!(
                "expected certificates of authorities in PEM in {}",
                file("server.key")
            ),
        ),
        (
            require("secured"),
            Some(no_file.clone()),
            format!("expected certificates of authorities in PEM in {no_file}"),
        ),
    ];
    for (url, authorities, expected) in cases {
        let variable = authorities.as_deref().map(|path| ("DATABASE_CA", path));
        let said = fails_with(&url, variable.as_slice());
        let begins = "error: cannot open database ";
        assert!(
            said.starts_with(begins) && said.contains(&expected),
            "{expected}: {said}"
        );
        assert!(!said.contains(PASSWORD), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_certificate_that_is_its_own_authority_is_believed_unless_it_may_sign_others() {
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let harmless = CertifiedIssuer::self_signed(names, key).unwrap();
    for (own, believed) in [(harmless, true), (authority("own"), false)] {
        let Some(secured) = Secured::with(own.pem(), own.pem(), own.key()) else {
            return;
        };
        let socket = secured.server.database();
        let database = socket.rsplit_once('/').unwrap().1;
        let url = secured.url("localhost", database, "?sslmode=require");
        let ours = secured.file("ours.pem");
        if believed {
            let shop = Shop::at(url.clone());
            let service = shop.start_with(&[("DATABASE_CA", &ours)]);
            assert_eq!(service.get("/healthz").status, 200);
        } else {
            let said = fails_with(&url, &[("DATABASE_CA", &ours)]);
            assert!(said.contains("CaUsedAsEndEntity"), "{said}");
        }
    }
}

#[test]
fn another_machines_server_is_reached_without_tls_only_where_the_url_says_so() {
    let Some(secured) = Secured::start() else {
        return;
    };
    secured.server.create("open");
    // The system knows that this is 127.0.0.1. To the service it is a name like any other.
    let elsewhere = "127.1";
    let ours = secured.file("ours.pem");
    for options in ["", "?sslmode=prefer"] {
        let url = secured.url(elsewhere, "open", options);
        let said = fails_with(&url, &[("DATABASE_CA", &ours)]);
        assert!(said.contains("TLS"), "{said}");
        assert!(!said.contains(PASSWORD), "{said}");
    }
    let url = secured.url(elsewhere, "open", "?sslmode=disable");
    let shop = Shop::at(url);
    let service = shop.start();
    assert_eq!(service.post(&nonce(1), &form("SM1", "2 tacos")).status, 200);
    shop.wait_until_all_is_processed();
    let secured = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE application_name = 'ordering-upstream'";
    assert_eq!(shop.rows(secured), [["f"]]);
}
