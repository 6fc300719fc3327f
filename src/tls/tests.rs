//! Certificates from files and of our own: made, kept, replaced, refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::config::{Environment, check_all, load_all};
use crate::site::testing::Folder;

/// 2026-11-22.
const NOW: Wall = Wall::from_micros(1_795_361_388_000_000);
const YEARS: i64 = 366 * 86_400 * 1_000_000;

fn later(years: i64) -> Wall {
    Wall::from_micros(NOW.as_micros() + years * YEARS)
}

/// A configuration whose data directory is in `folder`.
fn config(folder: &Folder) -> Config {
    let mut config = Config::default();
    config.data.dir = folder.path().join("data");
    config
}

/// Writes a pair for this name; good until the end of 2030, or over since 2020.
fn write_pair(folder: &Folder, stem: &str, name: &str, good: bool) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(if good { 2030 } else { 2020 }, 12, 31);
    folder.write(&format!("{stem}.pem"), &params.self_signed(&key).unwrap().pem());
    folder.write(&format!("{stem}.key"), &key.serialize_pem());
}

fn with_files(folder: &Folder, certificate: &str, key: &str) -> Config {
    let mut config = config(folder);
    config.tls.certificate = folder.path().join(certificate);
    config.tls.private_key = folder.path().join(key);
    config
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_first_start_makes_a_pair_that_later_starts_keep() {
    let folder = Folder::new();
    let config = config(&folder);
    let made = Certificates::load(&config, NOW).unwrap().facts();
    for name in ["dialtone", "127.0.0.1", "localhost"] {
        assert!(made.names.iter().any(|one| one == name), "{made}");
    }
    assert!(made.not_after > later(4) && made.not_after < later(6), "{made}");
    let tls = config.data.dir.join("tls");
    assert_eq!(mode(&tls), 0o700);
    assert_eq!(mode(&tls.join("private_key.pem")), 0o600);
    let text = fs::read(tls.join("certificate.pem")).unwrap();
    assert_eq!(Certificates::load(&config, later(4)).unwrap().facts(), made);
    assert_eq!(fs::read(tls.join("certificate.pem")).unwrap(), text);
    let left: Vec<_> = fs::read_dir(&tls).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn our_own_is_made_anew_when_it_is_soon_over_or_lacks_a_name() {
    let folder = Folder::new();
    let mut config = config(&folder);
    let first = Certificates::load(&config, NOW).unwrap().facts();
    let second = Certificates::load(&config, first.not_after).unwrap().facts();
    assert!(second.not_after > first.not_after);
    config.sip.domain = "pbx.example".into();
    let third = Certificates::load(&config, NOW).unwrap().facts();
    assert!(third.names.iter().any(|name| name == "pbx.example"), "{third}");
    // Half of it is none.
    fs::remove_file(config.data.dir.join("tls/certificate.pem")).unwrap();
    Certificates::load(&config, NOW).unwrap();
}

#[test]
fn a_reload_takes_what_is_good_and_keeps_what_was_before_otherwise() {
    let folder = Folder::new();
    write_pair(&folder, "a", "a.example", true);
    let config = with_files(&folder, "a.pem", "a.key");
    let certificates = Certificates::load(&config, NOW).unwrap();
    let sip = certificates.sip();
    let before = sip.server.borrow().clone();
    assert_eq!(certificates.facts().names, ["a.example"]);

    folder.write("a.pem", "nothing");
    let refused = certificates.reload(NOW).unwrap_err().to_string();
    assert!(refused.contains("a.pem holds no certificate in PEM"), "{refused}");
    write_pair(&folder, "b", "b.example", true);
    fs::copy(folder.path().join("b.pem"), folder.path().join("a.pem")).unwrap();
    let refused = certificates.reload(NOW).unwrap_err().to_string();
    assert!(refused.contains("is not that of the certificate"), "{refused}");
    write_pair(&folder, "a", "old.example", false);
    let refused = certificates.reload(NOW).unwrap_err().to_string();
    assert!(refused.contains("expired on 2020-12-31"), "{refused}");
    assert_eq!(certificates.facts().names, ["a.example"]);
    assert!(Arc::ptr_eq(&before, &sip.server.borrow()));

    write_pair(&folder, "a", "c.example", true);
    assert_eq!(certificates.reload(NOW).unwrap().names, ["c.example"]);
    assert!(!Arc::ptr_eq(&before, &sip.server.borrow()));
    assert_eq!(certificates.reloads(), (1, 3));
}

/// Expired certificates stop nobody at a start: phones that do not look at them go on working.
#[test]
fn an_expired_certificate_is_used_at_a_start() {
    let folder = Folder::new();
    write_pair(&folder, "a", "a.example", false);
    let certificates = Certificates::load(&with_files(&folder, "a.pem", "a.key"), NOW).unwrap();
    assert!(certificates.facts().is_expired(NOW));
}

#[test]
fn check_names_key_file_and_fix() {
    let folder = Folder::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/site.toml");
    fs::copy(sample, folder.path().join("site.toml")).unwrap();
    write_pair(&folder, "a", "a.example", true);
    write_pair(&folder, "b", "b.example", true);
    write_pair(&folder, "old", "a.example", false);
    folder.write("empty.pem", "");
    let cases = [
        ("certificate = \"a.pem\"", "tls.private_key: tls.certificate is set and this is not; name its"),
        ("private_key = \"a.key\"", "tls.certificate: tls.private_key is set and this is not; name its"),
        ("certificate = \"no.pem\"\nprivate_key = \"a.key\"", "tls.certificate: $/no.pem: No such file"),
        ("certificate = \"b.key\"\nprivate_key = \"a.key\"", "tls.certificate: $/b.key holds no certificate"),
        ("certificate = \"a.pem\"\nprivate_key = \"a.pem\"", "tls.private_key: $/a.pem holds no private key"),
        (
            "certificate = \"a.pem\"\nprivate_key = \"b.key\"",
            "tls.private_key: the private key $/b.key is not that of the certificate $/a.pem; name the key",
        ),
        ("ca_file = \"empty.pem\"", "tls.ca_file: $/empty.pem holds no certificate in PEM: there is none;"),
        (
            "certificate = \"old.pem\"\nprivate_key = \"old.key\"",
            "tls.certificate: the certificate $/old.pem expired on 2020-12-31",
        ),
    ];
    let whole = folder.path().canonicalize().unwrap().display().to_string();
    for (keys, said) in cases {
        let file = folder.write("dialtone.toml", &format!("[tls]\n{keys}\n"));
        let problems = check_all(&file, &Environment::new(), NOW).unwrap_err();
        let text = problems.to_string().replace(&whole, "$");
        assert_eq!(problems.0.len(), 1, "{text}");
        assert!(text.contains(said), "{text}");
    }
    // The last of them is no reason not to start.
    load_all(&folder.path().join("dialtone.toml"), &Environment::new()).unwrap();
    let good = "certificate = \"a.pem\"\nprivate_key = \"a.key\"\nca_file = \"b.pem\"\n";
    let file = folder.write("dialtone.toml", &format!("[tls]\n{good}"));
    check_all(&file, &Environment::new(), NOW).unwrap();
}
