//! What stands around the bytes of files, as the APPNOTE lays it out.

use crate::http::dates::civil;

/// The most bytes of a block that isn't compressed.
pub const BLOCK_BYTES_MAX: u64 = 0xffff;
/// What stands before each.
const BLOCK_HEAD_BYTES: u64 = 5;
/// Stands for a number of 64 bits elsewhere.
const ELSEWHERE: u32 = u32::MAX;

/// Sizes and sum stand behind the bytes.
const FLAG_BEHIND: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
/// Whose attributes files have.
const UNIX: u16 = 3 << 8;
/// The bytes of a line of the directory besides its name, at most.
pub const LINE_BYTES: u64 = 83;

/// How the bytes of a file stand in the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// As they are, and the sum before them.
    Stored,
    /// As blocks that aren't compressed, and the sum behind them.
    Blocks {
        /// Bytes with the blocks' heads.
        packed: u64,
    },
}

/// What the directory says of a file.
pub struct Entry {
    /// Relative, with slashes; a folder's ends with one.
    pub name: String,
    /// Seconds since 1970.
    pub modified_s: u64,
    /// As Unix has it.
    pub mode: u32,
    pub packing: Packing,
    pub crc: u32,
    /// Bytes of the file.
    pub size: u64,
    /// Where its header is.
    pub offset: u64,
}

impl Entry {
    /// Bytes in the archive.
    fn packed(&self) -> u64 {
        match self.packing {
            Packing::Stored => self.size,
            Packing::Blocks { packed } => packed,
        }
    }

    fn flags(&self) -> u16 {
        match self.packing {
            Packing::Stored => FLAG_UTF8,
            Packing::Blocks { .. } => FLAG_UTF8 | FLAG_BEHIND,
        }
    }

    fn method(&self) -> u16 {
        match self.packing {
            Packing::Stored => STORED,
            Packing::Blocks { .. } => DEFLATED,
        }
    }

    /// Whether its sizes have 64 bits.
    fn is_large(&self) -> bool {
        self.packed() > u64::from(u32::MAX) || self.size > u64::from(u32::MAX)
    }

    fn version(&self) -> u16 {
        if self.is_large() { VERSION_64 } else { VERSION }
    }

    /// Before the bytes (section 4.3.7).
    pub fn header(&self) -> Vec<u8> {
        let (mut extra, is_behind) = (Vec::new(), self.flags() & FLAG_BEHIND != 0);
        if self.is_large() {
            extra.extend(shorts([0x0001, 16]));
            extra.extend([0; 16]);
        }
        extra.extend(times(self.modified_s));
        let known = |size: u64| if is_behind { 0 } else { size as u32 };
        let size = |size: u64| if self.is_large() { ELSEWHERE } else { known(size) };
        let mut header = b"PK\x03\x04".to_vec();
        header.extend(shorts([self.version(), self.flags(), self.method()]));
        header.extend(dos_time(self.modified_s));
        header.extend(longs([self.crc, size(self.packed()), size(self.size)]));
        header.extend(shorts([self.name.len() as u16, extra.len() as u16]));
        header.extend(self.name.as_bytes());
        header.extend(extra);
        header
    }

    /// Behind the bytes (section 4.3.9).
    pub fn behind(&self) -> Vec<u8> {
        let mut behind = b"PK\x07\x08".to_vec();
        behind.extend(longs([self.crc]));
        if self.is_large() {
            behind.extend(longs_64([self.packed(), self.size]));
        } else {
            behind.extend(longs([self.packed() as u32, self.size as u32]));
        }
        behind
    }

    /// In the directory (section 4.3.12).
    pub fn line(&self) -> Vec<u8> {
        let is_elsewhere = |number: u64| number >= u64::from(ELSEWHERE);
        let numbers = [self.size, self.packed(), self.offset];
        let large: Vec<u64> = numbers.into_iter().filter(|number| is_elsewhere(*number)).collect();
        let [size, packed, offset] = numbers.map(|number| if is_elsewhere(number) { ELSEWHERE } else { number as u32 });
        let mut extra = Vec::new();
        if !large.is_empty() {
            extra.extend(shorts([0x0001, large.len() as u16 * 8]));
            large.iter().for_each(|number| extra.extend(number.to_le_bytes()));
        }
        extra.extend(times(self.modified_s));
        let version = if large.is_empty() { VERSION } else { VERSION_64 };
        let mut line = b"PK\x01\x02".to_vec();
        line.extend(shorts([UNIX | VERSION_64, version, self.flags(), self.method()]));
        line.extend(dos_time(self.modified_s));
        line.extend(longs([self.crc, packed, size]));
        line.extend(shorts([self.name.len() as u16, extra.len() as u16, 0, 0, 0]));
        let is_folder = u32::from(self.name.ends_with('/'));
        line.extend(longs([self.mode << 16 | is_folder << 4, offset]));
        line.extend(self.name.as_bytes());
        line.extend(extra);
        line
    }
}

