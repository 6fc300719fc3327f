//! Speakers and listeners of G.711: each packet carries who says it, its number and when it was said, so that loss, order
//! and delay are counted at the ends.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// G.711 of 20 ms, with its header.
const PACKET: usize = 172;
const SLICES: u32 = 20;
const FRAME: Duration = Duration::from_millis(20);

/// One end of a call.
pub struct Voice {
    pub socket: Arc<UdpSocket>,
    pub to: SocketAddr,
}

/// What came of a run of voices.
#[derive(Default)]
pub struct Heard {
    pub sent: u64,
    pub received: u64,
    /// Packets that were said, and not heard.
    pub lost: u64,
    /// From saying to hearing, sorted.
    pub delays: Vec<Duration>,
}

impl Heard {
    /// This share of packets took no longer.
    pub fn quantile(&self, share: f64) -> Duration {
        let at = ((self.delays.len() as f64 * share) as usize).min(self.delays.len().saturating_sub(1));
        self.delays.get(at).copied().unwrap_or_default()
    }
}

/// All speak for so long, 50 packets a second each.
pub fn speak(voices: &[Voice], span: Duration) -> Heard {
    let (begin, stop) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| listen(voices, begin, &stop));
        let said = say(voices, begin, span);
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        let (mut heard, by_speaker) = listener.join().unwrap();
        heard.sent = said.iter().map(|said| u64::from(*said)).sum();
        let arrived: u64 = by_speaker.values().sum();
        heard.lost = heard.sent.saturating_sub(arrived);
        heard.delays.sort_unstable();
        heard
    })
}

fn say(voices: &[Voice], begin: Instant, span: Duration) -> Vec<u32> {
    let mut said = vec![0_u32; voices.len()];
    let mut packet = [0xD5; PACKET];
    packet[..2].copy_from_slice(&[0x80, 8]);
    let per_slice = voices.len().div_ceil(SLICES as usize).max(1);
    let mut step = 0_u32;
    while begin.elapsed() < span {
        for (slice, slot) in voices.chunks(per_slice).enumerate() {
            for (offset, voice) in slot.iter().enumerate() {
                let speaker = slice * per_slice + offset;
                let number = said[speaker];
                said[speaker] += 1;
                packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                packet[4..8].copy_from_slice(&number.wrapping_mul(160).to_be_bytes());
                packet[8..12].copy_from_slice(&(speaker as u32 + 1).to_be_bytes());
                packet[12..20].copy_from_slice(&(begin.elapsed().as_nanos() as u64).to_be_bytes());
                packet[20..24].copy_from_slice(&(speaker as u32).to_be_bytes());
                packet[24..28].copy_from_slice(&number.to_be_bytes());
                let _ = voice.socket.send_to(&packet, voice.to);
            }
            step += 1;
            std::thread::sleep((FRAME / SLICES * step).saturating_sub(begin.elapsed()));
        }
        // Fewer voices than slices.
        step = step.next_multiple_of(SLICES);
        std::thread::sleep((FRAME / SLICES * step).saturating_sub(begin.elapsed()));
    }
    said
}

fn listen(voices: &[Voice], begin: Instant, stop: &AtomicBool) -> (Heard, HashMap<u32, u64>) {
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    for (index, voice) in voices.iter().enumerate() {
        voice.socket.set_nonblocking(true).unwrap();
        epoll.add(voice.socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).unwrap();
    }
    let (mut heard, mut seen): (Heard, HashMap<u32, (u32, u64)>) = Default::default();
    let mut events = [EpollEvent::empty(); 64];
    let mut packet = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let ready = epoll.wait(&mut events, EpollTimeout::from(20_u8)).unwrap_or(0);
        for event in &events[..ready] {
            let socket = &voices[event.data() as usize].socket;
            while let Ok(len) = socket.recv(&mut packet) {
                if len != PACKET {
                    continue;
                }
                let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
                let at = u64::from_be_bytes(packet[12..20].try_into().unwrap());
                let (speaker, number) = (word(20), word(24));
                let (next, count) = seen.entry(speaker).or_default();
                // What comes twice, or comes again, is not one packet more.
                if number >= *next {
                    (*next, *count) = (number + 1, *count + 1);
                    heard.received += 1;
                    heard.delays.push(begin.elapsed().saturating_sub(Duration::from_nanos(at)));
                }
            }
        }
    }
    (heard, seen.into_iter().map(|(speaker, (_, count))| (speaker, count)).collect())
}

/// A socket of a voice at this port.
pub fn at(port: u16) -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind(("127.0.0.1", port)).unwrap())
}
