//! Usage of the customers over time: the features that move.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use mlops_core::Result;
use mlops_core::time::DAY_US;

use crate::customer::{Device, Person, hundredths};
use crate::random::{Stream, bits, chance, normal, rng, stream_key, unit};
use crate::{World, schema};

/// Usage measured anew every seven days: see [`schema::usage`].
///
/// Customer `i` is measured on the days `d ≡ i (mod 7)`, in the small hours; rows come in the order of `event_time`.
/// `spend·e^{0.12·N}` and `data·e^{0.2·N}` each week; the shift multiplies data by `1 + 1.2·s`, spend by `1 − 0.3·s`,
/// and lets a share `0.5·s` of the 4G phones become 5G ones.
#[derive(Debug, Clone)]
pub struct Usage {
    world: Arc<World>,
    days: Range<u32>,
    next: u64,
}

/// Days from one measurement of a customer to the next.
pub const USAGE_EVERY_DAYS: u32 = 7;

impl Usage {
    pub(crate) fn new(world: Arc<World>, days: Range<u32>) -> Self {
        let next = u64::from(days.start % USAGE_EVERY_DAYS);
        Self { world, days, next }
    }

    fn measure(&self, columns: &mut UsageColumns, index: u64) {
        let (settings, day) = (&self.world.settings, self.days.start);
        let (seed, shift) = (settings.seed(), settings.shift_on(day));
        let person = Person::at(seed, index);
        let week = &mut rng(seed, Stream::Usage, index ^ (u64::from(day) << 32));
        let grown = unit(bits(stream_key(seed, Stream::Upgrade), index)) < 0.5 * shift;
        let device = if grown && person.device == Device::Smartphone4g { Device::Smartphone5g } else { person.device };
        let spend = person.ln_spend + 0.12 * normal(week) + (-0.3 * shift).ln_1p();
        let data = person.ln_data + 0.2 * normal(week) + (1.2 * shift).ln_1p();
        let customers = u64::from(settings.customers());
        let (place, places) = (index / 7, customers / 7 + 1);
        let moment = (2.0 + 3.0 * place as f64 / places as f64) / 24.0 * DAY_US as f64;
        columns.id.append_value(index as i64 + 1);
        columns.plan.append_value(person.plan.as_str());
        columns.tenure.append_value(person.tenure_days + i64::from(day));
        columns.spend.append_value(spend.exp().round());
        columns.data.append_option((!chance(week, 0.03)).then_some(hundredths(data.exp())));
        columns.device.append_value(device.as_str());
        columns.time.append_value(settings.day_start(day).as_micros().saturating_add(moment as i64));
        columns.rows += 1;
    }
}

impl Iterator for Usage {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (rows, customers) = (self.world.settings.batch_rows(), u64::from(self.world.settings.customers()));
        while !self.days.is_empty() {
            let mut columns = UsageColumns::default();
            while self.next < customers && columns.rows < rows {
                self.measure(&mut columns, self.next);
                self.next += u64::from(USAGE_EVERY_DAYS);
            }
            if columns.rows > 0 {
                return Some(columns.finish());
            }
            self.days.start += 1;
            self.next = u64::from(self.days.start % USAGE_EVERY_DAYS);
        }
        None
    }
}

#[derive(Default)]
struct UsageColumns {
    rows: usize,
    id: Int64Builder,
    plan: StringBuilder,
    tenure: Int64Builder,
    spend: Float64Builder,
    data: Float64Builder,
    device: StringBuilder,
    time: TimestampMicrosecondBuilder,
}

impl UsageColumns {
    fn finish(mut self) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(
            schema::usage(),
            vec![
                Arc::new(self.id.finish()),
                Arc::new(self.plan.finish()),
                Arc::new(self.tenure.finish()),
                Arc::new(self.spend.finish()),
                Arc::new(self.data.finish()),
                Arc::new(self.device.finish()),
                Arc::new(self.time.finish().with_timezone("UTC")),
            ],
        )?)
    }
}
