//! The sample site, and what a wrong site is told.

use std::path::Path;
use std::time::Duration;

use dialtone_core::Codec;
use dialtone_core::site::{Ringback, Step};
use dialtone_signaling::registrar::{Nat, ReachPolicy};
use dialtone_signaling::wire::Transport;

use super::testing::Folder;
use super::{ContactPolicy, Digest, Loaded, Secret};
use crate::config::{Environment, Problems, load_all};

fn sample(variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/dialtone.toml");
    let environment: Environment =
        variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    load_all(&file, &environment).map(|(_, loaded)| loaded)
}

/// What is wrong with a site, one line each.
fn problems(site: &str) -> Vec<String> {
    let folder = Folder::new();
    let file = folder.write("dialtone.toml", "");
    folder.write("site.toml", site);
    let prefix = format!("{}/", folder.path().display());
    match load_all(&file, &Environment::new()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect(),
    }
}

#[test]
fn the_sample_site_is_what_other_tests_rely_on() {
    let loaded = sample(&[]).unwrap();
    assert_eq!(loaded.realm, "dialtone");
    let numbers: Vec<_> = loaded.accounts.iter().map(|account| account.number.as_str()).collect();
    assert_eq!(numbers, ["1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010"]);
    for account in &loaded.accounts {
        assert_eq!(account.password, Secret::new(format!("dialtone-{}", account.number)));
        assert!(account.has_sample_password());
        assert_eq!(account.algorithms, [Digest::Md5, Digest::Sha256]);
        assert_eq!((account.max_contacts, account.contact_policy), (5, ContactPolicy::ReplaceOldest));
    }
    let ann = &loaded.site.extensions["1003"];
    assert_eq!((ann.name.as_str(), ann.ring_timeout), ("Ann", Duration::from_secs(30)));
    assert_eq!(ann.codecs, [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma]);
    assert_eq!(loaded.site.ring_groups["500"].members, ["1001", "1002"]);
    assert_eq!(loaded.site.ring_groups["500"].ringback, Ringback::Tone);
    assert_eq!(loaded.site.flows["*43"].steps, [Step::Answer, Step::Echo]);
    assert_eq!(loaded.site.flows["*44"].steps[1], Step::Tone { hz: 1004, level_dbm0: -10 });
    assert_eq!(loaded.site.flows["900"].steps[1], Step::Play { prompt: "welcome".into() });
}

#[test]
fn sample_passwords_keep_to_loopback() {
    for (variable, address) in [
        ("DIALTONE_SIP_UDP", "192.0.2.1:5060"),
        ("DIALTONE_SIP_TCP", "127.0.0.1:5060,[2001:db8::1]:5060"),
        ("DIALTONE_HTTP_BIND", "192.0.2.1:8080"),
        ("DIALTONE_RTP_BIND", "192.0.2.1"),
    ] {
        let text = sample(&[(variable, address)]).unwrap_err().to_string();
        assert!(text.starts_with(&format!("environment {variable}: ")), "{text}");
        assert!(text.contains("extension 1001 and 9 more have sample passwords"), "{text}");
        assert!(text.contains("dialtone init --lan"), "{text}");
    }
    sample(&[("DIALTONE_SIP_UDP", "[::1]:5060,127.0.0.9:5060")]).unwrap();
    let prod = sample(&[("DIALTONE_PROFILE", "prod")]).unwrap_err().to_string();
    assert!(prod.contains("which prod does not allow"), "{prod}");
}

