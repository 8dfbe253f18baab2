//! What passes, and which nodes are behind, as they are when somebody looks at the page.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use weir_proto::metrics::{Kind, Metric};

use crate::cluster::Behind;
use crate::desired::{Passing, ServicePassing, Sum};
use crate::metrics::table::{
    BACKEND_SILENT, CONVERGENCE_LAG, FLEET, NODES_BEHIND, OF_BACKEND, OF_SERVICE, Passed,
    SERVICE_BACKENDS, SERVICE_IMBALANCE, SERVICE_SILENT,
};

/// What is shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) passing: Passing,
    pub(super) behind: Behind,
    /// Tells backends, too.
    pub(super) backends: bool,
}

#[derive(Debug, Clone, Copy)]
enum Number {
    Total(u64),
    Level(u64),
    Real(f64),
}

/// What tells a number apart from the others of its name.
type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let to = &mut encoder;
        let Behind { nodes, longest } = self.behind;
        let alone = |number| [(Labels::new(), number)];
        write(to, &NODES_BEHIND, alone(Number::Level(nodes)))?;
        let lag = Number::Real(longest.as_secs_f64());
        write(to, &CONVERGENCE_LAG, alone(lag))?;
        write_passed(to, &FLEET, &[(Labels::new(), &self.passing.fleet)])?;

        let services = self.passing.services.iter();
        let services: Vec<_> = services
            .map(|it| (vec![("service", it.name.as_str())], it))
            .collect();
        let sums: Vec<_> = services
            .iter()
            .map(|(labels, it)| (labels.clone(), &it.sum))
            .collect();
        write_passed(to, &OF_SERVICE, &sums)?;
        let count = |count: usize| Number::Level(count as u64);
        let mut write_each = |metric, of: &dyn Fn(&ServicePassing) -> Number| {
            let numbers = services.iter();
            write(
                to,
                metric,
                numbers.map(|(labels, it)| (labels.clone(), of(it))),
            )
        };
        write_each(&SERVICE_BACKENDS, &|it| count(it.backends))?;
        write_each(&SERVICE_SILENT, &|it| count(it.silent))?;
        write_each(&SERVICE_IMBALANCE, &|it| Number::Real(it.imbalance))?;
        if self.backends {
            self.write_backends(to)?;
        }
        Ok(())
    }
}

impl Shown {
    fn write_backends(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let backends = &self.passing.backends;
        let places: Vec<String> = backends.iter().map(|it| it.endpoint.to_string()).collect();
        let named = backends.iter().zip(&places);
        let named = named.map(|(it, at)| {
            let labels = vec![("service", it.service.as_str()), ("backend", at.as_str())];
            (labels, &it.sum)
        });
        let named: Vec<_> = named.collect();
        write_passed(to, &OF_BACKEND, &named)?;
        let silent = named.iter();
        let silent = silent.map(|(labels, sum)| {
            let silent = u64::from(sum.now.silent > 0);
            (labels.clone(), Number::Level(silent))
        });
        write(to, &BACKEND_SILENT, silent)
    }
}

/// Writes what passes through things of one kind.
fn write_passed(
    to: &mut DescriptorEncoder<'_>,
    metrics: &Passed,
    sums: &[(Labels<'_>, &Sum)],
) -> Result<(), Error> {
    let mut each = |metric, of: &dyn Fn(&Sum) -> Number| {
        let numbers = sums.iter();
        write(
            to,
            metric,
            numbers.map(|(labels, sum)| (labels.clone(), of(sum))),
        )
    };
    each(&metrics.connections, &|it| {
        Number::Total(it.total.connections)
    })?;
    each(&metrics.failed, &|it| Number::Total(it.total.failed))?;
    each(&metrics.active, &|it| Number::Level(it.now.active))?;
    each(&metrics.inactive, &|it| Number::Level(it.now.inactive))?;
    let mut both = |metric, of: &dyn Fn(&Sum) -> [u64; 2]| {
        let numbers = sums.iter().flat_map(|(labels, sum)| {
            let directions = ["in", "out"].into_iter().zip(of(sum));
            directions.map(|(direction, number)| {
                let labels = labels.iter().copied().chain([("direction", direction)]);
                (labels.collect(), Number::Total(number))
            })
        });
        write(to, metric, numbers)
    };
    both(&metrics.packets, &|it| {
        [it.total.packets_in, it.total.packets_out]
    })?;
    both(&metrics.bytes, &|it| {
        [it.total.bytes_in, it.total.bytes_out]
    })
}

/// Writes the numbers of one name.
fn write<'a>(
    to: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    numbers: impl IntoIterator<Item = (Labels<'a>, Number)>,
) -> Result<(), Error> {
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    let mut family = to.encode_descriptor(metric.name, metric.help, None, kind)?;
    for (labels, number) in numbers {
        if labels.is_empty() {
            // there is no other
            return number.encode(family);
        }
        number.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl Number {
    fn encode(self, to: MetricEncoder<'_>) -> Result<(), Error> {
        match self {
            Self::Total(number) => ConstCounter::new(number).encode(to),
            Self::Level(number) => ConstGauge::new(number).encode(to),
            Self::Real(number) => ConstGauge::new(number).encode(to),
        }
    }
}
