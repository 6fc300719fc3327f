//! Sound: every phone in a call sends a packet now and then that says whose it is.

use std::net::SocketAddr;
use std::time::Duration;

use dialtone::switch::Input;
use dialtone_core::media::MediaEvent;

use super::media::Came;
use super::phone::Stream;
use super::world::{Happening, World};

impl World {
    /// What the workers did becomes of the world.
    pub fn sounded(&mut self, came: Came) {
        for event in came.events {
            let after = if matches!(event, MediaEvent::Released { .. }) { 1 } else { 0 };
            self.plan(Duration::from_millis(after), Happening::Input(Input::Media(event)));
        }
        for (worker, ipv6) in came.closed {
            self.plan(Duration::from_secs(2), Happening::Restock(worker, ipv6));
        }
        for (to, bytes) in came.sound {
            self.heard(to, &bytes);
        }
    }

    fn heard(&mut self, to: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let Some(marker) = bytes.get(12..16).and_then(|bytes| bytes.try_into().ok()) else { return };
        let Some(phone) = self.phones.iter_mut().find(|phone| phone.line.public.ip() == to.ip()) else {
            return;
        };
        if let Some(call) = phone.calls.iter_mut().find(|call| call.media.port == to.port()) {
            call.media.heard = Some((u32::from_be_bytes(marker), now));
        }
    }

    /// Every phone in a call sends a packet.
    pub fn sound(&mut self) {
        let mut packets = Vec::new();
        for phone in &mut self.phones {
            if self.net.faults
                && (self.net.cut[phone.at] > self.now || self.faults.muted[phone.at] > self.now)
            {
                continue;
            }
            let (ip, at) = (phone.line.public.ip(), phone.at);
            for call in &mut phone.calls {
                let Some(to) = call.rtp_to() else { continue };
                let media = &mut call.media;
                media.sequence = media.sequence.wrapping_add(1);
                packets.push((SocketAddr::new(ip, media.port), to, packet(marker(at, call.id), media)));
            }
        }
        for (from, to, bytes) in packets {
            let came = self.media.packet(self.now, from, to, &bytes);
            self.sounded(came);
        }
        self.plan(Duration::from_millis(500), Happening::Sound);
    }
}

/// Names a phone's call in its sound.
pub fn marker(phone: usize, call: u32) -> u32 {
    (phone as u32) << 20 | call & 0xF_FFFF
}

/// A packet of RTP with 20 ms of G.711 whose first bytes say whose it is.
fn packet(marker: u32, media: &Stream) -> Vec<u8> {
    let mut bytes = vec![0_u8; 172];
    bytes[0] = 0x80;
    bytes[1] = media.payload_type;
    bytes[2..4].copy_from_slice(&media.sequence.to_be_bytes());
    bytes[4..8].copy_from_slice(&(u32::from(media.sequence) * 160).to_be_bytes());
    bytes[8..12].copy_from_slice(&marker.to_be_bytes());
    bytes[12..16].copy_from_slice(&marker.to_be_bytes());
    bytes
}
