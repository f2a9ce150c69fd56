//! Writes TNEF streams and `.msg` files for tests, from the standards and not from the reader.

pub(crate) const INTERFACE_MESSAGE: [u8; 16] = [7, 3, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];

/// UTF-16 with its terminating zero.
pub(crate) fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// Rich text that is stored without compression (MS-OXRTFCP §2.2.3).
pub(crate) fn stored_rtf(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&(length + 12).to_le_bytes()[..], &length.to_le_bytes(), b"MELA", &[0; 4], text.as_bytes()].concat()
}

/// A property: id, type, value.
#[derive(Clone)]
pub(crate) struct Property(pub(crate) u16, pub(crate) u16, pub(crate) Vec<u8>);

/// A text.
pub(crate) fn text(id: u16, text: &str) -> Property {
    Property(id, 0x1f, wide(text))
}

/// A number.
pub(crate) fn number(id: u16, value: u32) -> Property {
    Property(id, 3, value.to_le_bytes().to_vec())
}

/// Octets.
pub(crate) fn binary(id: u16, octets: &[u8]) -> Property {
    Property(id, 0x102, octets.to_vec())
}

/// An attachment that is a file.
pub(crate) fn file(name: &str, octets: &[u8]) -> Vec<Property> {
    vec![number(0x3705, 1), text(0x3707, name), binary(0x3701, octets)]
}

/// MS-OXTNEF §2.1.3.2: level, id with type, length, data, checksum.
pub(crate) fn attribute(level: u8, tag: u32, data: &[u8]) -> Vec<u8> {
    let sum = data.iter().fold(0u16, |sum, b| sum.wrapping_add(u16::from(*b)));
    let length = u32::try_from(data.len()).unwrap();
    [&[level][..], &tag.to_le_bytes(), &length.to_le_bytes(), data, &sum.to_le_bytes()].concat()
}

