//! What a shop looks like: sizes, seed, page layout and the shift.

use mlops_core::{Error, EventTime, Result};

/// First instant of day 0: Monday 2025-01-06, 00:00 UTC.
pub const START: EventTime = EventTime::from_secs(1_736_121_600);

/// Checked settings of a [`Shop`](crate::Shop). The same settings give the same bytes.
///
/// # Examples
/// ```
/// use shop::Settings;
/// let settings = Settings::builder().customers(5_000).days(40).shift_day(Some(20)).build()?;
/// assert_eq!(settings.expected_impressions(), 40 * 700 * 10);
/// assert!(Settings::builder().customers(3).build().is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    seed: u64,
    customers: u32,
    offers: u32,
    days: u32,
    requests_per_day: u32,
    candidates: u32,
    slots: u32,
    batch_rows: usize,
    position_bias: f64,
    policy_noise: f64,
    shift_day: Option<u32>,
    shift_strength: f64,
}

impl Default for Settings {
    /// 20 000 customers, 300 offers, 30 days of 700 requests with 10 offers shown out of 100: 210 000 impressions, no shift.
    fn default() -> Self {
        Self {
            seed: 7,
            customers: 20_000,
            offers: 300,
            days: 30,
            requests_per_day: 700,
            candidates: 100,
            slots: 10,
            batch_rows: 8_192,
            position_bias: 0.7,
            policy_noise: 0.8,
            shift_day: None,
            shift_strength: 0.9,
        }
    }
}

impl Settings {
    /// A world that is generated in a fraction of a second even without optimisation: 500 customers, 80 offers,
    /// 14 days of 150 requests, 8 offers shown out of 40 (16 800 impressions), no shift.
    pub fn small() -> Self {
        Self {
            customers: 500,
            offers: 80,
            days: 14,
            requests_per_day: 150,
            candidates: 40,
            slots: 8,
            batch_rows: 1_024,
            ..Self::default()
        }
    }

    /// A builder that starts from [`Settings::default`].
    pub fn builder() -> SettingsBuilder {
        Self::default().to_builder()
    }

    /// A builder that starts from these settings.
    pub fn to_builder(&self) -> SettingsBuilder {
        SettingsBuilder { settings: self.clone() }
    }

    /// Seed of everything random.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of customers; their ids are `1..=customers`.
    pub fn customers(&self) -> u32 {
        self.customers
    }

    /// Number of offers; their ids are `1..=offers`.
    pub fn offers(&self) -> u32 {
        self.offers
    }

    /// Days of the whole world, `0..days`. Later days can be generated too; this only says what "all" means.
    pub fn days(&self) -> u32 {
        self.days
    }

    /// Requests (page views) a day.
    pub fn requests_per_day(&self) -> u32 {
        self.requests_per_day
    }

    /// Candidate offers of a request.
    pub fn candidates(&self) -> u32 {
        self.candidates
    }

    /// Offers shown on a page, the positions `0..slots`.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Rows of a full batch.
    pub fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    /// Exponent η of the position bias.
    pub fn position_bias(&self) -> f64 {
        self.position_bias
    }

    /// Temperature of the logging policy.
    pub fn policy_noise(&self) -> f64 {
        self.policy_noise
    }

    /// First day after the shift, if there is one.
    pub fn shift_day(&self) -> Option<u32> {
        self.shift_day
    }

    /// How far the world turns at the shift, 0 to 1.
    pub fn shift_strength(&self) -> f64 {
        self.shift_strength
    }

    /// How far the world has turned on `day`: 0 before the shift, [`Settings::shift_strength`] from it on.
    pub fn shift_on(&self, day: u32) -> f64 {
        if self.shift_day.is_some_and(|shift| day >= shift) { self.shift_strength } else { 0.0 }
    }

    /// Probability that a customer looks at `position` (from 0): `1 / (1 + position)^η`.
    pub fn examination(&self, position: u32) -> f64 {
        (1.0 + f64::from(position)).powf(-self.position_bias)
    }

    /// Impressions of all days: exactly `days × requests_per_day × slots`.
    pub fn expected_impressions(&self) -> u64 {
        u64::from(self.days) * self.impressions_per_day()
    }

    /// Impressions of one day: exactly `requests_per_day × slots`.
    pub fn impressions_per_day(&self) -> u64 {
        u64::from(self.requests_per_day) * u64::from(self.slots)
    }

    /// Midnight (UTC) at which `day` begins.
    pub fn day_start(&self, day: u32) -> EventTime {
        EventTime::from_micros(
            START.as_micros().saturating_add(i64::from(day).saturating_mul(mlops_core::time::DAY_US)),
        )
    }
}

/// Builder of [`Settings`].
#[derive(Debug, Clone)]
pub struct SettingsBuilder {
    settings: Settings,
}

impl SettingsBuilder {
    /// Seed of everything random. Default 7.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Number of customers, 10 to 50 million. Default 20 000.
    pub fn customers(mut self, customers: u32) -> Self {
        self.settings.customers = customers;
        self
    }