/// Behind the directory (sections 4.3.14 to 4.3.16).
pub fn end(entries: u64, start: u64, bytes: u64) -> Vec<u8> {
    let mut end = Vec::new();
    if entries >= 0xffff || start + bytes >= u64::from(ELSEWHERE) {
        end.extend(b"PK\x06\x06");
        end.extend(longs_64([44]));
        end.extend(shorts([UNIX | VERSION_64, VERSION_64]));
        end.extend(longs([0, 0]));
        end.extend(longs_64([entries, entries, bytes, start]));
        end.extend(b"PK\x06\x07");
        end.extend(longs([0]));
        end.extend(longs_64([start + bytes]));
        end.extend(longs([1]));
    }
    let count = entries.min(0xffff) as u16;
    end.extend(b"PK\x05\x06");
    end.extend(shorts([0, 0, count, count]));
    end.extend([bytes, start].map(|number| number.min(ELSEWHERE.into()) as u32).map(u32::to_le_bytes).concat());
    end.extend(shorts([0]));
    end
}

/// What the heads of all blocks of a file come to. There is always a last one.
pub fn blocks_bytes(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES_MAX).max(1) * BLOCK_HEAD_BYTES
}

/// Before a block of `bytes`, when `left` are left from there on.
pub fn block_head(bytes: u64, left: u64) -> [u8; BLOCK_HEAD_BYTES as usize] {
    let is_last = u8::from(bytes == left);
    let [low, high] = (bytes as u16).to_le_bytes();
    [is_last, low, high, !low, !high]
}

/// The time as seconds since 1970, for who knows this field; in 32 bits, until 2106 without a sign.
fn times(modified_s: u64) -> Vec<u8> {
    let mut field = shorts([0x5455, 5]);
    field.push(1);
    field.extend(u32::try_from(modified_s).unwrap_or(u32::MAX).to_le_bytes());
    field
}

/// The time as DOS has it: in UTC, by two seconds, from 1980 to 2107.
fn dos_time(modified_s: u64) -> Vec<u8> {
    let (days, seconds) = (modified_s / 86_400, modified_s % 86_400);
    let (year, month, day) = civil(days);
    if year < 1980 {
        return shorts([0, 1 << 5 | 1]);
    }
    let time = (seconds / 3600) << 11 | (seconds / 60 % 60) << 5 | (seconds % 60 / 2);
    let date = (year.min(2107) - 1980) << 9 | month << 5 | day;
    shorts([time as u16, date as u16])
}

fn shorts<const N: usize>(numbers: [u16; N]) -> Vec<u8> {
    numbers.map(u16::to_le_bytes).concat()
}

fn longs<const N: usize>(numbers: [u32; N]) -> Vec<u8> {
    numbers.map(u32::to_le_bytes).concat()
}

fn longs_64<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.map(u64::to_le_bytes).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn entry(size: u64, offset: u64) -> Entry {
        let packing = Packing::Blocks { packed: size + blocks_bytes(size) };
        Entry { name: "a/b".into(), modified_s: 784_111_777, mode: 0o100_644, packing, crc: 7, size, offset }
    }

    #[test]
    fn what_has_no_place_in_32_bits_stands_elsewhere() {
        // Number of bytes of the header, of what stands behind, and of the line.
        let lengths = |entry: Entry| (entry.header().len(), entry.behind().len(), entry.line().len());
        assert_eq!(lengths(entry(5, 0)), (30 + 3 + 9, 16, 46 + 3 + 9));
        assert_eq!(lengths(entry(5, 5 * GIB)), (30 + 3 + 9, 16, 46 + 3 + 9 + 12));
        assert_eq!(lengths(entry(5 * GIB, 0)), (30 + 3 + 9 + 20, 24, 46 + 3 + 9 + 20));
        assert_eq!(lengths(entry(5 * GIB, 5 * GIB)), (30 + 3 + 9 + 20, 24, 3 + LINE_BYTES as usize));
        // The file fits, and its blocks don't.
        let just = entry(4 * GIB - 1000, 0);
        assert_eq!(lengths(just), (30 + 3 + 9 + 20, 24, 46 + 3 + 9 + 12));
        assert_eq!(end(65_534, 0, 4 * GIB - 2).len(), 22);
        for (entries, start) in [(65_535, 0), (1, 4 * GIB)] {
            assert_eq!(end(entries, start, 100).len(), 56 + 20 + 22);
        }
    }

    #[test]
    fn times_are_told_as_dos_and_as_unix_have_them() {
        // 1994-11-06 08:49:37 UTC.
        assert_eq!(dos_time(784_111_777), shorts([8 << 11 | 49 << 5 | 18, 14 << 9 | 11 << 5 | 6]));
        assert_eq!(times(784_111_777), [b"UT\x05\x00\x01".as_slice(), &784_111_777_u32.to_le_bytes()].concat());
        // Before 1980, and long after.
        assert_eq!(dos_time(5), shorts([0, 1 << 5 | 1]));
        assert_eq!(dos_time(1 << 36).len(), 4);
    }
}
