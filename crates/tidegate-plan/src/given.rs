//! Functions whose answers are given with the query's settings: random numbers from its seed, its user, the
//! time it started.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Float64Array, StringArray};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::PlanSettings;

/// The functions of a query with these settings.
pub(crate) fn functions(settings: &PlanSettings) -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(Drawn::new("random", &["rand"], settings.seed, Draw::Number).into()),
        Arc::new(
            Drawn::new(
                "uuid",
                &["gen_random_uuid"],
                settings.seed ^ 0x5555_5555,
                Draw::Uuid,
            )
            .into(),
        ),
        Arc::new(CurrentUser::new(settings.user.clone()).into()),
        Arc::new(Now::new(settings).into()),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Draw {
    Number,
    Uuid,
}

/// Draws a value for each row. The numbers follow from the seed; which row gets which depends on the order in which
/// partitions ask.
#[derive(Debug)]
struct Drawn {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
    seed: u64,
    what: Draw,
    drawn: AtomicU64,
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        (self.name, self.seed) == (other.name, other.seed)
    }
}

impl Eq for Drawn {}

impl Hash for Drawn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name, self.seed).hash(state);
    }
}

impl Drawn {
    fn new(name: &'static str, aliases: &[&str], seed: u64, what: Draw) -> Self {
        Self {
            name,
            aliases: aliases.iter().map(|alias| alias.to_string()).collect(),
            signature: Signature::nullary(Volatility::Volatile),
            seed,
            what,
            drawn: AtomicU64::new(0),
        }
    }

    /// The n-th number of the seed (SplitMix64).
    fn number(&self, n: u64) -> u64 {
        let mut z = self
            .seed
            .wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uuid(&self, n: u64) -> String {
        let bits = (u128::from(self.number(2 * n)) << 64) | u128::from(self.number(2 * n + 1));
        // Version 4, variant 1.
        let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }
}

impl ScalarUDFImpl for Drawn {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            Draw::Number => DataType::Float64,
            Draw::Uuid => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = self
            .drawn
            .fetch_add(args.number_rows as u64, Ordering::Relaxed);
        let rows = first..first + args.number_rows as u64;
        let array: ArrayRef = match self.what {
            // 53 bits fill a double's mantissa: evenly in [0, 1).
            Draw::Number => Arc::new(Float64Array::from_iter_values(
                rows.map(|n| (self.number(n) >> 11) as f64 / (1_u64 << 53) as f64),
            )),
            Draw::Uuid => Arc::new(StringArray::from_iter_values(rows.map(|n| self.uuid(n)))),
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// Who runs the query.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CurrentUser {
    user: String,
    aliases: Vec<String>,
    signature: Signature,
}

impl CurrentUser {
    fn new(user: String) -> Self {
        let aliases = vec!["session_user".into(), "user".into()];
        Self {
            user,
            aliases,
            signature: Signature::nullary(Volatility::Stable),
        }
    }
}

impl ScalarUDFImpl for CurrentUser {
    fn name(&self) -> &str {
        "current_user"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(
            self.user.clone(),
        ))))
    }
}

/// When the query started: microseconds, as every timestamp that does not say otherwise. DataFusion's are nanoseconds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    micros: i64,
    zone: Arc<str>,
    aliases: Vec<String>,
    signature: Signature,
}

impl Now {
    fn new(settings: &PlanSettings) -> Self {
        Self {
            micros: settings.now.timestamp_micros(),
            zone: settings.time_zone.as_str().into(),
            aliases: vec!["current_timestamp".into()],
            signature: Signature::nullary(Volatility::Stable),
        }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some(Arc::clone(&self.zone)),
        ))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(
            Some(self.micros),
            Some(Arc::clone(&self.zone)),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_the_seed() {
        let draw = |seed| Drawn::new("random", &[], seed, Draw::Number);
        assert_eq!(draw(7).number(3), draw(7).number(3));
        assert_ne!(draw(7).number(3), draw(8).number(3));
        let uuid = draw(7).uuid(0);
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
        assert!(["8", "9", "a", "b"].contains(&&uuid[19..20]), "{uuid}");
    }
}
