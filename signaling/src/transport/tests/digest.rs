//! Registering over real sockets: each transport, each family, each way to be right or wrong.

use super::phone::{Answer, Text, challenges, shape};
use super::world::{Client, Setup, World};
use crate::auth::{Algorithm, NonceWindow};
use crate::message::{Name, Response};
use crate::wire::{Credentials, Transport, TransportEvent};

const EVERYWHERE: [(Transport, bool); 4] =
    [(Transport::Udp, false), (Transport::Udp, true), (Transport::Tcp, false), (Transport::Tcp, true)];

async fn both_families() -> World {
    World::start(Setup { addresses: vec!["127.0.0.1:0", "[::1]:0"], ..Setup::default() }).await
}

fn register(transport: Transport) -> Text {
    Text { transport: transport.via(), ..Text::default() }
}

fn stale(response: &Response) -> Vec<Option<String>> {
    challenges(response).iter().map(|one| one.get("stale").map(str::to_owned)).collect()
}

/// Answers a challenge wrongly; the server challenges again and tells who failed.
async fn fail(world: &mut World, client: &mut Client, register: &Text, answer: Answer) -> Response {
    let challenged = client.ask(register.print()).await;
    let refused = client.ask(register.answering(&challenged, &answer).print()).await;
    loop {
        match world.event().await {
            TransportEvent::AuthFailed { account, source } => {
                assert_eq!((account.as_str(), source), (answer.username, client.address()));
                return refused;
            }
            TransportEvent::FlowUp { .. } | TransportEvent::FlowDown { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_credentials_two_challenges_with_md5_first() {
    let world = both_families().await;
    for (transport, ipv6) in EVERYWHERE {
        let mut client = world.client(transport, ipv6).await;
        let challenged = client.ask(register(transport).print()).await;
        assert_eq!(challenged.status, 401);
        let challenges = challenges(&challenged);
        let algorithms: Vec<_> = challenges.iter().map(|one| one.get("algorithm").unwrap()).collect();
        assert_eq!(algorithms, ["MD5", "SHA-256"]);
        assert!(challenges.iter().all(|one| one.get("qop") == Some("auth") && one.get("stale").is_none()));
        assert!(challenged.headers.to().unwrap().tag().is_some());
        let via = challenged.via().unwrap();
        let source = client.address();
        assert_eq!((via.received(), via.rport()), (Some(source.ip()), Some(Some(source.port()))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_password_reaches_the_stack_as_good() {
    let mut world = both_families().await;
    for (transport, ipv6) in EVERYWHERE {
        let mut client = world.client(transport, ipv6).await;
        for algorithm in Algorithm::ALL {
            let register = register(transport);
            let challenged = client.ask(register.print()).await;
            let answer = Answer { algorithm, ..Answer::default() };
            client.send(register.answering(&challenged, &answer).print()).await;
            let (path, request, credentials) = world.received_request().await;
            assert_eq!((path.transport, path.remote), (transport, client.address()));
            assert_eq!(path.local, world.local(transport, ipv6));
            assert_eq!(request.via().unwrap().received(), Some(client.address().ip()));
            let nonce = challenges(&challenged)[0].get("nonce").unwrap().to_owned();
            let expected = Credentials::Good { account: "1001".into(), nonce, nonce_count: 1 };
            assert_eq!(credentials, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_account_gets_the_answer_of_a_wrong_password() {
    let mut world = both_families().await;
    for (transport, ipv6) in EVERYWHERE {
        let mut client = world.client(transport, ipv6).await;
        let register = register(transport);
        let wrong = Answer { password: "guess", ..Answer::default() };
        let known = fail(&mut world, &mut client, &register, wrong).await;
        let nobody = Answer { username: "7777", ..wrong };
        let unknown = fail(&mut world, &mut client, &Text { user: "7777", ..register }, nobody).await;
        assert_eq!(shape(&known), shape(&unknown));
        assert_eq!((known.status, stale(&known)), (401, vec![None, None]));
        world.hands.advance(61);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_told_apart_by_its_count() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.udp_client().await;
    let mut window = NonceWindow::default();
    let register = register(Transport::Udp);
    let challenged = client.ask(register.print()).await;
    let counts = [("00000001", true), ("00000001", false), ("00000002", true), ("00000002", false)];
    for (nonce_count, accepted) in counts {
        let answer = Answer { nonce_count, ..Answer::default() };
        client.send(register.answering(&challenged, &answer).print()).await;
        let (_, _, credentials) = world.received_request().await;
        let Credentials::Good { nonce, nonce_count, .. } = credentials else { panic!("{credentials:?}") };
        assert_eq!(window.accept(&nonce, nonce_count, world.hands.now().mono), accepted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_nonce_is_stale_and_its_successor_good() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.udp_client().await;
    let register = register(Transport::Udp);
    let challenged = client.ask(register.print()).await;
    world.hands.advance(301);
    let answer = Answer::default();
    let again = client.ask(register.answering(&challenged, &answer).print()).await;
    assert_eq!((again.status, stale(&again)), (401, vec![Some("true".into()), Some("true".into())]));
    client.send(register.answering(&again, &answer).print()).await;
    assert!(matches!(world.received_request().await.2, Credentials::Good { .. }));
    assert_eq!(world.metrics().auth_failures.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guesser_is_turned_away_for_the_rest_of_the_minute() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.udp_client().await;
    let register = register(Transport::Udp);
    let guess = Answer { password: "guess", ..Answer::default() };
    for _ in 0..5 {
        assert_eq!(fail(&mut world, &mut client, &register, guess).await.status, 401);
    }
    let challenged = client.ask(register.print()).await;
    assert_eq!(challenged.status, 401, "a challenge tells nothing");
    let right = register.answering(&challenged, &Answer::default()).print();
    world.hands.advance(10);
    let throttled = client.ask(&right).await;
    assert_eq!((throttled.status, throttled.headers.text(&Name::RetryAfter)), (503, Some("50")));
    world.hands.advance(50);
    client.send(&right).await;
    assert!(matches!(world.received_request().await.2, Credentials::Good { .. }));
    assert_eq!(world.metrics().throttled.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_proved_an_account_is_not_locked_out_by_guessers() {
    let mut world = both_families().await;
    let mut owner = world.udp_client().await;
    let mut guesser = world.client(Transport::Udp, true).await;
    let register = register(Transport::Udp);
    let challenged = owner.ask(register.print()).await;
    owner.send(register.answering(&challenged, &Answer::default()).print()).await;
    world.received_request().await;
    let guess = Answer { password: "guess", ..Answer::default() };
    for _ in 0..5 {
        fail(&mut world, &mut guesser, &register, guess).await;
    }
    let challenged = guesser.ask(register.print()).await;
    let refused = guesser.ask(register.answering(&challenged, &guess).print()).await;
    assert_eq!(refused.status, 503);
    let challenged = owner.ask(register.print()).await;
    owner.send(register.answering(&challenged, &Answer::default()).print()).await;
    assert!(matches!(world.received_request().await.2, Credentials::Good { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_accounts_count_from_the_next_message_on() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.udp_client().await;
    let register = Text { user: "1003", ..register(Transport::Udp) };
    let answer = Answer { username: "1003", password: "new", ..Answer::default() };
    fail(&mut world, &mut client, &register, answer).await;
    let accounts = crate::auth::Accounts::new(super::phone::REALM, &[], [("1003", "new")]);
    world.handle.set_accounts(accounts.into());
    let challenged = client.ask(register.print()).await;
    client.send(register.answering(&challenged, &answer).print()).await;
    assert!(matches!(world.received_request().await.2, Credentials::Good { .. }));
}
