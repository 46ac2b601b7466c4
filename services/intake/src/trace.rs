//! What an OpenTelemetry collector is told of a message that became a submission.

use broker::submissions_queue;
use domain::SubmissionId;
use worker::{Fact, SpanKind, Step};

use crate::case::Case;
use crate::take::Intake;

impl Intake {
    /// Tells a submission's arrival, from the broker's delivery to the commit, and the steps that it was made of. One that
    /// comes out of quarantine has its first arrival as its beginning, and no steps.
    pub(crate) fn trace(&self, case: &Case<'_>, id: SubmissionId, version: u32) {
        let message = case.message;
        let way = message.way();
        self.traces.arrival(id, || {
            let queue = submissions_queue(&message.site);
            Step {
                name: format!("process {queue}"),
                kind: SpanKind::Consumer,
                at: (
                    message.received_at,
                    way.last().map_or_else(|| self.clock.now(), |(_, at)| *at),
                ),
                failed: false,
                facts: vec![
                    Fact::Submission(id),
                    Fact::Version(version),
                    Fact::Site(message.site.clone()),
                    Fact::Form(case.form.id.clone()),
                    Fact::Messaging(queue, "process", "process"),
                ],
            }
        });
        let mut begun = message.received_at;
        for (step, done) in way {
            self.traces.step(id, || Step {
                name: step.to_owned(),
                kind: SpanKind::Internal,
                at: (begun, done),
                failed: false,
                facts: Vec::new(),
            });
            begun = done;
        }
    }
}
