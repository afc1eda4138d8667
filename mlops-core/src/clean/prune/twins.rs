//! Columns that are equal in every row.

use arrow::row::RowConverter;

use super::{Finding, Judged};
use crate::clean::rows::{scan, type_name};
use crate::rowkey::{canonical, converter};
use crate::{Dataset, Result};

/// Marks columns that equal one before them. Those whose sample differs are not read again.
pub(super) fn mark(judged: &mut [Judged], data: &Dataset, drop_leaking: bool) -> Result<()> {
    let mut pairs = Vec::new();
    for second in 1..judged.len() {
        let alike = |first: &usize| same_bits(&judged[*first].values, &judged[second].values);
        pairs.extend((0..second).filter(alike).map(|first| (first, second)));
    }
    let mut suspects: Vec<usize> = pairs.iter().flat_map(|(first, second)| [*first, *second]).collect();
    suspects.sort_unstable();
    suspects.dedup();
    let names: Vec<String> = suspects.iter().map(|place| judged[*place].name.clone()).collect();
    let digests = digests(data, &names)?;
    let digest = |place: usize| suspects.binary_search(&place).ok().and_then(|at| digests[at].clone());
    for (first, second) in pairs {
        let gone = judged[first].is_gone(drop_leaking) || judged[second].is_gone(drop_leaking);
        if !gone && digest(first).is_some() && digest(first) == digest(second) {
            judged[second].finding = Some(Finding::Duplicate { of: judged[first].name.clone() });
        }
    }
    Ok(())
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

/// Type and digest of all values of each column; `None` for types that cannot be compared.
fn digests(data: &Dataset, names: &[String]) -> Result<Vec<Option<(String, blake3::Hash)>>> {
    let mut hashing: Vec<(String, Option<RowConverter>, blake3::Hasher)> = Vec::with_capacity(names.len());
    for name in names {
        let data_type = data.schema().field(name)?.data_type();
        hashing.push((type_name(data_type), converter(data_type)?, blake3::Hasher::new()));
    }
    scan(data, names, |place, array| {
        let (_, converter, hasher) = &mut hashing[place];
        if let Some(converter) = converter {
            for row in &converter.convert_columns(&[canonical(array)])? {
                hasher.update(&(row.as_ref().len() as u64).to_le_bytes());
                hasher.update(row.as_ref());
            }
        }
        Ok(())
    })?;
    let of = |(name, converter, hasher): (String, Option<RowConverter>, blake3::Hasher)| {
        converter.map(|_| (name, hasher.finalize()))
    };
    Ok(hashing.into_iter().map(of).collect())
}
