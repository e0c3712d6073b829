//! RTCP: reports read and written (RFC 3550 §6, RFC 5506 for reduced size).
//!
//! Feedback (RFC 4585) is read over: there is no video to refresh and no rate to adapt.

use crate::rtp::{Malformed, ReportBlock, Ssrc};

/// What a compound packet said that concerns us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The middle 32 bits of the NTP time of a sender report, for our next report block.
    pub sender_report: Option<u32>,
    /// What the peer says of the stream that we send.
    pub block: Option<ReportBlock>,
    /// The peer ends its stream.
    pub bye: bool,
}

/// Reads the compound packet that fills `bytes`; report blocks about other streams than `ours` are
/// passed over.
///
/// # Errors
///
/// The version is not 2 or a length leads out of the buffer (RFC 3550 §A.2).
pub fn read(bytes: &[u8], ours: Ssrc) -> Result<Received, Malformed> {
    let mut received = Received::default();
    let mut rest = bytes;
    if rest.is_empty() {
        return Err(Malformed);
    }
    while !rest.is_empty() {
        let [first, kind, l0, l1] = *rest.first_chunk().ok_or(Malformed)?;
        let words = usize::from(u16::from_be_bytes([l0, l1]));
        let (packet, after) = rest.split_at_checked((words + 1) * 4).ok_or(Malformed)?;
        if first & VERSION_BITS != VERSION_2 {
            return Err(Malformed);
        }
        let count = usize::from(first & COUNT_BITS);
        match kind {
            SENDER_REPORT => {
                let [_, _, _, _, _, _, _, _, _, _, a, b, c, d, ..] = *packet else {
                    return Err(Malformed);
                };
                received.sender_report = Some(u32::from_be_bytes([a, b, c, d]));
                let blocks = packet.get(8 + 20..).ok_or(Malformed)?;
                received.block = block_about(ours, blocks, count)?.or(received.block);
            }
            RECEIVER_REPORT => {
                let blocks = packet.get(8..).ok_or(Malformed)?;
                received.block = block_about(ours, blocks, count)?.or(received.block);
            }
            BYE => received.bye = true,
            _ => {}
        }
        rest = after;
    }
    Ok(received)
}

fn block_about(ours: Ssrc, bytes: &[u8], count: usize) -> Result<Option<ReportBlock>, Malformed> {
    let blocks = bytes.get(..count * BLOCK_BYTES).ok_or(Malformed)?;
    Ok(blocks.chunks_exact(BLOCK_BYTES).filter_map(read_block).find(|block| block.ssrc == ours))
}

fn read_block(bytes: &[u8]) -> Option<ReportBlock> {
    let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at * 4..)?.first_chunk()?));
    let lost = word(1)?;
    Some(ReportBlock {
        ssrc: Ssrc(word(0)?),
        fraction_lost: (lost >> 24) as u8,
        // 24 bits with a sign.
        cumulative_lost: ((lost << 8).cast_signed()) >> 8,
        highest_sequence: word(2)?,
        jitter: word(3)?,
        last_sender_report: word(4)?,
        delay_since_last: word(5)?,
    })
}

/// What a sender report says of our stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Now, as NTP has it: seconds since 1900 and a fraction of 32 bits.
    pub ntp: u64,
    /// The same moment on the stream's own clock.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub bytes: u32,
}

/// A report of ours, to be written.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The stream that we send.
    pub ssrc: Ssrc,
    /// Makes it a sender report.
    pub sender: Option<SenderInfo>,
    /// What we say of the peer's stream.
    pub block: Option<ReportBlock>,
    /// Our canonical name, at most 255 bytes.
    pub cname: &'a str,
    /// Whether our stream ends here.
    pub bye: bool,
}

impl Report<'_> {
    /// Writes a compound packet of a report, SDES and where needed BYE into `buffer` and returns its
    /// length; `None` if there is no room.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut writer = Writer { buffer, len: 0 };
        let blocks = u8::from(self.block.is_some());
        match self.sender {
            Some(sender) => {
                writer.header(SENDER_REPORT, blocks, 6 + 6 * usize::from(blocks))?;
                writer.word(self.ssrc.0)?;
                writer.word((sender.ntp >> 32) as u32)?;
                writer.word(sender.ntp as u32)?;
                writer.word(sender.timestamp)?;
                writer.word(sender.packets)?;
                writer.word(sender.bytes)?;
            }
            None => {
                writer.header(RECEIVER_REPORT, blocks, 1 + 6 * usize::from(blocks))?;
                writer.word(self.ssrc.0)?;
            }
        }
        if let Some(block) = &self.block {
            writer.block(block)?;
        }
        self.write_description(&mut writer)?;
        if self.bye {
            writer.header(BYE, 1, 1)?;
            writer.word(self.ssrc.0)?;
        }
        Some(writer.len)
    }

    fn write_description(&self, writer: &mut Writer<'_>) -> Option<()> {
        let name = self.cname.as_bytes();
        let name_bytes = u8::try_from(name.len()).ok()?;
        // The item, its end and padding to a word (RFC 3550 §6.5).
        let item_bytes = (2 + name.len() + 1).next_multiple_of(4);
        writer.header(SOURCE_DESCRIPTION, 1, 1 + item_bytes / 4)?;
        writer.word(self.ssrc.0)?;
        writer.put(&[CNAME, name_bytes])?;
        writer.put(name)?;
        writer.put([0; 4].get(..item_bytes - 2 - name.len())?)
    }
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.buffer.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn word(&mut self, word: u32) -> Option<()> {
        self.put(&word.to_be_bytes())
    }

    fn header(&mut self, kind: u8, count: u8, words: usize) -> Option<()> {
        let [l0, l1] = u16::try_from(words).ok()?.to_be_bytes();
        self.put(&[VERSION_2 | count, kind, l0, l1])
    }

    fn block(&mut self, block: &ReportBlock) -> Option<()> {
        let lost = block.cumulative_lost.cast_unsigned() & 0x00ff_ffff;
        self.word(block.ssrc.0)?;
        self.word(u32::from(block.fraction_lost) << 24 | lost)?;
        self.word(block.highest_sequence)?;
        self.word(block.jitter)?;
        self.word(block.last_sender_report)?;
        self.word(block.delay_since_last)
    }
}

