//! A compound file: storages (folders) and streams (files) in sectors that tables chain together.
//!
//! Chains are followed for as many sectors as the stream's size needs and no further, a size is believed up to the size
//! of the file, and each entry has one parent: nothing in here can go in circles or grow. MS-CFB.

use std::ops::Range;

use crate::Error;
use crate::reader::Reader;

/// MS-CFB §2.2.
const SIGNATURE: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
const HEADER_BYTES: usize = 512;
/// MS-CFB §2.2: places of table sectors that the header has itself.
const HEADER_TABLES: usize = 109;
const ENTRY_BYTES: usize = 128;
const MINI_SECTOR_BYTES: usize = 64;
/// MS-CFB §2.2: streams below this size lie in the stream of small sectors.
const MINI_BELOW: usize = 4096;
/// MS-CFB §2.1: what is above is no sector.
const SECTOR_MAX: u32 = 0xffff_fffa;
/// Children without end are no message: 2048 recipients with 30 properties each.
const ENTRIES_MAX: usize = 65_536;

/// An opened compound file.
pub(crate) struct Compound<'a> {
    file: &'a [u8],
    sector_bytes: usize,
    table: Vec<u32>,
    mini_table: Vec<u32>,
    mini: Vec<u8>,
    entries: Vec<Entry>,
}

/// A storage or a stream.
#[derive(Debug, Default)]
struct Entry {
    /// Upper case: names are compared without regard to it.
    name: String,
    storage: bool,
    left: usize,
    right: usize,
    child: usize,
    start: u32,
    size: usize,
    children: Vec<Node>,
}

/// One of a file's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node(usize);

/// The root storage.
pub(crate) const ROOT: Node = Node(0);

fn damaged(what: &str) -> Error {
    Error::Damaged(what.to_owned())
}

impl<'a> Compound<'a> {
    /// Reads the tables and the directory.
    ///
    /// # Errors
    /// It is no compound file, or the tables or the directory are cut off or contradict themselves.
    pub(crate) fn open(file: &'a [u8]) -> Result<Self, Error> {
        let header = file.strip_prefix(&SIGNATURE[..]).ok_or(Error::OtherFormat("compound file"))?;
        let header = Header::read(header).ok_or(damaged("its header is cut off or makes no sense"))?;
        let mut this = Self {
            file,
            sector_bytes: header.sector_bytes,
            table: Vec::new(),
            mini_table: Vec::new(),
            mini: Vec::new(),
            entries: Vec::new(),
        };
        this.table = this.read_table(&header)?;
        let sectors = this.sector_count();
        let directory = this.chain(header.directory, sectors.min(ENTRIES_MAX * ENTRY_BYTES / this.sector_bytes));
        this.entries = this.gather(&directory).chunks_exact(ENTRY_BYTES).filter_map(Entry::read).collect();
        let root = this.entries.first().ok_or(damaged("it has no directory"))?;
        let (start, size) = (root.start, root.size);
        this.mini_table = numbers(&this.gather(&this.chain(header.mini_table, sectors)));
        if size > 0 {
            let whole = this.sectors_of(start, size).ok_or(damaged("its small sectors are cut off"))?;
            this.mini = whole;
        }
        this.link();
        Ok(this)
    }

    /// Storages and streams directly in a storage, in no order.
    pub(crate) fn children(&self, storage: Node) -> &[Node] {
        self.entries.get(storage.0).map(|e| e.children.as_slice()).unwrap_or_default()
    }

    /// Upper case.
    pub(crate) fn name(&self, node: Node) -> &str {
        self.entries.get(node.0).map(|e| e.name.as_str()).unwrap_or_default()
    }

    pub(crate) fn is_storage(&self, node: Node) -> bool {
        self.entries.get(node.0).is_some_and(|e| e.storage)
    }

    /// A stream's size as the directory has it.
    pub(crate) fn size(&self, node: Node) -> usize {
        self.entries.get(node.0).map_or(0, |e| e.size)
    }

    /// A stream's octets; none when they are not all there.
    pub(crate) fn stream(&self, node: Node) -> Option<Vec<u8>> {
        let entry = self.entries.get(node.0).filter(|e| !e.storage)?;
        if entry.size >= MINI_BELOW {
            return self.sectors_of(entry.start, entry.size);
        }
        let mut octets = Vec::with_capacity(entry.size);
        let mut sector = entry.start;
        while octets.len() < entry.size {
            let index = index(sector)?;
            let at = index.checked_mul(MINI_SECTOR_BYTES)?;
            let count = MINI_SECTOR_BYTES.min(entry.size - octets.len());
            octets.extend_from_slice(self.mini.get(at..at + count)?);
            sector = *self.mini_table.get(index)?;
        }
        Some(octets)
    }

    fn sectors_of(&self, start: u32, size: usize) -> Option<Vec<u8>> {
        // A chain in a circle would go on for as long as the size says.
        if size > self.file.len() {
            return None;
        }
        let mut octets = Vec::with_capacity(size);
        let mut sector = start;
        while octets.len() < size {
            let index = index(sector)?;
            let range = self.sector(index);
            let count = self.sector_bytes.min(size - octets.len());
            octets.extend_from_slice(self.file.get(range.start..range.start.checked_add(count)?)?);
            sector = *self.table.get(index)?;
        }
        Some(octets)
    }

