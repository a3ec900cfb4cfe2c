//! The binary form of an [`Index`], as it is drawn at the top of the module above.

use kasmforge_deb::MultiArch;

use super::{ALL, Index, Priority, Provides, Row};

/// What a file of the binary form begins with.
const MAGIC: &[u8; 16] = b"kasmforge index\n";

/// The number of the binary form, and of what is read from an index. Raise it when either changes.
pub const INDEX_FORMAT: u32 = 1;

const PRIORITIES: [Priority; 6] = [
    Priority::Absent,
    Priority::Required,
    Priority::Important,
    Priority::Standard,
    Priority::Optional,
    Priority::Extra,
];

const MULTI_ARCHS: [MultiArch; 4] = [
    MultiArch::No,
    MultiArch::Same,
    MultiArch::Foreign,
    MultiArch::Allowed,
];

impl Index {
    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let architectures: String = self
            .architectures
            .iter()
            .map(|architecture| format!("{architecture}\n"))
            .collect();
        let mut bytes = Vec::with_capacity(
            MAGIC.len()
                + 28
                + self.name_text.len()
                + 4 * self.name_ends.len()
                + ROW * self.rows.len()
                + PROVIDES * self.provides.len()
                + self.text.len(),
        );
        bytes.extend_from_slice(MAGIC);
        let number = |bytes: &mut Vec<u8>, number: usize| {
            let number = u32::try_from(number).expect("indexes are read up to 1 GiB");
            bytes.extend_from_slice(&number.to_le_bytes());
        };
        number(&mut bytes, INDEX_FORMAT as usize);
        for length in [
            self.name_text.len(),
            self.name_ends.len(),
            architectures.len(),
            self.rows.len(),
            self.provides.len(),
            self.text.len(),
        ] {
            number(&mut bytes, length);
        }
        bytes.extend_from_slice(self.name_text.as_bytes());
        for end in &self.name_ends {
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        bytes.extend_from_slice(architectures.as_bytes());
        for row in &self.rows {
            for number in [
                row.name,
                row.start,
                row.end,
                row.version.0,
                row.version.1,
                row.line,
            ] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&row.architecture.to_le_bytes());
            let multi_arch = MULTI_ARCHS.iter().position(|&kind| kind == row.multi_arch);
            bytes.extend_from_slice(&[
                u8::try_from(multi_arch.unwrap_or_default()).expect("there are four"),
                row.priority as u8,
                u8::from(row.essential),
                u8::from(row.important),
                0,
                0,
            ]);
        }
        for provides in &self.provides {
            for number in [
                provides.row,
                provides.name,
                provides.version.0,
                provides.version.1,
                0,
            ] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes.extend_from_slice(self.text.as_bytes());
        bytes
    }

    /// Takes up the binary form; nothing if it is damaged or of another format.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut left = bytes;
        if take(&mut left, MAGIC.len())? != MAGIC || number(&mut left)? != INDEX_FORMAT {
            return None;
        }
        let mut lengths = [0_usize; 6];
        for length in &mut lengths {
            *length = number(&mut left)? as usize;
        }
        let [names, name_count, architectures, rows, provides, text] = lengths;
        let string = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(ToOwned::to_owned);
        let name_text = string(take(&mut left, names)?)?;
        let name_ends: Vec<u32> = numbers(take(&mut left, name_count.checked_mul(4)?)?).collect();
        let architectures = string(take(&mut left, architectures)?)?;
        let rows = take(&mut left, rows.checked_mul(ROW)?)?
            .chunks_exact(ROW)
            .map(Row::decode)
            .collect::<Option<Vec<_>>>()?;
        let provides: Vec<Provides> = take(&mut left, provides.checked_mul(PROVIDES)?)?
            .chunks_exact(PROVIDES)
            .map(Provides::decode)
            .collect::<Option<_>>()?;
        let text = string(take(&mut left, text)?)?;
        let index = Self {
            name_text,
            name_ends,
            architectures: architectures.lines().map(ToOwned::to_owned).collect(),
            rows,
            provides,
            text,
        };
        (left.is_empty() && index.is_whole()).then_some(index)
    }

    /// Whether every place is one in the texts.
    fn is_whole(&self) -> bool {
        let mut before = 0;
        let names = self.name_ends.iter().all(|&end| {
            let fits = before <= end && self.name_text.is_char_boundary(end as usize);
            before = end;
            fits
        });
        let span = |start: u32, end: u32| self.text.get(start as usize..end as usize).is_some();
        let known = |name: u32| (name as usize) < self.name_ends.len();
        names
            && self.rows.iter().all(|row| {
                known(row.name)
                    && span(row.start, row.end)
                    && span(row.version.0, row.version.1)
                    && (row.architecture == ALL
                        || usize::from(row.architecture) < self.architectures.len())
            })
            && self.provides.iter().all(|provides| {
                known(provides.name)
                    && (provides.row as usize) < self.rows.len()
                    && span(provides.version.0, provides.version.1)
            })
    }
}

/// The length of a package in the binary form.
const ROW: usize = 32;

/// The length of a `Provides` in the binary form.
const PROVIDES: usize = 20;

fn take<'a>(left: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(length)?;
    *left = rest;
    Some(taken)
}

fn number(left: &mut &[u8]) -> Option<u32> {
    numbers(take(left, 4)?).next()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|bytes| u32::from_le_bytes(*bytes))
}

impl Row {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = numbers(bytes);
        let mut next = || numbers.next();
        let row = [next()?, next()?, next()?, next()?, next()?, next()?];
        let [a, b, multi_arch, priority, essential, important, ..] = bytes.get(24..)? else {
            return None;
        };
        Some(Self {
            name: row[0],
            start: row[1],
            end: row[2],
            version: (row[3], row[4]),
            line: row[5],
            architecture: u16::from_le_bytes([*a, *b]),
            multi_arch: *MULTI_ARCHS.get(usize::from(*multi_arch))?,
            priority: *PRIORITIES.get(usize::from(*priority))?,
            essential: *essential != 0,
            important: *important != 0,
        })
    }
}

impl Provides {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = numbers(bytes);
        let mut next = || numbers.next();
        Some(Self {
            row: next()?,
            name: next()?,
            version: (next()?, next()?),
        })
    }
}