const VERSION_BITS: u8 = 0xc0;
const VERSION_2: u8 = 0x80;
const COUNT_BITS: u8 = 0x1f;
// RFC 3550 §12.1.
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;
const BLOCK_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::{
        rtcp::{
            goodbye::Goodbye, sender_report::SenderReport, source_description::SourceDescription,
        },
        shared::marshal::Unmarshal,
    };

    use super::*;

    const OURS: Ssrc = Ssrc(0x0102_0304);

    fn block() -> ReportBlock {
        ReportBlock {
            ssrc: Ssrc(9),
            fraction_lost: 64,
            cumulative_lost: -3,
            highest_sequence: 0x1_0002,
            jitter: 12,
            last_sender_report: 0xaabb_ccdd,
            delay_since_last: 65_536,
        }
    }

    fn report(sender: bool) -> Report<'static> {
        let info = SenderInfo { ntp: 0x1122_3344_5566_7788, timestamp: 7, packets: 8, bytes: 9 };
        Report {
            ssrc: OURS,
            sender: sender.then_some(info),
            block: Some(block()),
            cname: "name",
            bye: true,
        }
    }

    #[test]
    fn a_written_report_reads_back() {
        for sender in [true, false] {
            let mut buffer = [0; 200];
            let len = report(sender).write(&mut buffer).unwrap();
            let received = read(&buffer[..len], Ssrc(9)).unwrap();
            assert_eq!(received.block, Some(block()));
            assert_eq!(received.sender_report, sender.then_some(0x3344_5566));
            assert!(received.bye);
            assert_eq!(read(&buffer[..len], Ssrc(10)).unwrap().block, None);
        }
    }

    #[test]
    fn another_implementation_reads_what_we_write() {
        let mut buffer = [0; 200];
        let len = report(true).write(&mut buffer).unwrap();
        let mut rest = &buffer[..len];
        let sent = SenderReport::unmarshal(&mut &rest[..52]).unwrap();
        assert_eq!((sent.ssrc, sent.ntp_time), (OURS.0, 0x1122_3344_5566_7788));
        assert_eq!((sent.packet_count, sent.octet_count), (8, 9));
        assert_eq!(sent.reports[0].last_sequence_number, 0x1_0002);
        rest = &rest[52..];
        let length = (usize::from(rest[3]) + 1) * 4;
        let description = SourceDescription::unmarshal(&mut &rest[..length]).unwrap();
        assert_eq!(description.chunks[0].items[0].text, "name");
        let bye = Goodbye::unmarshal(&mut &rest[length..]).unwrap();
        assert_eq!(bye.sources, [OURS.0]);
    }

    #[test]
    fn names_of_every_length_are_padded_to_words() {
        for len in 0..=255 {
            let name = "n".repeat(len);
            let mut buffer = [0; 400];
            let written = Report { cname: &name, ..report(false) }.write(&mut buffer).unwrap();
            assert!(read(&buffer[..written], OURS).is_ok(), "{len}");
        }
    }

    #[test]
    fn ast_2017_008_short_and_lying_packets_are_refused() {
        for len in 0..8 {
            assert!(read(&[0x81, 200, 0, 6, 1, 2, 3, 4][..len], OURS).is_err());
        }
        // A count of 31 blocks in a packet without one.
        assert!(read(&[0x9f, 201, 0, 1, 1, 2, 3, 4], OURS).is_err());
        assert!(read(&[0x80, 200, 0, 1, 1, 2, 3, 4], OURS).is_err());
        assert!(read(&[0x80, 201, 0xff, 0xff, 1, 2, 3, 4], OURS).is_err());
    }

    #[test]
    fn rfc5506_reduced_size_feedback_alone_is_read_over() {
        let feedback = [0x81, 206, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(read(&feedback, OURS), Ok(Received::default()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(&bytes, OURS);
        }
    }
}
