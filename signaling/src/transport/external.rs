//! Asking a STUN server which address of ours it sees: the Binding method of RFC 8489, over UDP, without
//! authentication.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::stun::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, COOKIE, ERROR_CODE, HEADER, OPTIONAL,
    XOR_MAPPED_ADDRESS, word,
};

/// Those that we know and need not read: MAPPED-ADDRESS, USERNAME and MESSAGE-INTEGRITY are never an answer to what
/// we ask.
const MAPPED_ADDRESS: u16 = 0x0001;

/// RFC 8489 §6.2.1: the first interval, how many requests are sent, and how long the last one is waited for, in
/// first intervals.
const RTO: Duration = Duration::from_millis(500);
const REQUESTS: u32 = 7;
const LAST: u32 = 16;
/// Datagrams that are no answer, before it is given up: somebody floods us.
const STRANGERS: u32 = 64;

/// A transaction ID (RFC 8489 §5).
pub type TransactionId = [u8; 12];

/// Why no address was learned.
#[derive(Debug, thiserror::Error)]
pub enum StunError {
    /// The network.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nobody answered.
    #[error("no answer")]
    TimedOut,
    /// The server does not want to tell.
    #[error("refused with {0}")]
    Refused(u16),
    /// Its answer says no address, or demands what we do not know.
    #[error("an answer that cannot be used")]
    Unusable,
}

/// What a datagram means to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is none.
    Stranger,
    /// Our address and port, as seen there.
    Mapped(SocketAddr),
    /// The server does not want to tell; 0 to 955.
    Refused(u16),
    /// It says no address, or demands what we do not know.
    Unusable,
}

/// The address of ours that the server at `server` sees, asked from `from`. Waits for 40 s at most.
///
/// # Errors
/// [`StunError`]: nobody answers, or not usefully.
pub async fn external_address(
    server: SocketAddr,
    from: IpAddr,
    id: TransactionId,
) -> Result<IpAddr, StunError> {
    ask(server, from, id, RTO).await.map(|mapped| mapped.ip())
}

/// Asks; with this interval before the first repetition.
async fn ask(
    server: SocketAddr,
    from: IpAddr,
    id: TransactionId,
    rto: Duration,
) -> Result<SocketAddr, StunError> {
    let socket = UdpSocket::bind((from, 0)).await?;
    // Nobody else's datagrams are taken.
    socket.connect(server).await?;
    let request = request(id);
    let mut strangers = 0;
    for round in 0..REQUESTS {
        // An ICMP error of the one before must not end it.
        let _ = socket.send(&request).await;
        let wait = rto * if round + 1 == REQUESTS { LAST } else { 1 << round };
        let heard = timeout(wait, hear(&socket, id, &mut strangers)).await;
        if let Ok(answer) = heard {
            return answer;
        }
    }
    Err(StunError::TimedOut)
}

/// Waits for the answer; for ever when there is none.
async fn hear(socket: &UdpSocket, id: TransactionId, strangers: &mut u32) -> Result<SocketAddr, StunError> {
    let mut buffer = [0; 1500];
    loop {
        let length = match socket.recv(&mut buffer).await {
            Ok(length) => length,
            // The server is not up, or not yet: asked again in time.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error.into()),
        };
        match read(buffer.get(..length).unwrap_or_default(), id) {
            Answer::Mapped(mapped) => return Ok(mapped),
            Answer::Refused(code) => return Err(StunError::Refused(code)),
            Answer::Unusable => return Err(StunError::Unusable),
            Answer::Stranger => {
                *strangers += 1;
                if *strangers > STRANGERS {
                    return Err(StunError::Unusable);
                }
            }
        }
    }
}