#[test]
fn each_mistake_has_its_line_its_key_and_a_way_out() {
    let site = r#"
digest = ["md4"]
colour = "blue"
[[extension]]
number = "1001"
password = "a"
codecs = ["pcmu", "telephone-event"]
max_contacts = 0
[[extension]]
number = "1001"
password = "b"
ring_timeout = "1ms"
[[extension]]
number = "10 02"
[[extension]]
name = "Nobody"
password = "c"
[[ring_group]]
number = "500"
members = ["1001", "1001", "1009", "600"]
ringback = "music"
[[ring_group]]
number = "501"
[[flow]]
number = "1001"
steps = ["echo", "answer", { play = "nothing" }, { tone = { hz = 9 } }]
[[flow]]
number = "901"
steps = ["dance"]
"#;
    let expected = [
        "site.toml:2: digest: unknown variant `md4`, expected `md5` or `sha-256`; write one of the values named",
        "site.toml:3: colour: unknown field `colour`, expected one of",
        "site.toml:7: extension 1001.codecs: telephone-event is not a voice codec; remove it",
        "site.toml:8: extension 1001.max_contacts: it is out of range; choose 1 to 50",
        "site.toml:10: extension 1001.number: the number belongs to the extension at site.toml:5; choose another",
        "site.toml:12: extension 1001.ring_timeout: it is out of range; choose 1s to 1h",
        "site.toml:13: extension 10 02.password: it is missing; write password",
        "site.toml:14: extension 10 02.number: \"10 02\" cannot be dialed; use 1 to 32",
        "site.toml:15: extension.number: it is missing; write number",
        "site.toml:20: ring_group 500.members: 1001 stands there twice; remove one",
        "site.toml:20: ring_group 500.members: there is no extension 1009; name an extension of this file",
        "site.toml:20: ring_group 500.members: there is no extension 600; name an extension of this file",
        "site.toml:21: ring_group 500.ringback: unknown variant `music`",
        "site.toml:22: ring_group 501.members: it is missing or empty; write members",
        "site.toml:25: flow 1001.number: the number belongs to the extension at site.toml:5; choose another",
        "site.toml:26: flow 1001.steps: step 1 never ends by itself",
        "site.toml:26: flow 1001.steps: step 1: the caller hears nothing before \"answer\"; put \"answer\" in front",
        "site.toml:26: flow 1001.steps: step 3: there is no prompt \"nothing\"; put nothing.wav into",
        "site.toml:26: flow 1001.steps: step 4: the tone is out of range",
        "site.toml:29: flow 901.steps: unknown variant `dance`",
    ];
    let found = problems(site);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (problem, start) in found.iter().zip(expected) {
        assert!(problem.starts_with(start), "{problem}\nwas expected to begin with\n{start}");
    }
}

