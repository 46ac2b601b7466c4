//! The broker: whether it can be reached, and which of Kvit's queues are there.

use ::broker::{Depth, MAIL_DUTIES, all_queues, host_of, is_encrypted, look};
use runtime::Loaded;

use super::Probe;

const CHECK: &str = "broker";

pub(super) async fn probe(loaded: &Loaded) -> Vec<Probe> {
    let Ok(url) = loaded.config.broker.url() else {
        return Vec::new(); // a finding of the configuration
    };
    let queues = all_queues(loaded.config.sites.keys());
    let host = host_of(&url);
    match look(&url, "kvit doctor", &queues).await {
        Err(why) => {
            let next = "start RabbitMQ, or correct [broker] url: host, port, user, password, virtual host";
            vec![Probe::fail(CHECK, why, next)]
        }
        Ok(looked) => {
            let tls = if is_encrypted(&url) {
                "TLS"
            } else {
                "this machine, without TLS"
            };
            let mut probes = vec![Probe::ok(CHECK, format!("{host} takes the login ({tls})"))];
            probes.extend(queues.iter().zip(looked).map(|(queue, looked)| judged(queue, looked)));
            probes
        }
    }
}

fn judged(queue: &str, looked: Result<Depth, String>) -> Probe {
    let check = format!("queue {queue}");
    let depth = match looked {
        Ok(depth) => depth,
        Err(why) => {
            let next = "kvit up, or the service that uses it, declares it at its start; with --no-declare you do";
            return Probe::warn(check, why, next);
        }
    };
    let found = format!("{} messages, {} consumers", depth.messages, depth.consumers);
    if queue.starts_with("kvit.dead.") && depth.messages > 0 {
        let next = "these submissions came too often: see intake's log, and put them back once the cause is mended";
        Probe::warn(check, found, next)
    } else if queue.starts_with("kvit.submissions.") && depth.consumers == 0 {
        Probe::warn(check, found, "nothing takes submissions: start kvit-intake, or kvit up")
    } else if queue == MAIL_DUTIES && depth.consumers == 0 {
        Probe::warn(check, found, "nothing sends mails: start kvit-mailer, or kvit up")
    } else {
        Probe::ok(check, found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn state(queue: &str, messages: u32, consumers: u32) -> State {
        judged(queue, Ok(Depth { messages, consumers })).state
    }

    #[test]
    fn a_queue_that_nothing_takes_from_is_worth_a_look() {
        assert_eq!(state("kvit.submissions.eksempel", 3, 0), State::Warn);
        assert_eq!(state("kvit.submissions.eksempel", 3, 1), State::Ok);
        assert_eq!(state("kvit.events.eksempel", 3, 0), State::Ok);
        assert_eq!(state("kvit.duties.mail", 0, 0), State::Warn);
    }

    #[test]
    fn a_dead_letter_is_worth_a_look() {
        assert_eq!(state("kvit.dead.eksempel", 0, 1), State::Ok);
        assert_eq!(state("kvit.dead.eksempel", 1, 1), State::Warn);
    }
}