    /// Number of offers, 10 to 100 000. Default 300.
    pub fn offers(mut self, offers: u32) -> Self {
        self.settings.offers = offers;
        self
    }

    /// Days, 1 to 36 500. Default 30.
    pub fn days(mut self, days: u32) -> Self {
        self.settings.days = days;
        self
    }

    /// Requests a day, 1 to 100 million. Default 700.
    pub fn requests_per_day(mut self, requests: u32) -> Self {
        self.settings.requests_per_day = requests;
        self
    }

    /// Candidate offers of a request, `slots` to `offers`. Default 100.
    pub fn candidates(mut self, candidates: u32) -> Self {
        self.settings.candidates = candidates;
        self
    }

    /// Offers shown on a page, 1 to 100. Default 10.
    pub fn slots(mut self, slots: u32) -> Self {
        self.settings.slots = slots;
        self
    }

    /// Rows of a full batch, 1 to 1 048 576; it never changes the rows. Default 8 192.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.settings.batch_rows = rows;
        self
    }

    /// Exponent η of the position bias, 0 (none) to 3. Default 0.7.
    pub fn position_bias(mut self, eta: f64) -> Self {
        self.settings.position_bias = eta;
        self
    }

    /// Temperature of the logging policy: 0.05 (nearly always by popularity) to 100 (uniform). Default 0.8.
    pub fn policy_noise(mut self, temperature: f64) -> Self {
        self.settings.policy_noise = temperature;
        self
    }

    /// First day after the shift; `None` for a world that stays as it is. Default `None`.
    pub fn shift_day(mut self, day: Option<u32>) -> Self {
        self.settings.shift_day = day;
        self
    }

    /// How far the world turns at the shift, 0 (not at all) to 1 (tastes wholly exchanged). Default 0.9.
    pub fn shift_strength(mut self, strength: f64) -> Self {
        self.settings.shift_strength = strength;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the first setting that is outside the domain that its setter states.
    pub fn build(self) -> Result<Settings> {
        let s = self.settings;
        inside("customers", s.customers, 10, 50_000_000, "10 to 50 000 000")?;
        inside("offers", s.offers, 10, 100_000, "10 to 100 000")?;
        inside("days", s.days, 1, 36_500, "1 to 36 500")?;
        inside("requests_per_day", s.requests_per_day, 1, 100_000_000, "1 to 100 000 000")?;
        inside("slots", s.slots, 1, 100, "1 to 100")?;
        inside("candidates", s.candidates, s.slots, s.offers, "at least `slots` and at most `offers`")?;
        inside("batch_rows", s.batch_rows, 1, 1 << 20, "1 to 1 048 576")?;
        inside("position_bias", s.position_bias, 0.0, 3.0, "0 to 3")?;
        inside("policy_noise", s.policy_noise, 0.05, 100.0, "0.05 to 100")?;
        inside("shift_strength", s.shift_strength, 0.0, 1.0, "0 to 1")?;
        Ok(s)
    }
}

fn inside<T: PartialOrd + std::fmt::Display>(
    setting: &'static str,
    value: T,
    least: T,
    most: T,
    domain: &'static str,
) -> Result<()> {
    if value >= least && value <= most { Ok(()) } else { Err(Error::invalid(setting, value, domain)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_zero_begins_on_a_monday_midnight() {
        assert_eq!(START, EventTime::parse("2025-01-06").unwrap()); // `date -ud 2025-01-06 +%A` says Monday
    }

    #[test]
    fn the_presets_pass_their_own_check() {
        for settings in [Settings::default(), Settings::small()] {
            assert_eq!(settings.to_builder().build().unwrap(), settings);
        }
    }

    #[test]
    fn what_is_outside_its_domain_is_named() {
        let builder = Settings::builder;
        for (bad, name) in [
            (builder().customers(9), "customers"),
            (builder().customers(50_000_001), "customers"),
            (builder().offers(9), "offers"),
            (builder().days(0), "days"),
            (builder().requests_per_day(0), "requests_per_day"),
            (builder().slots(0), "slots"),
            (builder().candidates(9), "candidates"),
            (builder().candidates(301), "candidates"),
            (builder().batch_rows(0), "batch_rows"),
            (builder().position_bias(f64::NAN), "position_bias"),
            (builder().policy_noise(0.0), "policy_noise"),
            (builder().shift_strength(1.1), "shift_strength"),
        ] {
            let message = bad.build().unwrap_err().to_string();
            assert!(message.starts_with(name), "{message}");
        }
    }

    #[test]
    fn the_shift_begins_on_its_day() {
        let settings = Settings::builder().shift_day(Some(3)).shift_strength(0.5).build().unwrap();
        assert_eq!([2, 3, 4].map(|day| settings.shift_on(day)), [0.0, 0.5, 0.5]);
        assert_eq!(Settings::default().shift_on(1_000), 0.0);
    }
}
