//! Vietnamese tax codes (mã số thuế).
//!
//! Ten digits, the last of which is a check digit, and for a branch three more. As `python-stdnum` 2.1 (`stdnum.vn.mst`)
//! reads them: digits 3 to 9 are not all zero, a branch is not `000`.

use super::kind::digits_of;

const WEIGHTS: [u32; 9] = [31, 29, 23, 19, 17, 13, 7, 5, 3];

/// Whether ten or thirteen ASCII digits are a tax code that can exist.
pub(super) fn is_valid(digits: &[u8]) -> bool {
    let (head, branch) = match digits.len() {
        10 => (digits, None),
        13 => (&digits[..10], Some(&digits[10..])),
        _ => return false,
    };
    let sum: u32 = head.iter().zip(WEIGHTS).map(|(d, w)| u32::from(d - b'0') * w).sum();
    let check = 10 - sum % 11;
    check < 10
        && u32::from(head[9] - b'0') == check
        && head[2..9].iter().any(|d| *d != b'0')
        && branch.is_none_or(|b| b != b"000")
}

/// `0123456789` or `0123456789-001`, when `text` is a tax code and nothing else.
pub(super) fn canonical(text: &str) -> Option<String> {
    let mut digits = digits_of(text, 13).filter(|digits| is_valid(digits.as_bytes()))?;
    if digits.len() == 13 {
        digits.insert(10, '-');
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_digit_decides() {
        // python-stdnum 2.1, `stdnum.vn.mst.is_valid`.
        for code in ["0100233488", "0314409058", "01-00233488-001"] {
            assert!(canonical(code).is_some(), "{code}");
        }
        for code in ["0100233480", "0100233488-000", "2000000000", "010023348", "0100233488-01"] {
            assert_eq!(canonical(code), None, "{code}");
        }
        assert_eq!(canonical("0314409058 002").as_deref(), Some("0314409058-002"));
    }
}
