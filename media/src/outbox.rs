//! What a worker wants done: datagrams, events and changes of its ports. One is made at the start and
//! used again at every turn, so that nothing is allocated while packets flow.

use std::net::SocketAddr;

use dialtone_core::media::MediaEvent;

/// Datagrams in an outbox.
pub const DATAGRAMS_MAX: usize = 128;
/// Bytes in an outbox: as many frames of the longest packet that a generator makes.
const BYTES_MAX: usize = DATAGRAMS_MAX * 1024;
/// Datagrams that one leg may add in one step.
pub const STEP_MAX: usize = 4;

/// A port's place in its worker's tables. Used again after a port is gone, which a
/// [`dialtone_core::PortId`] never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);

impl Slot {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which socket of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The even port: sound.
    Rtp,
    /// The odd port: reports.
    Rtcp,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// From which port.
    pub slot: Slot,
    /// From which socket of it.
    pub channel: Channel,
    /// To whom.
    pub to: SocketAddr,
    start: u32,
    end: u32,
}

/// What became of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChange {
    /// It left the reserve: a call uses it.
    Taken(Slot),
    /// It is gone; its sockets are to be closed once its datagrams are sent.
    Closed(Slot),
}

/// One turn's output.
#[derive(Debug)]
pub struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<Datagram>,
    /// For calls.
    pub events: Vec<MediaEvent>,
    /// For the reserve.
    pub ports: Vec<PortChange>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            bytes: Vec::with_capacity(BYTES_MAX),
            datagrams: Vec::with_capacity(DATAGRAMS_MAX),
            events: Vec::with_capacity(2 * DATAGRAMS_MAX),
            ports: Vec::with_capacity(2 * DATAGRAMS_MAX),
        }
    }
}

impl Outbox {
    /// Whether one more step of one leg fits.
    pub fn has_room(&self) -> bool {
        self.datagrams.len() + STEP_MAX <= DATAGRAMS_MAX && self.bytes.len() + STEP_MAX * 1024 <= BYTES_MAX
    }

    /// Adds a datagram of two parts. `false` when it does not fit.
    pub fn push(
        &mut self,
        slot: Slot,
        channel: Channel,
        to: SocketAddr,
        header: &[u8],
        payload: &[u8],
    ) -> bool {
        let start = self.bytes.len();
        let end = start + header.len() + payload.len();
        if end > BYTES_MAX || self.datagrams.len() == DATAGRAMS_MAX {
            return false;
        }
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(payload);
        self.datagrams.push(Datagram { slot, channel, to, start: start as u32, end: end as u32 });
        true
    }

    /// The datagrams in the order in which they were added.
    pub fn datagrams(&self) -> &[Datagram] {
        &self.datagrams
    }

    /// The bytes of one of [`Outbox::datagrams`].
    pub fn bytes(&self, datagram: &Datagram) -> &[u8] {
        &self.bytes[datagram.start as usize..datagram.end as usize]
    }

    /// Forgets the datagrams, which were sent. Events and changes are drained by whoever reads them.
    pub fn clear_datagrams(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }
}
