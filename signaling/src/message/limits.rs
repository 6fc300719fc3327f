//! Every bound of the message parsers. Beyond one of them a message is refused, never cut.

/// Bytes of a whole message: what a datagram can carry.
pub const MESSAGE_MAX: usize = 65_535;
/// Header lines of a message after unfolding, Content-Length not counted.
pub const HEADERS_MAX: usize = 128;
/// Bytes of the start line, and of one header line with its continuation lines.
pub const LINE_MAX: usize = 8_192;
/// Parameters of one URI, Via or address, and of one challenge.
pub const PARAMS_MAX: usize = 32;
/// Parts of a multipart body, those within parts included.
pub const PARTS_MAX: usize = 16;
/// Multipart bodies within one another.
pub const PARTS_DEPTH_MAX: usize = 4;
/// Elements of one comma-separated list (Via, Contact, Route …) over all its lines.
pub const ELEMENTS_MAX: usize = 64;
