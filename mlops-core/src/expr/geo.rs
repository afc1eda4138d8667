//! Distances on the globe.

use arrow::array::Float64Array;
use arrow::datatypes::Float64Type;

use super::eval::nulls_of;
use super::value::Value;

/// Mean radius of the earth by the International Union of Geodesy and Geophysics, in metres.
const RADIUS_M: f64 = 6_371_008.8;

/// Metres between two places; arguments are latitude, longitude, latitude, longitude in degrees.
pub(super) fn distance(args: &[Value], len: usize) -> Float64Array {
    let nulls = nulls_of(args, len);
    let degrees = |arg: usize, row: usize| {
        let row = if args[arg].constant { 0 } else { row };
        args[arg].numbers::<Float64Type>().value(row)
    };
    let metres = |row: usize| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        haversine(degrees(0, row), degrees(1, row), degrees(2, row), degrees(3, row))
    };
    (0..len).map(metres).collect()
}

/// `2 r asin √(sin²(Δφ/2) + cos φ₁ cos φ₂ sin²(Δλ/2))`; none outside of the globe, NaN from NaN.
fn haversine(latitude: f64, longitude: f64, to_latitude: f64, to_longitude: f64) -> Option<f64> {
    let outside = latitude.abs() > 90.0 || to_latitude.abs() > 90.0;
    if outside || longitude.abs() > 180.0 || to_longitude.abs() > 180.0 {
        return None;
    }
    let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
    let across = latitude.to_radians().cos() * to_latitude.to_radians().cos();
    let h = half(latitude, to_latitude) + across * half(longitude, to_longitude);
    // Rounding may carry antipodes beyond 1, where there is no arc sine; a NaN stays one.
    let root = if h > 1.0 { 1.0 } else { h.sqrt() };
    Some(2.0 * RADIUS_M * root.asin())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of `haversine` 2.9.0 for Python with its mean radius, 6371.0088 km.
    #[test]
    fn distances_are_those_of_the_haversine_formula() {
        let hanoi_saigon = haversine(21.0278, 105.8342, 10.8231, 106.6297).unwrap();
        assert!((hanoi_saigon - 1_137_885.673_791_8).abs() < 1e-3, "{hanoi_saigon}");
        let lyon_paris = haversine(45.7597, 4.8422, 48.8567, 2.3508).unwrap();
        assert!((lyon_paris - 392_217.259_559_4).abs() < 1e-3, "{lyon_paris}");
    }

    #[test]
    fn the_ends_of_the_globe_are_half_its_girth_apart() {
        let half = std::f64::consts::PI * RADIUS_M;
        for far in [haversine(90.0, 0.0, -90.0, 0.0), haversine(0.0, -180.0, 0.0, 0.0)] {
            assert!((far.unwrap() - half).abs() < 1e-3);
        }
        assert_eq!(haversine(10.0, 20.0, 10.0, 20.0), Some(0.0));
        assert!(haversine(0.0, -180.0, 0.0, 180.0).unwrap() < 1e-6, "one meridian with two names");
    }

    #[test]
    fn what_is_not_on_the_globe_has_no_distance() {
        assert_eq!(haversine(90.1, 0.0, 0.0, 0.0), None);
        assert_eq!(haversine(0.0, 0.0, 0.0, f64::INFINITY), None);
        assert!(haversine(f64::NAN, 0.0, 0.0, 0.0).unwrap().is_nan());
    }
}
