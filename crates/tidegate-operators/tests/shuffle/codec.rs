//! Shuffles and what reads them, as bytes and back.

use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::{
    DefaultPhysicalExtensionCodec, DefaultPhysicalProtoConverter,
};
use tidegate_operators::codec::{try_decode, try_encode};
use tidegate_operators::shuffle::{Filters, ShuffleExec, ShuffleReadExec, To};

use super::forms::input;
use super::matrix::{divisions, rows};

type Plan = Arc<dyn ExecutionPlan>;

fn encoded(plan: &Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    let codec = DefaultPhysicalExtensionCodec {};
    let converter = DefaultPhysicalProtoConverter {};
    assert!(try_encode(plan, &mut bytes, &codec, &converter).unwrap());
    bytes
}

fn decoded(bytes: &[u8], inputs: &[Plan]) -> Result<Option<Plan>> {
    let context = SessionContext::new().task_ctx();
    let codec = DefaultPhysicalExtensionCodec {};
    let converter = DefaultPhysicalProtoConverter {};
    try_decode(bytes, inputs, &context, &codec, &converter)
}

#[test]
fn every_division_comes_back_as_it_was() {
    let input = input(vec![vec![rows(0, 3)]]);
    let mut checked = 0;
    for to in divisions(&input) {
        let plan = ShuffleExec::try_new(Arc::clone(&input), to.clone(), Filters::Stop).unwrap();
        let statistics = Arc::new(Statistics::new_unknown(&input.schema()));
        let read: Plan = Arc::new(ShuffleReadExec::of(&plan, 3, statistics));
        let plan: Plan = Arc::new(plan);
        let back = decoded(&encoded(&plan), &[Arc::clone(&input)])
            .unwrap()
            .unwrap();
        assert_eq!(back.downcast_ref::<ShuffleExec>().unwrap().to(), &to);
        let back = decoded(&encoded(&read), &[]).unwrap().unwrap();
        let back: &ShuffleReadExec = back.downcast_ref().unwrap();
        assert_eq!((back.to(), back.edge()), (&to, 3));
        checked += 1;
    }
    assert_eq!(checked, 22);
}

/// Bytes may come from anywhere: no range without a key, no partition that is not there.
#[test]
fn damaged_divisions_are_refused() {
    let input = input(vec![vec![rows(0, 3)]]);
    for to in divisions(&input) {
        let plan: Plan =
            Arc::new(ShuffleExec::try_new(Arc::clone(&input), to.clone(), Filters::Stop).unwrap());
        let bytes = String::from_utf8_lossy(&encoded(&plan)).into_owned();
        let counted = format!("\"partitions\":{}", to.partitions());
        assert!(bytes.contains(&counted), "{bytes}");
        let whole = encoded(&plan);
        let at = whole
            .windows(counted.len())
            .position(|found| found == counted.as_bytes());
        let digits = at.unwrap() + "\"partitions\":".len();
        let mut none = whole.clone();
        let end = at.unwrap() + counted.len();
        none[digits..end].fill(b' ');
        none[end - 1] = b'0';
        assert!(decoded(&none, &[Arc::clone(&input)]).is_err(), "{to}");
        if matches!(to, To::Range(_)) {
            let mut other = whole;
            other[digits..end].fill(b'9');
            assert!(decoded(&other, &[Arc::clone(&input)]).is_err(), "{to}");
        }
    }
}