    /// MS-CFB §2.2: the header takes the place of one sector.
    fn sector(&self, index: usize) -> Range<usize> {
        let start = (index + 1).saturating_mul(self.sector_bytes);
        start..start.saturating_add(self.sector_bytes)
    }

    fn sector_count(&self) -> usize {
        self.file.len().div_ceil(self.sector_bytes)
    }

    /// Sectors of a chain, `limit` at most: a chain that is longer goes in a circle.
    fn chain(&self, start: u32, limit: usize) -> Vec<usize> {
        let next = |sector: &usize| self.table.get(*sector).copied().and_then(index);
        std::iter::successors(index(start), next).take(limit).collect()
    }

    /// The octets of these sectors, as far as the file has them.
    fn gather(&self, sectors: &[usize]) -> Vec<u8> {
        sectors.iter().filter_map(|s| self.file.get(self.sector(*s))).flatten().copied().collect()
    }

    /// MS-CFB §2.5: the places of the table's sectors are in the header, then in sectors chained by their last number.
    fn read_table(&self, header: &Header) -> Result<Vec<u32>, Error> {
        let per_sector = self.sector_bytes / 4;
        // No more than the file has sectors, however often one is named.
        let needed = self.sector_count().div_ceil(per_sector);
        let mut places = header.tables.clone();
        let mut more = header.more_tables;
        while let Some(sector) = index(more)
            && places.len() < needed
        {
            let list = numbers(self.file.get(self.sector(sector)).ok_or(damaged("its tables are cut off"))?);
            let (next, list) = list.split_last().ok_or(damaged("its tables are cut off"))?;
            places.extend(list.iter().filter(|p| **p <= SECTOR_MAX));
            more = *next;
        }
        places.truncate(needed);
        let places: Vec<usize> = places.into_iter().filter_map(index).collect();
        Ok(numbers(&self.gather(&places)))
    }

    /// Gives each storage its children. MS-CFB §2.6.4: they are a tree of their own, whatever its order.
    fn link(&mut self) {
        let mut seen = vec![false; self.entries.len()];
        seen[0] = true;
        let mut storages = vec![0];
        while let Some(storage) = storages.pop() {
            let mut waiting = vec![self.entries[storage].child];
            while let Some(at) = waiting.pop() {
                if seen.get(at).is_none_or(|seen| *seen) {
                    continue;
                }
                seen[at] = true;
                waiting.extend([self.entries[at].left, self.entries[at].right]);
                self.entries[storage].children.push(Node(at));
                if self.entries[at].storage {
                    storages.push(at);
                }
            }
        }
    }
}

struct Header {
    sector_bytes: usize,
    directory: u32,
    mini_table: u32,
    more_tables: u32,
    tables: Vec<u32>,
}

impl Header {
    /// What follows the signature.
    fn read(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(octets.get(..HEADER_BYTES - SIGNATURE.len())?);
        const CLASS_AND_MINOR_BYTES: usize = 16 + 2;
        reader.bytes(CLASS_AND_MINOR_BYTES)?;
        let (_major, order, shift) = (reader.u16()?, reader.u16()?, reader.u16()?);
        // MS-CFB §2.2: little endian, sectors of 512 or 4096 octets.
        if order != 0xfffe || !matches!(shift, 9 | 12) {
            return None;
        }
        const MINI_SHIFT_AND_COUNTS_BYTES: usize = 2 + 6 + 4 + 4;
        reader.bytes(MINI_SHIFT_AND_COUNTS_BYTES)?;
        let directory = reader.u32()?;
        const TRANSACTION_AND_CUTOFF_BYTES: usize = 4 + 4;
        reader.bytes(TRANSACTION_AND_CUTOFF_BYTES)?;
        let (mini_table, _, more_tables, _) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        let tables = (0..HEADER_TABLES).map_while(|_| reader.u32()).filter(|t| *t <= SECTOR_MAX).collect();
        Some(Self { sector_bytes: 1 << shift, directory, mini_table, more_tables, tables })
    }
}

impl Entry {
    /// MS-CFB §2.6.1. An unused one keeps its place, without a name and without children.
    fn read(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        const NAME_BYTES: usize = 64;
        let name = reader.bytes(NAME_BYTES)?;
        let name_bytes = usize::from(reader.u16()?).min(NAME_BYTES);
        let name = crate::codepage::wide(&name[..name_bytes]);
        let (kind, _color) = reader.bytes(2).map(|b| (b[0], b[1]))?;
        let mut place = || reader.u32().and_then(|p| usize::try_from(p).ok());
        let (left, right, child) = (place()?, place()?, place()?);
        const CLASS_STATE_TIMES_BYTES: usize = 16 + 4 + 8 + 8;
        reader.bytes(CLASS_STATE_TIMES_BYTES)?;
        let start = reader.u32()?;
        // MS-CFB §2.6.1: the upper half is rubbish in files of version 3; no mail is that large.
        let size = usize::try_from(reader.u32()?).ok()?;
        let name = name.trim_end_matches('\0').to_uppercase();
        // 1 is a storage, 5 the root.
        Some(Self { name, storage: matches!(kind, 1 | 5), left, right, child, start, size, children: Vec::new() })
    }
}

fn index(sector: u32) -> Option<usize> {
    (sector <= SECTOR_MAX).then_some(sector).and_then(|s| usize::try_from(s).ok())
}

fn numbers(octets: &[u8]) -> Vec<u32> {
    octets.as_chunks::<4>().0.iter().map(|n| u32::from_le_bytes(*n)).collect()
}
