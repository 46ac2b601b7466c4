//! `kvit status`: the conservation figures.

use operate::look::Status;
use runtime::ConfigArgs;

use crate::app::App;
use crate::table::table;

pub(crate) async fn run(config: &ConfigArgs, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    let status = operate::look::status(&app.desk()).await?;
    app.print(&status, || words(&status))?;
    Ok(runtime::exit::OK)
}

fn words(status: &Status) -> String {
    let figures = &status.figures;
    let mut text = format!(
        "arrived {} = accepted {} + quarantined {} + duplicates {} + drafts {}{}\n\
         accepted {} = open {} + deleted {}{}\n\
         oldest open: {} s · mails that may have gone out twice: {}\n\n",
        figures.arrived,
        figures.accepted,
        figures.quarantined,
        figures.duplicates.ignored,
        figures.drafts_ignored,
        off(status.difference.arrived),
        figures.accepted,
        figures.open,
        figures.deleted,
        off(status.difference.accepted),
        figures.oldest_open_seconds,
        figures.duplicates.possible_mail,
    );
    let rows: Vec<_> = figures
        .duties
        .iter()
        .map(|(kind, counts)| {
            let numbers = [
                counts.ready,
                counts.sending,
                counts.done,
                counts.held,
                counts.failed,
                counts.cancelled,
            ];
            let [ready, sending, done, held, failed, cancelled] = numbers.map(|number| number.to_string());
            [kind.clone(), ready, sending, done, held, failed, cancelled]
        })
        .collect();
    text += &table(
        ["duty", "ready", "sending", "done", "held", "failed", "cancelled"],
        &rows,
        "",
    );
    let services: Vec<&str> = status.workers.iter().map(|worker| worker.service.as_str()).collect();
    let running = if services.is_empty() {
        "none".to_owned()
    } else {
        services.join(", ")
    };
    text += "\n\nservices that run: ";
    text += &running;
    for pause in &status.paused {
        text.push('\n');
        text += &pause.words();
    }
    text
}

fn off(difference: i64) -> String {
    if difference == 0 {
        String::new()
    } else {
        format!("   OFF BY {difference}: report this")
    }
}
