//! Latitude and longitude in decimal degrees.

/// Decimals from which a pair of numbers is taken as a place without a word: 4 are eleven metres.
const DECIMALS_TELLING: usize = 4;

/// A pair of coordinates in a text.
pub(super) struct Found {
    pub(super) end: usize,
    /// Both numbers have so many decimals that they can hardly be anything else.
    pub(super) telling: bool,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
}

struct Degrees {
    value: f64,
    decimals: usize,
    end: usize,
}

/// The pair that starts at byte `start`: a digit or its sign.
pub(super) fn pair_at(text: &str, start: usize) -> Option<Found> {
    let latitude = degrees_at(text, start, 90.0)?;
    let from = between(text, latitude.end)?;
    let longitude = degrees_at(text, from, 180.0)?;
    let telling = latitude.decimals.min(longitude.decimals) >= DECIMALS_TELLING;
    Some(Found { end: longitude.end, telling, latitude: latitude.value, longitude: longitude.value })
}

fn degrees_at(text: &str, start: usize, most: f64) -> Option<Degrees> {
    let rest = &text.as_bytes()[start..];
    let sign = usize::from(matches!(rest.first(), Some(b'-' | b'+')));
    let count = |from: usize| rest[from.min(rest.len())..].iter().take(18).take_while(|b| b.is_ascii_digit()).count();
    let whole = count(sign);
    if !(1..=3).contains(&whole) || rest.get(sign + whole) != Some(&b'.') {
        return None;
    }
    let decimals = count(sign + whole + 1);
    let mut end = start + sign + whole + 1 + decimals;
    let value: f64 = text[start..end].parse().ok()?;
    if let Some(after) = text[end..].strip_prefix('°') {
        end = text.len() - after.len();
    }
    let letter = text[end..].trim_start_matches(' ');
    if letter.starts_with(['N', 'S', 'E', 'W']) && !letter[1..].starts_with(char::is_alphanumeric) {
        end = text.len() - letter.len() + 1;
    }
    let goes_on = text[end..].starts_with(|c: char| c.is_alphanumeric())
        || (text[end..].starts_with('.') && text[end + 1..].starts_with(|c: char| c.is_ascii_digit()));
    ((2..=15).contains(&decimals) && value.abs() <= most && !goes_on).then_some(Degrees { value, decimals, end })
}

/// Where the second number starts: after a comma, a semicolon, a space, or the name of the second field.
fn between(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut name = [0_u8; 10];
    let mut letters = 0;
    while let Some(b) = bytes.get(at).filter(|_| at < from + 20) {
        match b {
            b' ' | b',' | b';' | b'"' | b'\'' | b':' | b'=' | b'/' => {}
            b'a'..=b'z' | b'A'..=b'Z' if letters < name.len() => {
                name[letters] = b.to_ascii_lowercase();
                letters += 1;
            }
            b'0'..=b'9' | b'-' | b'+' => {
                let named = matches!(&name[..letters], b"" | b"lon" | b"lng" | b"long" | b"longitude" | b"kinhdo");
                return (named && at > from).then_some(at);
            }
            _ => return None,
        }
        at += 1;
    }
    None
}

/// `latitude,longitude` as numbers, when `text` is a pair and nothing else.
pub(super) fn canonical(text: &str) -> Option<String> {
    let found = pair_at(text, 0).filter(|found| found.end == text.len())?;
    Some(format!("{},{}", found.latitude, found.longitude))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_in_the_usual_ways_and_prices_are_not() {
        for text in [
            "10.762622, 106.660172",
            "10.762622,106.660172",
            "-33.8688 151.2093",
            "10.7626° N, 106.6602° E",
            "21.0285 N 105.8542 E",
        ] {
            assert_eq!(pair_at(text, 0).map(|f| (f.end, f.telling)), Some((text.len(), true)), "{text}");
        }
        let json = r#"{"lat": 21.0285, "lng": 105.8542}"#;
        assert_eq!(pair_at(json, 8).map(|f| &json[8..f.end]), Some(r#"21.0285, "lng": 105.8542"#));
        assert!(pair_at("10.76, 106.66", 0).is_some_and(|f| !f.telling));
        for text in [
            "10.5, 20.5",
            "95.1234, 106.1234",
            "10.1234, 190.1234",
            "10.1234",
            "10.1234.5678, 1.2345",
            "1.234567 và 2.345678",
        ] {
            assert!(pair_at(text, 0).is_none(), "{text}");
        }
        assert_eq!(canonical("10.7600, 106.6600").as_deref(), Some("10.76,106.66"));
    }
}
