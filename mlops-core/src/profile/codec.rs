//! The compact bytes of a profile: `MLPF`, format, checksum, body.

use super::column::Detail;
use super::number::{Hidden, Numbers};
use super::text::Texts;
use super::{ColumnKind, ColumnProfile, Personal, Profile, Relations};
use crate::privacy::Kind;
use crate::stats::Distinct;
use crate::stats::bytes::{Reader, Writer};
use crate::{Error, Result};

const MAGIC: &[u8; 4] = b"MLPF";
/// Bytes of the body's BLAKE3 hash that are kept: they find damage, not malice.
const CHECKSUM: usize = 8;

pub(crate) fn to_bytes(profile: &Profile) -> Vec<u8> {
    let mut body = Writer::default();
    body.u64(profile.rows);
    body.u64(profile.columns.len() as u64);
    profile.columns.iter().for_each(|column| write_column(column, &mut body));
    let relations = profile.relations();
    body.u8(u8::from(relations.is_some()));
    if let Some(relations) = relations {
        relations.write(&mut body);
    }
    let body = body.finish();
    let mut out = Writer::default();
    out.raw(MAGIC);
    out.u32(Profile::FORMAT);
    out.raw(&blake3::hash(&body).as_bytes()[..CHECKSUM]);
    out.raw(&body);
    out.finish()
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Profile> {
    let mut from = Reader::new(bytes, "profile");
    if from.raw(MAGIC.len())? != MAGIC {
        return Err(Error::invalid_data("profile", "the bytes do not begin as those of a profile"));
    }
    let format = from.u32()?;
    Profile::check_format(format)?;
    let checksum = from.raw(CHECKSUM)?;
    let body = &bytes[MAGIC.len() + 4 + CHECKSUM..];
    if checksum != &blake3::hash(body).as_bytes()[..CHECKSUM] {
        return Err(from.corrupt("the checksum does not match"));
    }
    let rows = from.u64()?;
    let count = from.count(16)?;
    let columns = (0..count).map(|_| read_column(&mut from, format)).collect::<Result<Vec<_>>>()?;
    let relations = if format > 1 && from.u8()? == 1 { Some(Relations::read(&mut from)?) } else { None };
    from.end()?;
    Profile::check(rows, columns, relations)
}

fn write_column(column: &ColumnProfile, out: &mut Writer) {
    out.bytes(column.name().as_bytes());
    out.bytes(column.data_type().as_bytes());
    out.u8(match column.kind() {
        ColumnKind::Number => 0,
        ColumnKind::Time => 1,
        ColumnKind::Boolean => 2,
        ColumnKind::Text => 3,
        ColumnKind::Other => 4,
    });
    out.u64(column.rows());
    out.u64(column.nulls());
    match column.detail() {
        Detail::Numbers(numbers) => {
            out.u8(0);
            numbers.write(out);
        }
        Detail::Hidden(hidden) => {
            out.u8(1);
            out.u64(hidden.nan);
            out.bytes(&hidden.distinct.to_bytes());
        }
        Detail::Booleans(yes) => {
            out.u8(2);
            out.u64(*yes);
        }
        Detail::Texts(texts) => {
            out.u8(3);
            texts.write(out);
        }
        Detail::Nothing => out.u8(4),
    }
    write_personal(column.personal(), out);
}

fn read_column(from: &mut Reader<'_>, format: u32) -> Result<ColumnProfile> {
    let (name, data_type) = (from.text()?.to_owned(), from.text()?.to_owned());
    let kind = match from.u8()? {
        0 => ColumnKind::Number,
        1 => ColumnKind::Time,
        2 => ColumnKind::Boolean,
        3 => ColumnKind::Text,
        4 => ColumnKind::Other,
        other => return Err(from.corrupt(format_args!("unknown kind {other}"))),
    };
    let counts = (from.u64()?, from.u64()?);
    let detail = match from.u8()? {
        0 => Detail::Numbers(Box::new(Numbers::read(from, format)?)),
        1 => {
            let nan = from.u64()?;
            Detail::Hidden(Box::new(Hidden { nan, distinct: Distinct::from_bytes(from.bytes()?)? }))
        }
        2 => Detail::Booleans(from.u64()?),
        3 => Detail::Texts(Box::new(Texts::read(from, format)?)),
        4 => Detail::Nothing,
        other => return Err(from.corrupt(format_args!("unknown state {other}"))),
    };
    let personal = if format > 1 { read_personal(from)? } else { None };
    Ok(ColumnProfile::from_parts((name, data_type, kind), counts, detail, personal))
}

fn write_personal(personal: Option<Personal>, out: &mut Writer) {
    out.bytes(personal.map_or("", |personal| personal.kind.as_str()).as_bytes());
    if let Some(personal) = personal {
        out.f64(personal.confidence);
        out.u64(personal.examined);
        out.f64(personal.share);
    }
}

fn read_personal(from: &mut Reader<'_>) -> Result<Option<Personal>> {
    let name = from.text()?;
    if name.is_empty() {
        return Ok(None);
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
    let Some(kind) = kind else { return Err(from.corrupt("unknown kind of personal data")) };
    Ok(Some(Personal { kind, confidence: from.f64()?, examined: from.u64()?, share: from.f64()? }))
}
