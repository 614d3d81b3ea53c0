//! Numbers as INFO writes them: `12`, `-1`, `0.015081`, `71.54%`.
//!
//! They are kept as they are written, in decimal, so that a sum is exact and one number alone comes
//! out as it went in.

use std::fmt;

/// Bytes of a number at most: what it takes to hold 64 bits with six decimals, with room to spare,
/// and little enough that adding up 65,536 of them can't overflow. Longer ones are not numbers.
const NUMBER_BYTES_MAX: usize = 32;

/// `digits / 10^decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: i128,
    decimals: u32,
    percent: bool,
}

impl Decimal {
    /// A number that is written in full: digits, perhaps with a sign in front, a point and digits
    /// behind, a percent sign at the end.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > NUMBER_BYTES_MAX {
            return None;
        }
        let (text, percent) = text.strip_suffix(b"%").map_or((text, false), |text| (text, true));
        let (text, sign) = text.strip_prefix(b"-").map_or((text, 1), |text| (text, -1));
        let point = text.iter().position(|&byte| byte == b'.');
        let (whole, fraction) = match point {
            Some(point) => (&text[..point], &text[point + 1..]),
            None => (text, &b""[..]),
        };
        if whole.is_empty() || point.is_some() && fraction.is_empty() {
            return None;
        }
        let mut digits: i128 = 0;
        for byte in whole.iter().chain(fraction) {
            let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
            digits = digits * 10 + digit;
        }
        let decimals = u32::try_from(fraction.len()).ok()?;
        Some(Self { digits: sign * digits, decimals, percent })
    }

    /// Whether it is 0.
    pub(super) fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// The number as bytes, if it can be a number of bytes.
    pub(super) fn bytes(self) -> Option<u64> {
        if self.decimals == 0 { u64::try_from(self.digits).ok() } else { None }
    }

    /// `self + other`; with the decimals of whichever has more.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let decimals = self.decimals.max(other.decimals);
        let digits = self.scaled(decimals)?.checked_add(other.scaled(decimals)?)?;
        Some(Self { digits, decimals, percent: self.percent })
    }

    /// `self - other`, but not below 0.
    pub(super) fn less(self, other: Self) -> Option<Self> {
        let rest = self.plus(Self { digits: -other.digits, ..other })?;
        Some(Self { digits: rest.digits.max(0), ..rest })
    }

    /// Whether it is the smaller one; if they can't be compared, it isn't.
    pub(super) fn is_below(self, other: Self) -> bool {
        let decimals = self.decimals.max(other.decimals);
        match (self.scaled(decimals), other.scaled(decimals)) {
            (Some(this), Some(other)) => this < other,
            _ => false,
        }
    }

    /// The mean of numbers with weights, as exact as the first number is written. Where all weights
    /// are 0, all numbers count alike.
    pub(super) fn mean(weighted: &[(Self, Self)]) -> Option<Self> {
        let &(first, _) = weighted.first()?;
        let alike = weighted.iter().all(|(_, weight)| weight.is_zero());
        let decimals = weighted.iter().map(|(_, weight)| weight.decimals).max()?;
        let (mut sum, mut weights) = (0_i128, 0_i128);
        for (number, weight) in weighted {
            let weight = if alike { 1 } else { weight.scaled(decimals)? };
            let product = number.scaled(first.decimals)?.checked_mul(weight)?;
            sum = sum.checked_add(product)?;
            weights = weights.checked_add(weight)?;
        }
        Some(Self { digits: rounded(sum, weights)?, ..first })
    }

    /// `self / other` with so many decimals; 0 where `other` is.
    pub(super) fn per(self, other: Self, decimals: u32) -> Option<Self> {
        let scale = self.decimals.max(other.decimals);
        let dividend = self.scaled(scale)?.checked_mul(10_i128.checked_pow(decimals)?)?;
        let digits = if other.is_zero() { 0 } else { rounded(dividend, other.scaled(scale)?)? };
        Some(Self { digits, decimals, percent: false })
    }

    /// The digits with so many decimals; what doesn't fit is rounded off.
    fn scaled(self, decimals: u32) -> Option<i128> {
        match decimals.checked_sub(self.decimals) {
            Some(more) => self.digits.checked_mul(10_i128.checked_pow(more)?),
            None => rounded(self.digits, 10_i128.checked_pow(self.decimals - decimals)?),
        }
    }
}