fn properties(list: &[Property]) -> Vec<u8> {
    let mut out = u32::try_from(list.len()).unwrap().to_le_bytes().to_vec();
    for Property(id, kind, value) in list {
        out.extend(kind.to_le_bytes().into_iter().chain(id.to_le_bytes()));
        if matches!(kind, 0x1e | 0x1f | 0x102 | 0x0d) {
            out.extend(1u32.to_le_bytes().into_iter().chain(u32::try_from(value.len()).unwrap().to_le_bytes()));
        }
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// A TNEF stream with these properties and attachments.
pub(crate) fn tnef(message: &[Property], attachments: &[Vec<Property>]) -> Vec<u8> {
    let mut out = b"\x78\x9f\x3e\x22\x01\0".to_vec();
    out.extend(attribute(1, 0x0006_9007, &[0xe4, 4, 0, 0, 0, 0, 0, 0]));
    out.extend(attribute(1, 0x0006_9003, &properties(message)));
    for attachment in attachments {
        out.extend(attribute(2, 0x0006_9002, &[1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]));
        out.extend(attribute(2, 0x0006_9005, &properties(attachment)));
    }
    out
}

/// An attached message in TNEF.
pub(crate) fn nested_tnef(name: &str, stream: &[u8]) -> Vec<Property> {
    vec![number(0x3705, 5), text(0x3707, name), Property(0x3701, 0x0d, [&INTERFACE_MESSAGE[..], stream].concat())]
}

/// A storage or a stream of a compound file.
#[derive(Clone)]
pub(crate) enum Node {
    Storage(String, Vec<Node>),
    Stream(String, Vec<u8>),
}

/// What `.msg` has of a message below its root, with `head` octets before the fixed properties.
pub(crate) fn message(head: usize, list: &[Property], attachments: Vec<Vec<Node>>) -> Vec<Node> {
    let mut nodes = vec![];
    let mut fixed = vec![0; head];
    for Property(id, kind, value) in list {
        fixed.extend(kind.to_le_bytes().into_iter().chain(id.to_le_bytes()).chain([6, 0, 0, 0]));
        if matches!(kind, 0x1e | 0x1f | 0x102) {
            fixed.extend([0; 8]);
            // MS-OXMSG §2.1.3: without the terminating zero.
            let end = value.len() - if *kind == 0x1f { 2 } else { 0 };
            nodes.push(Node::Stream(format!("__substg1.0_{id:04X}{kind:04X}"), value[..end].to_vec()));
        } else {
            fixed.extend(value.iter().copied().chain([0; 8]).take(8));
        }
    }
    nodes.push(Node::Stream("__properties_version1.0".to_owned(), fixed));
    for (number, attachment) in attachments.into_iter().enumerate() {
        nodes.push(Node::Storage(format!("__attach_version1.0_#{number:08X}"), attachment));
    }
    nodes
}

/// An attachment that is a file.
pub(crate) fn attached(list: &[Property]) -> Vec<Node> {
    message(8, list, vec![])
}

/// An attached message.
pub(crate) fn attached_message(name: &str, nodes: Vec<Node>) -> Vec<Node> {
    let mut attachment = message(8, &[number(0x3705, 5), text(0x3707, name)], vec![]);
    attachment.push(Node::Storage("__substg1.0_3701000D".to_owned(), nodes));
    attachment
}

/// A compound file, version 3.
pub(crate) fn compound(root: Vec<Node>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.entries.push(entry("Root Entry", 5));
    let child = writer.nodes(&root);
    let (mini, mini_table) = (std::mem::take(&mut writer.mini), std::mem::take(&mut writer.mini_table));
    let start = writer.chain(&mini);
    set(&mut writer.entries[0], 76, child);
    set(&mut writer.entries[0], 116, start);
    set(&mut writer.entries[0], 120, u32::try_from(mini.len()).unwrap());
    let mini_table: Vec<u8> = mini_table.into_iter().flat_map(u32::to_le_bytes).collect();
    let mini_start = writer.chain(&mini_table);
    let directory: Vec<u8> = writer.entries.concat();
    let directory = writer.chain(&directory);
    writer.file(directory, mini_start)
}

const END: u32 = 0xffff_fffe;
const FREE: u32 = 0xffff_ffff;

#[derive(Default)]
struct Writer {
    sectors: Vec<u8>,
    table: Vec<u32>,
    mini: Vec<u8>,
    mini_table: Vec<u32>,
    entries: Vec<Vec<u8>>,
}

fn entry(name: &str, kind: u8) -> Vec<u8> {
    let mut entry = vec![0; 128];
    let name = wide(name);
    entry[..name.len()].copy_from_slice(&name);
    entry[64..66].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
    entry[66..68].copy_from_slice(&[kind, 1]);
    entry[68..80].fill(0xff);
    entry
}

fn set(entry: &mut [u8], at: usize, value: u32) {
    entry[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

impl Writer {
    /// Children in order, each the right sibling of the one before: a tree, though not a balanced one.
    fn nodes(&mut self, nodes: &[Node]) -> u32 {
        let name = |n: &Node| match n {
            Node::Storage(name, _) | Node::Stream(name, _) => (name.len(), name.to_uppercase()),
        };
        let mut nodes: Vec<&Node> = nodes.iter().collect();
        nodes.sort_by_key(|n| name(n));
        let mut next = FREE;
        for node in nodes.into_iter().rev() {
            let mut fresh = match node {
                Node::Storage(name, _) => entry(name, 1),
                Node::Stream(name, _) => entry(name, 2),
            };
            set(&mut fresh, 72, next);
            match node {
                Node::Storage(_, children) => {
                    let child = self.nodes(children);
                    set(&mut fresh, 76, child);
                }
                Node::Stream(_, octets) => {
                    let start = if octets.len() < 4096 { self.small(octets) } else { self.chain(octets) };
                    set(&mut fresh, 116, start);
                    set(&mut fresh, 120, u32::try_from(octets.len()).unwrap());
                }
            }
            next = u32::try_from(self.entries.len()).unwrap();
            self.entries.push(fresh);
        }
        next
    }

    fn small(&mut self, octets: &[u8]) -> u32 {
        append(&mut self.mini, &mut self.mini_table, octets, 64)
    }

    fn chain(&mut self, octets: &[u8]) -> u32 {
        append(&mut self.sectors, &mut self.table, octets, 512)
    }

    fn file(mut self, directory: u32, mini_table: u32) -> Vec<u8> {
        let mut tables = 1;
        while (self.table.len() + tables).div_ceil(128) > tables {
            tables += 1;
        }
        let first = u32::try_from(self.table.len()).unwrap();
        let places: Vec<u32> = (first..).take(tables).collect();
        self.table.extend(std::iter::repeat_n(0xffff_fffd, tables));
        self.table.resize(tables * 128, FREE);
        let mut header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
        header.extend([0; 16]);
        for number in [0x3e_u16, 3, 0xfffe, 9, 6, 0, 0, 0] {
            header.extend(number.to_le_bytes());
        }
        let count = u32::try_from(tables).unwrap();
        for number in [0, count, directory, 0, 4096, mini_table, 1, END, 0] {
            header.extend(number.to_le_bytes());
        }
        header.extend(places.into_iter().chain(std::iter::repeat(FREE)).take(109).flat_map(u32::to_le_bytes));
        let table = self.table.into_iter().flat_map(u32::to_le_bytes);
        header.into_iter().chain(self.sectors).chain(table).collect()
    }
}

fn append(sectors: &mut Vec<u8>, table: &mut Vec<u32>, octets: &[u8], size: usize) -> u32 {
    if octets.is_empty() {
        return END;
    }
    let first = u32::try_from(table.len()).unwrap();
    let count = octets.len().div_ceil(size);
    sectors.extend(octets);
    sectors.resize(sectors.len().next_multiple_of(size), 0);
    table.extend((first + 1..).take(count - 1).chain([END]));
    first
}