/// A Binding request without attributes.
fn request(id: TransactionId) -> [u8; HEADER] {
    let mut message = [0; HEADER];
    message[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
    message[4..8].copy_from_slice(&COOKIE.to_be_bytes());
    message[8..].copy_from_slice(&id);
    message
}

/// Reads what should be the answer to the request with this id.
pub fn read(datagram: &[u8], id: TransactionId) -> Answer {
    let ours = datagram.get(4..8) == Some(&COOKIE.to_be_bytes()) && datagram.get(8..HEADER) == Some(&id);
    let body = datagram.get(HEADER..).unwrap_or_default();
    let whole = word(datagram, 2).is_some_and(|length| usize::from(length) == body.len());
    match word(datagram, 0) {
        Some(kind @ (BINDING_SUCCESS | BINDING_ERROR)) if ours && whole && body.len() % 4 == 0 => {
            attributes(body, kind, id).unwrap_or(Answer::Unusable)
        }
        _ => Answer::Stranger,
    }
}

/// The first attribute that counts; `None` when there is none, or one that we must understand and do not
/// (RFC 8489 §6.3.3).
fn attributes(mut body: &[u8], kind: u16, id: TransactionId) -> Option<Answer> {
    let mut found = None;
    while !body.is_empty() {
        let (attribute, length) = (word(body, 0)?, usize::from(word(body, 2)?));
        let value = body.get(4..4 + length)?;
        match (attribute, kind) {
            (XOR_MAPPED_ADDRESS, BINDING_SUCCESS) => {
                let mapped = mapped(value, id)?;
                found.get_or_insert(Answer::Mapped(mapped));
            }
            (ERROR_CODE, BINDING_ERROR) => {
                let (class, number) = (value.get(2)? & 7, value.get(3)?);
                found.get_or_insert(Answer::Refused(u16::from(class) * 100 + u16::from(*number)));
            }
            // What a refusal demands does not matter: it stays one.
            (MAPPED_ADDRESS, _) | (OPTIONAL.., _) | (_, BINDING_ERROR) => {}
            _ => return None,
        }
        body = body.get(4 + length.next_multiple_of(4)..)?;
    }
    found
}

/// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn mapped(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let cookie = COOKIE.to_be_bytes();
    let port = word(value, 2)? ^ u16::from_be_bytes([cookie[0], cookie[1]]);
    let ip: IpAddr = match (value.get(1)?, value.get(4..)?) {
        (1, address) => {
            let address: [u8; 4] = address.try_into().ok()?;
            Ipv4Addr::from_bits(u32::from_be_bytes(address) ^ COOKIE).into()
        }
        (2, address) => {
            let address: [u8; 16] = address.try_into().ok()?;
            let mut key = [0; 16];
            key[..4].copy_from_slice(&cookie);
            key[4..].copy_from_slice(&id);
            Ipv6Addr::from_bits(u128::from_be_bytes(address) ^ u128::from_be_bytes(key)).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::super::stun::attribute;
    use super::*;

    const ID: TransactionId = *b"0123456789ab";

    fn message(kind: u16, id: TransactionId, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(id);
        bytes.extend(body);
        bytes
    }

    /// 192.0.2.1:32853.
    const MAPPED: [u8; 8] = [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];

    fn success() -> Vec<u8> {
        message(BINDING_SUCCESS, ID, &attribute(XOR_MAPPED_ADDRESS, &MAPPED))
    }

    /// RFC 8489 §5: type, length, magic cookie, transaction ID.
    #[test]
    fn a_request_is_twenty_bytes() {
        assert_eq!(request(ID)[..8], [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(request(ID)[8..], ID);
    }

    /// RFC 5769 §2.2 and §2.3: the sample answers' XOR-MAPPED-ADDRESS, with the other attributes of theirs that
    /// need not be understood.
    #[test]
    fn the_samples_of_rfc_5769_are_read() {
        let id = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let software = attribute(0x8022, b"test vector");
        let v4 = [software.clone(), attribute(XOR_MAPPED_ADDRESS, &MAPPED)].concat();
        let expected = Answer::Mapped("192.0.2.1:32853".parse().unwrap());
        assert_eq!(read(&message(BINDING_SUCCESS, id, &v4), id), expected);
        let value = [
            0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5,
            0xbe, 0xd2, 0xb9, 0xd9,
        ];
        let v6 = [software, attribute(XOR_MAPPED_ADDRESS, &value)].concat();
        let expected = Answer::Mapped("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap());
        assert_eq!(read(&message(BINDING_SUCCESS, id, &v6), id), expected);
    }

    /// RFC 8489 §6.3, §6.3.3, §6.3.4: what is no answer to our request, and what is one without an address.
    #[test]
    fn what_cannot_be_used_is_not() {
        let mut other_id = ID;
        other_id[3] ^= 1;
        let mut cut = success();
        cut.pop();
        let strangers = [
            Vec::new(),
            b"SIP/2.0 200 OK".to_vec(),
            message(BINDING_REQUEST, ID, &[]),
            message(BINDING_SUCCESS, other_id, &attribute(XOR_MAPPED_ADDRESS, &MAPPED)),
            cut,
        ];
        for datagram in strangers {
            assert_eq!(read(&datagram, ID), Answer::Stranger, "{datagram:?}");
        }
        let unknown = [attribute(XOR_MAPPED_ADDRESS, &MAPPED), attribute(0x7fff, b"")].concat();
        let unusable = [
            message(BINDING_SUCCESS, ID, &[]),
            message(BINDING_SUCCESS, ID, &unknown),
            message(BINDING_SUCCESS, ID, &attribute(XOR_MAPPED_ADDRESS, &MAPPED[..6])),
            message(BINDING_SUCCESS, ID, &[0, 0x20, 0xff, 0xff]),
            message(BINDING_ERROR, ID, &[]),
        ];
        for datagram in unusable {
            assert_eq!(read(&datagram, ID), Answer::Unusable, "{datagram:?}");
        }
        let refused = message(BINDING_ERROR, ID, &attribute(ERROR_CODE, &[0, 0, 4, 20]));
        assert_eq!(read(&refused, ID), Answer::Refused(420));
    }

    /// RFC 8489 §14: whatever the bytes are, reading them ends.
    #[test]
    fn no_bytes_break_it() {
        let good = success();
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                read(&bad, ID);
                read(&bad[..at], ID);
            }
        }
    }

    async fn asked(server: &std::net::UdpSocket) -> Result<SocketAddr, StunError> {
        ask(server.local_addr().unwrap(), [127, 0, 0, 1].into(), ID, Duration::from_millis(20)).await
    }

    /// RFC 8489 §6.2.1: a request that is lost is repeated; what is no answer is not taken for one.
    #[tokio::test]
    async fn it_asks_again_and_believes_only_the_answer() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let answering = server.try_clone().unwrap();
        let answerer = std::thread::spawn(move || {
            let mut buffer = [0; 100];
            for round in 0.. {
                let (length, source) = answering.recv_from(&mut buffer).unwrap();
                assert_eq!(buffer[..length], request(ID));
                if round == 2 {
                    answering.send_to(b"noise", source).unwrap();
                    answering.send_to(&success(), source).unwrap();
                    return;
                }
            }
        });
        assert_eq!(asked(&server).await.unwrap(), "192.0.2.1:32853".parse().unwrap());
        answerer.join().unwrap();
    }

    /// RFC 8489 §6.2.1: after seven requests it is given up.
    #[tokio::test]
    async fn it_gives_up() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let result =
            ask(server.local_addr().unwrap(), [127, 0, 0, 1].into(), ID, Duration::from_millis(1)).await;
        assert!(matches!(result, Err(StunError::TimedOut)), "{result:?}");
        server.set_nonblocking(true).unwrap();
        let requests = std::iter::from_fn(|| server.recv(&mut [0; 100]).ok()).count();
        assert_eq!(requests, 7);
    }
}