/// The quotient, halves rounded away from 0.
fn rounded(dividend: i128, divisor: i128) -> Option<i128> {
    let half = divisor.checked_abs()? / 2;
    dividend.checked_add(if dividend < 0 { -half } else { half })?.checked_div(divisor)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let width = self.decimals as usize + 1;
        let digits = format!("{:0width$}", self.digits.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - self.decimals as usize);
        let point = if fraction.is_empty() { "" } else { "." };
        let percent = if self.percent { "%" } else { "" };
        write!(f, "{sign}{whole}{point}{fraction}{percent}")
    }
}

/// A number of bytes for people, as a stock server writes it. Source: redis `util.c`,
/// `bytesToHuman`.
pub(super) fn human(bytes: u64) -> String {
    /// Each is 1024 of the one before.
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    let power = bytes.checked_ilog2().unwrap_or(0) / 10;
    match (power as usize).checked_sub(1).map(|place| UNITS.get(place)) {
        Some(Some(unit)) => {
            let size = bytes as f64 / (1_u64 << (10 * power)) as f64;
            format!("{size:.2}{unit}")
        }
        // Few enough to be counted, or more than there are units for.
        _ => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).expect("a number")
    }

    #[test]
    fn one_number_comes_out_as_it_went_in() {
        for text in ["0", "-1", "12", "0.015081", "-0.50", "71.54%", "18446744073709551615"] {
            assert_eq!(number(text).to_string(), text);
        }
        for text in ["", "-", "%", ".5", "5.", "1.2.3", "+1", "nan", "-inf", "1e3", "1 ", "0x1"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::parse(&[b'9'; NUMBER_BYTES_MAX + 1]), None);
    }

    #[test]
    fn arithmetic_is_exact() {
        assert_eq!(number("0.1").plus(number("0.02")).unwrap().to_string(), "0.12");
        assert_eq!(number("-1").plus(number("0.5")).unwrap().to_string(), "-0.5");
        assert_eq!(number("3").less(number("5")).unwrap().to_string(), "0");
        assert!(number("-1").is_below(number("0.00")) && !number("1").is_below(number("1.0")));
        assert_eq!(number("2").per(number("3"), 2).unwrap().to_string(), "0.67");
        assert_eq!(number("2").per(number("0"), 2).unwrap().to_string(), "0.00");
        assert_eq!(number("5").per(number("0.5"), 0).unwrap().to_string(), "10");
    }

    #[test]
    fn a_mean_is_as_exact_as_its_first_number() {
        let mean = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|&(n, w)| (number(n), number(w))).collect();
            Decimal::mean(&pairs).map(|mean| mean.to_string())
        };
        assert_eq!(mean(&[("1.00", "1"), ("2.00", "3")]).as_deref(), Some("1.75"));
        assert_eq!(mean(&[("10%", "1"), ("20.5%", "1")]).as_deref(), Some("16%"));
        assert_eq!(mean(&[("-1.0", "0"), ("-2.0", "0.0")]).as_deref(), Some("-1.5"));
        assert_eq!(mean(&[]), None);
        let huge = "9".repeat(NUMBER_BYTES_MAX);
        assert_eq!(mean(&[(&huge, &huge)]), None, "an overflow is no number");
    }

    #[test]
    fn for_people_as_a_stock_server_writes_it() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_034_104, "1009.87K"),
            (25_276_510_208, "23.54G"),
            (1 << 40, "1.00T"),
            (1 << 50, "1.00P"),
            (u64::MAX, "18446744073709551615B"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