#[test]
fn a_flow_answers_before_it_plays() {
    let flow = |steps: &str| problems(&format!("[[flow]]\nnumber = \"900\"\nsteps = {steps}\n"));
    for steps in [
        r#"[{ play = "welcome" }, "answer"]"#,
        r#"[{ play = "welcome" }]"#,
        r#"[{ wait = "1s" }, { tone = { hz = 440 } }]"#,
        r#"["echo"]"#,
    ] {
        let found = flow(steps);
        assert!(
            found.len() == 1 && found[0].contains("the caller hears nothing before"),
            "{steps}: {found:#?}"
        );
    }
    let found = flow(r#"[{ wait = "30s" }, { wait = "30s" }, "answer", "echo"]"#);
    assert!(found.len() == 1 && found[0].contains("waits 60 s or longer for an answer"), "{found:#?}");
    for steps in
        [r#"[{ wait = "59s" }, "answer", { wait = "1h" }, "echo"]"#, r#"[{ wait = "1s" }, "hang-up"]"#]
    {
        assert!(flow(steps).is_empty(), "{steps}: {:#?}", flow(steps));
    }
}

#[test]
fn tables_of_the_wrong_shape_are_explained() {
    assert_eq!(
        problems("extension = 1\n[flow]\nnumber = \"1\"\n"),
        [
            "site.toml:1: extension: it is not a list of tables; begin each one with the line [[extension]]",
            "site.toml:2: flow: it is not a list of tables; begin each one with the line [[flow]]",
        ]
    );
    let missing = problems("[[extension]]\nnumber = \"1\"\npassword = \"x\"\npassword_file = \"y\"\n");
    assert_eq!(missing.len(), 1, "{missing:#?}");
    assert!(missing[0].contains("extension 1.password_file: password is set too"), "{missing:#?}");
}

#[test]
fn an_extension_overrides_the_site() {
    let folder = Folder::new();
    let file = folder.write("dialtone.toml", "[calls]\nring_timeout = \"7s\"\n");
    folder.write("key", "from a file\n");
    folder.write(
        "site.toml",
        r#"
codecs = ["pcma"]
contact_policy = "refuse"
reliable_provisional = "off"
[[extension]]
number = "alice"
reliable_provisional = "required"
password_file = "key"
digest = ["sha-256"]
max_contacts = 1
[[extension]]
number = "bob"
password = "x"
codecs = ["opus"]
ring_timeout = "1m"
"#,
    );
    let (_, loaded) = load_all(&file, &Environment::new()).unwrap();
    let [alice, bob] = loaded.accounts.as_slice() else { panic!("two accounts") };
    assert_eq!((alice.password.reveal(), alice.max_contacts), ("from a file", 1));
    assert_eq!(
        (alice.algorithms.as_slice(), alice.contact_policy),
        (&[Digest::Sha256][..], ContactPolicy::Refuse)
    );
    assert_eq!((bob.algorithms.len(), bob.max_contacts, bob.contact_policy), (2, 5, ContactPolicy::Refuse));
    use dialtone_signaling::ua::Reliability::{Off, Required};
    assert_eq!((alice.reliability, bob.reliability), (Required, Off));
    assert_eq!(loaded.site.extensions["alice"].codecs, [Codec::Pcma]);
    assert_eq!(loaded.site.extensions["alice"].ring_timeout, Duration::from_secs(7));
    assert_eq!(loaded.site.extensions["bob"].codecs, [Codec::Opus]);
    assert_eq!(loaded.site.extensions["bob"].ring_timeout, Duration::from_secs(60));
}

#[test]
fn how_a_phone_is_reached_is_said_for_the_site_or_for_one() {
    let folder = Folder::new();
    let file = folder.write("dialtone.toml", "");
    folder.write(
        "site.toml",
        r#"
nat = "never"
transports = ["tls"]
qualify = "0s"
[[extension]]
number = "alice"
password = "x"
nat = "always"
transports = ["udp", "tcp"]
qualify = "5s"
[[extension]]
number = "bob"
password = "x"
"#,
    );
    let (_, loaded) = load_all(&file, &Environment::new()).unwrap();
    let [alice, bob] = loaded.accounts.as_slice() else { panic!("two accounts") };
    let reach = |nat, transports: &[Transport], seconds| ReachPolicy {
        nat,
        transports: transports.to_vec(),
        qualify: Duration::from_secs(seconds),
    };
    assert_eq!(alice.reach, reach(Nat::Always, &[Transport::Udp, Transport::Tcp], 5));
    assert_eq!(bob.reach, reach(Nat::Never, &[Transport::Tls], 0));
    assert_eq!(sample(&[]).unwrap().accounts[0].reach, reach(Nat::Auto, &[], 60));
}

#[test]
fn pickup_groups_are_read_and_checked() {
    let text =
        |groups: &str| format!("[[extension]]\nnumber = \"1\"\npassword = \"x\"\npickup_groups = {groups}\n");
    let folder = Folder::new();
    let file = folder.write("dialtone.toml", "");
    folder.write("site.toml", &text("[\"sales\", \"desk\"]"));
    let (_, loaded) = load_all(&file, &Environment::new()).unwrap();
    assert_eq!(loaded.site.extensions["1"].pickup_groups, ["sales", "desk"]);
    let many = (0..17).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",");
    for groups in ["[\"a\", \"a\"]", "[\"\"]", &format!("[{many}]")] {
        let wrong = problems(&text(groups));
        assert!(wrong[0].starts_with("site.toml:4: extension 1.pickup_groups: "), "{wrong:#?}");
    }
}

#[test]
fn a_wrong_way_to_reach_a_phone_is_explained() {
    let wrong = problems(
        "nat = \"perhaps\"\ntransports = []\n[[extension]]\nnumber = \"1\"\npassword = \"x\"\nqualify = \"2h\"\n",
    );
    assert_eq!(wrong.len(), 3, "{wrong:#?}");
    for (line, key) in [(1, "nat"), (2, "transports"), (6, "extension 1.qualify")] {
        let place = format!("site.toml:{line}: {key}: ");
        assert!(wrong.iter().any(|problem| problem.starts_with(&place)), "{place}: {wrong:#?}");
    }
}
